"""The definitions that come with Conveyor; `init` and `dev` register them."""

from __future__ import annotations

from importlib.resources import files
from typing import cast

import yaml

from application.ports import Document


def shipped_definitions() -> list[Document]:
    """Every shipped document, by file name."""
    folder = files(__name__)
    texts = sorted(
        (entry.name, entry.read_text(encoding="utf-8"))
        for entry in folder.iterdir()
        if entry.name.endswith(".yaml")
    )
    return [cast(Document, yaml.safe_load(text)) for _, text in texts]
