"""Takes the OpenAPI document as it is for the one agreed upon: `python tests/golden/update_openapi.py`."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import orjson

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "sdk")]

from adapters.rest.app import Api, create_app  # noqa: E402 - the paths come first
from infrastructure.version import VERSION  # noqa: E402 - as above

#: No port takes part in the document.
NOTHING = cast(Any, None)


def main() -> None:
    api = Api(
        reader=NOTHING,
        start=NOTHING,
        control=NOTHING,
        preview=NOTHING,
        register=NOTHING,
        definitions=NOTHING,
        workers=NOTHING,
        monitor=cast(Any, SimpleNamespace(version=VERSION)),
    )
    document = orjson.dumps(
        create_app(api).openapi(), option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS
    )
    Path(__file__).with_name("openapi.json").write_bytes(document + b"\n")


if __name__ == "__main__":
    main()
