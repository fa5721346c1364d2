"""The files of a folder that hold definitions."""

from __future__ import annotations

from pathlib import Path

SUFFIXES = (".yaml", ".yml", ".json")


def definition_files(folder: Path) -> list[Path]:
    """YAML and JSON files, in order of their names; none of hidden folders such as `.venv` or `.git`."""
    return sorted(
        file
        for file in folder.rglob("*")
        if file.suffix in SUFFIXES
        and not any(part.startswith(".") for part in file.relative_to(folder).parts)
    )
