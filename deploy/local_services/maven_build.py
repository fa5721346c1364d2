"""The Java programs of the folder `java`, brought by Maven once into the `.cache` folder."""

import fcntl
import hashlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from deploy.local_services.process import ServiceError, required_program

_PROJECTS = Path(__file__).with_name("java")
_CHECKOUT = Path(__file__).parents[2]
_CACHE = _CHECKOUT / ".cache"
_BUILD_TIMEOUT_SECONDS = 600


def kafka_jars() -> Path:
    """The folder of the jars of a Kafka broker."""

    def copy_jars(pom: Path, target: Path) -> list[str]:
        return [
            f"--file={pom}",
            "dependency:copy-dependencies",
            "-DincludeScope=runtime",
            f"-DoutputDirectory={target}",
        ]

    return _built("kafka", copy_jars)


def mongo_standin_jars() -> tuple[Path, Path]:
    """The two folders of the jars of the MongoDB stand-in."""

    def build(pom: Path, target: Path) -> list[str]:
        return [f"--file={pom}", "package", f"-DbuildFolder={target}"]

    folder = _built("mongo-standin", build)
    return folder, folder / "lib"


def _built(name: str, goals: Callable[[Path, Path], list[str]]) -> Path:
    project = _PROJECTS / name
    target = _CACHE / f"{name}-{_fingerprint(project)}"
    _CACHE.mkdir(exist_ok=True)
    # Two test runs may start at once; the folder appears under its name only when it is whole.
    with (_CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.is_dir():
            with tempfile.TemporaryDirectory(dir=_CACHE) as workshop:
                _run_maven(name, goals(project / "pom.xml", Path(workshop) / "out"))
                shutil.move(Path(workshop) / "out", target)
    return target


def _fingerprint(project: Path) -> str:
    digest = hashlib.sha256()
    for file in sorted(path for path in project.rglob("*") if path.is_file()):
        digest.update(file.relative_to(project).as_posix().encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def _run_maven(name: str, goals: list[str]) -> None:
    maven = required_program("mvn", "maven")
    print(f"Building {name} with Maven ...", file=sys.stderr)
    try:
        done = subprocess.run(
            [maven, "--batch-mode", "--quiet", *goals],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_BUILD_TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ServiceError(
            f"Maven did not build {name} within {_BUILD_TIMEOUT_SECONDS} s; is its repository slow?"
        ) from None
    if done.returncode != 0:
        raise ServiceError(f"Maven could not build {name}:\n{(done.stdout + done.stderr)[-4000:]}")
