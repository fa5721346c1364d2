"""What a mutant is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.simulation.world import Parts

Patch = tuple[Any, str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """The system with one rule less."""

    name: str
    #: Of PROTOCOL; 0: the core under the rules.
    rule: int
    #: What is switched off.
    what: str
    parts: Parts


def patched(name: str, rule: int, what: str, *patches: Patch) -> Mutant:
    """A mutant of the product's own code."""
    return Mutant(name=name, rule=rule, what=what, parts=Parts(patches=patches))
