"""The dependency graph of a definition that may still be faulty."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence

from domain.definition.definition import StepDefinition


class Dependencies:
    """Direct and transitive dependencies between steps. Dependencies on unknown steps are left out."""

    def __init__(self, steps: Sequence[StepDefinition]) -> None:
        ids = {step.id for step in steps}
        self._direct = {
            step.id: tuple(dependency for dependency in step.depends_on if dependency in ids)
            for step in steps
        }
        self._ancestors = _closure(self._direct)

    def ancestors(self, step_id: str) -> frozenset[str]:
        """Every step that must be done before this one begins. In a cycle, this includes the step itself."""
        return self._ancestors[step_id]

    def cycles(self) -> list[tuple[str, ...]]:
        """Disjoint cycles, each as `(a, b, a)`: a depends on b, and b on a."""
        found: list[tuple[str, ...]] = []
        remaining = {step_id for step_id, above in self._ancestors.items() if step_id in above}
        while remaining:
            start = next(step_id for step_id in self._direct if step_id in remaining)
            cycle = self._cycle_from(start, remaining)
            found.append(cycle)
            remaining = self._cyclic(remaining - set(cycle))
        return found

    def _cyclic(self, ids: set[str]) -> set[str]:
        """The steps that still depend on each other; empty if there is no cycle."""
        while True:
            kept = {step_id for step_id in ids if not ids.isdisjoint(self._direct[step_id])}
            if kept == ids:
                return kept
            ids = kept

    def _cycle_from(self, start: str, among: set[str]) -> tuple[str, ...]:
        walked: list[str] = []
        step_id = start
        while step_id not in walked:
            walked.append(step_id)
            step_id = next(d for d in self._direct[step_id] if d in among)
        return (*walked[walked.index(step_id) :], step_id)


def _closure(direct: Mapping[str, Iterable[str]]) -> dict[str, frozenset[str]]:
    """Every node that can be reached from each node, also through cycles.

    Warshall's algorithm; each row of the matrix is one integer.
    """
    ids = list(direct)
    places = {step_id: place for place, step_id in enumerate(ids)}
    rows = [sum({1 << places[other] for other in direct[step_id]}) for step_id in ids]
    for through, _ in enumerate(ids):
        reached = rows[through]
        rows = [row | reached if row >> through & 1 else row for row in rows]
    return {
        step_id: frozenset(other for other, place in places.items() if row >> place & 1)
        for step_id, row in zip(ids, rows, strict=True)
    }


def execution_order(steps: Iterable[StepDefinition]) -> tuple[StepDefinition, ...]:
    """A topological order that keeps the written order where possible. Steps in or after a cycle come last."""
    written = tuple(steps)
    ids = {step.id for step in written}
    waiting_for = [{d for d in step.depends_on if d in ids} for step in written]
    dependents: dict[str, list[int]] = {step_id: [] for step_id in ids}
    for place, dependencies in enumerate(waiting_for):
        for dependency in dependencies:
            dependents[dependency].append(place)
    ready = [place for place, dependencies in enumerate(waiting_for) if not dependencies]
    order: list[int] = []
    while ready:
        place = heapq.heappop(ready)
        order.append(place)
        for dependent in dependents[written[place].id]:
            waiting = waiting_for[dependent]
            if written[place].id in waiting:
                waiting.remove(written[place].id)
                if not waiting:
                    heapq.heappush(ready, dependent)
    placed = set(order)
    return tuple(written[p] for p in (*order, *(p for p in range(len(written)) if p not in placed)))
