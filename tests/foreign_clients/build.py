"""The clients of other languages, built from their pinned libraries: `python -m tests.foreign_clients.build`."""

from __future__ import annotations

import hashlib
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from deploy.local_services.build_cache import built, run_tool
from deploy.local_services.maven_build import copy_dependencies
from deploy.local_services.process import ServiceError

HERE = Path(__file__).parent
CHECKSUMS = HERE / "java" / "jars.sha256"


def command_of(language: str) -> Sequence[str]:
    """What starts the client of a language. Raises `ServiceError` if it cannot be built."""
    build, start = _CLIENTS[language]
    return start(built(f"foreign-{language}", HERE / language, build))


def _build_javascript(target: Path) -> None:
    shutil.copytree(HERE / "js", target)
    run_tool("npm", "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", folder=target)


def _build_go(target: Path) -> None:
    project = HERE / "go"
    run_tool(
        "go", "golang-go", "build", "-mod=readonly", "-o", f"{target}/client", ".", folder=project
    )


def _build_java(target: Path) -> None:
    copy_dependencies(HERE / "java" / "pom.xml", target)
    found = {jar.name: hashlib.sha256(jar.read_bytes()).hexdigest() for jar in target.glob("*.jar")}
    pinned = checksums()
    if found != pinned:
        different = sorted(dict(found.items() ^ pinned.items()))
        raise ServiceError(f"{CHECKSUMS.name} does not list these jars: {', '.join(different)}")
    source = str(HERE / "java" / "Client.java")
    run_tool("javac", "default-jdk-headless", "-cp", f"{target}/*", "-d", str(target), source)


def checksums() -> dict[str, str]:
    """Jar -> its SHA-256, as pinned."""
    lines = CHECKSUMS.read_text().splitlines()
    return {jar: digest for digest, jar in (line.split() for line in lines)}


_Client = tuple[Callable[[Path], None], Callable[[Path], Sequence[str]]]
_CLIENTS: Mapping[str, _Client] = {
    "js": (_build_javascript, lambda target: ["node", str(target / "client.mjs")]),
    "go": (_build_go, lambda target: [str(target / "client")]),
    "java": (_build_java, lambda target: ["java", "-cp", f"{target}/*:{target}", "Client"]),
}
LANGUAGES = tuple(_CLIENTS)


def main() -> int:
    try:
        for language in LANGUAGES:
            command_of(language)
    except ServiceError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
