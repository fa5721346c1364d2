"""Workflow definitions: reading, compiling, proving and storing."""

from __future__ import annotations

from application.definitions.compilation import (
    InvalidDefinition,
    compile_definition,
    restore_definition,
)
from application.definitions.registry import (
    DefinitionConflict,
    DefinitionRegistry,
    services_named,
    services_of,
)
from application.definitions.shipped import shipped_definitions

__all__ = [
    "DefinitionConflict",
    "DefinitionRegistry",
    "InvalidDefinition",
    "compile_definition",
    "restore_definition",
    "services_named",
    "services_of",
    "shipped_definitions",
]
