"""The system with one rule switched off: the checks must notice, or they check nothing."""

from __future__ import annotations

from tests.simulation.mutants import engine, leases, participants, repairs, stores
from tests.simulation.mutants.mutant import Mutant
from tests.simulation.world import Parts

MUTANTS: tuple[Mutant, ...] = tuple(
    sorted(
        (
            *stores.MUTANTS,
            *participants.MUTANTS,
            *leases.MUTANTS,
            *engine.MUTANTS,
            *repairs.MUTANTS,
        ),
        key=lambda mutant: (mutant.rule, mutant.name),
    )
)


def mutant_of(name: str) -> Mutant:
    """Raises KeyError."""
    return {mutant.name: mutant for mutant in MUTANTS}[name]


def parts_of(name: str | None) -> Parts:
    """The world's parts with this rule switched off; None: as they are."""
    return Parts() if name is None else mutant_of(name).parts
