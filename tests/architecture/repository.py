"""The repository as these tests see it: its tracked files, and its Python source."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = (
    "domain",
    "application",
    "adapters",
    "infrastructure",
    "sdk",
    "bench",
    "deploy",
    "examples",
)


@cache
def tracked() -> tuple[Path, ...]:
    """Every file that git has, or would have: also new ones that nothing ignores."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
    ).stdout.decode()
    files = (ROOT / name for name in listed.split("\0") if name)
    return tuple(file for file in files if file.is_file())


def is_test(file: Path) -> bool:
    return "tests" in file.relative_to(ROOT).parts


def python_files(*folders: str) -> list[Path]:
    """The Python files under these folders of the root."""
    return [
        file
        for file in tracked()
        if file.suffix == ".py" and file.relative_to(ROOT).parts[0] in folders
    ]


def name_of(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


@cache
def syntax(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def texts() -> Iterator[tuple[str, str]]:
    """Name and content of every tracked file that is text."""
    for file in tracked():
        try:
            yield name_of(file), file.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
