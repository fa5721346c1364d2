"""`make tutorial`: follow the first workflow and the tutorial with the two wheels, outside the checkout.

Virtual environments are made by the commands of the text. The servers of the last page are those of `make services`.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from deploy.local_services import start_kafka, start_mongo, start_redis
from tests.docs.pages import ROOT
from tests.docs.reader import Failed, Reader

FIRST_WORKFLOW = "docs/howto/first-workflow.md"
NEXT_VERSION = "docs/howto/version-a-definition.md"
SETUP = "docs/tutorial/README.md"
EMBEDDED = [f"docs/tutorial/{page}.md" for page in ("saga", "failures", "python", "test")]
OVER_KAFKA = "docs/tutorial/kafka.md"
#: Their first commands make the folder.
_INSTALLED_FIRST = (FIRST_WORKFLOW, SETUP)


def main() -> int:
    with ExitStack() as stack:
        parent = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (parent / "conveyor").symlink_to(ROOT)
        try:
            folder = _installed(parent, FIRST_WORKFLOW)
            _follow(folder, {}, FIRST_WORKFLOW, NEXT_VERSION)
            folder = _installed(parent, SETUP)
            _follow(folder, {}, *EMBEDDED)
            servers = {
                "CONVEYOR_KAFKA__BOOTSTRAP_SERVERS": stack.enter_context(start_kafka()).address,
                "CONVEYOR_MONGODB__URI": stack.enter_context(start_mongo()).address,
                "CONVEYOR_REDIS__URL": stack.enter_context(start_redis()).address,
            }
            _follow(folder, servers, OVER_KAFKA)
        except Failed as failed:
            sys.stderr.write(f"{failed}\n")
            return 1
    return 0


def _installed(parent: Path, page: str) -> Path:
    """The folder that the page's first commands make, with what they install."""
    before = set(parent.iterdir())
    with Reader(parent, parent, {}) as reader:
        reader.install(page)
    [folder] = set(parent.iterdir()) - before
    return folder


def _follow(folder: Path, settings: Mapping[str, str], *pages: str) -> None:
    with Reader(folder, folder / ".venv" / "bin", settings) as reader:
        for page in pages:
            sys.stdout.write(f"{page} ...\n")
            sys.stdout.flush()
            if page not in _INSTALLED_FIRST:
                reader.install(page)
            reader.check_page(page)


if __name__ == "__main__":
    sys.exit(main())
