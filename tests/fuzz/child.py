"""One target under atheris: `python -m tests.fuzz.child NAME [libFuzzer arguments]`; ends with the process."""

from __future__ import annotations

import importlib
import logging
import sys
import tempfile
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

#: Whose branches lead the search.
INSTRUMENTED = ("conveyor", "application", "domain", "adapters.rest", "cloudevents", "jmespath")


def main() -> None:
    name = sys.argv.pop(1)
    # Installed by `make fuzz` alone.
    atheris: Any = importlib.import_module("atheris")
    with atheris.instrument_imports(include=list(INSTRUMENTED)):
        targets = importlib.import_module("tests.fuzz.targets")
        seeds = importlib.import_module("tests.fuzz.seeds")
    # Lines about every workflow would be most of the work.
    logging.disable(logging.CRITICAL)
    with ExitStack() as stack:
        inputs = {
            "cloudevent": seeds.cloudevents,
            "definition": seeds.definitions,
            "mapping": seeds.mappings,
            "rest": seeds.requests,
        }[name]
        if name == "rest":
            rest = importlib.import_module("tests.fuzz.rest")
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            target = stack.enter_context(rest.rest_target(folder))
        else:
            target = getattr(targets, name)
        _plant(inputs())
        atheris.Setup(sys.argv, lambda data: targets.check_target(target, data))
        atheris.Fuzz()


def _plant(inputs: Iterable[bytes]) -> None:
    """Put the seeds into the corpus; where a file is replayed there is none."""
    corpus = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    if corpus is not None and corpus.is_dir():
        for number, data in enumerate(inputs):
            (corpus / f"seed-{number}").write_bytes(data)


if __name__ == "__main__":
    main()
