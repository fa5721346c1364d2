"""Programs in other languages, built once into the `.cache` folder and again when their source changes."""

import fcntl
import hashlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from deploy.local_services.process import ServiceError, required_program

_CHECKOUT = Path(__file__).parents[2]
_CACHE = _CHECKOUT / ".cache"
_BUILD_TIMEOUT_SECONDS = 600


def built(name: str, project: Path, build: Callable[[Path], None]) -> Path:
    """The folder that `build` fills from the files of `project`."""
    target = _CACHE / f"{name}-{_fingerprint(project)}"
    _CACHE.mkdir(exist_ok=True)
    # Two test runs may start at once; the folder appears under its name only when it is whole.
    with (_CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.is_dir():
            print(f"Building {name} ...", file=sys.stderr)
            with tempfile.TemporaryDirectory(dir=_CACHE) as workshop:
                build(Path(workshop) / "out")
                shutil.move(Path(workshop) / "out", target)
    return target


def run_tool(tool: str, package: str, *arguments: str, folder: Path | None = None) -> None:
    """Run a build tool of a Debian package in a folder. Raises `ServiceError` with what it printed."""
    command: Sequence[str] = [required_program(tool, package), *arguments]
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_BUILD_TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ServiceError(
            f"{tool} was not done within {_BUILD_TIMEOUT_SECONDS} s; is its registry slow?"
        ) from None
    if done.returncode != 0:
        raise ServiceError(f"{tool} failed:\n{(done.stdout + done.stderr)[-4000:]}")


def _fingerprint(project: Path) -> str:
    digest = hashlib.sha256()
    for file in sorted(path for path in project.rglob("*") if path.is_file()):
        digest.update(file.relative_to(project).as_posix().encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]
