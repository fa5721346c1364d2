"""Making a failing run smaller: fewer kinds of faults, fewer faults, fewer workflows, as long as it fails as it did."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from tests.simulation.chances import Plan
from tests.simulation.simulation import Outcome
from tests.simulation.symptoms import symptom

#: Runs that are tried at most.
BUDGET = 250

Run = Callable[[Plan], Outcome]


def shrink(
    outcome: Outcome, run: Run, *, budget: int = BUDGET, deadline: float = math.inf
) -> Outcome:
    """The smallest run found that fails in the same way; the one given if none is smaller.

    `deadline`: after that moment of `time.monotonic` no further run is tried.
    """
    best = outcome
    for smaller in _Candidates(outcome, run, budget, deadline):
        best = smaller
    return best


class _Candidates:
    """Failing runs, each smaller than the one before."""

    def __init__(self, outcome: Outcome, run: Run, budget: int, deadline: float) -> None:
        self.best = outcome
        self._run = run
        self._symptom = symptom(outcome.violations[0])
        self._left = budget
        self._deadline = deadline

    def __iter__(self) -> Iterator[Outcome]:
        yield from self._without_kinds()
        yield from self._fewer_workflows()
        yield from self._shorter()
        yield from self._without_kinds()
        yield from self._single_faults()

    def _fails(self, plan: Plan) -> bool:
        """In the same way: another violation is another story."""
        if not self._left or time.monotonic() >= self._deadline:
            return False
        self._left -= 1
        outcome = self._run(plan)
        is_same = bool(outcome.violations) and symptom(outcome.violations[0]) == self._symptom
        if is_same:
            self.best = outcome
        return is_same

    def _without_kinds(self) -> Iterator[Outcome]:
        for kind in sorted(set(self.best.kinds.values())):
            if kind not in self.best.kinds.values():
                continue
            plan = self.best.plan
            if self._fails(replace(plan, without=plan.without | {kind})):
                yield self.best

    def _fewer_workflows(self) -> Iterator[Outcome]:
        names = [f"wf-{number}" for number in range(self.best.workflows)]
        for name in names:
            left = self.best.plan.workflows or frozenset(names)
            if len(left) > 1 and self._fails(replace(self.best.plan, workflows=left - {name})):
                yield self.best

    def _shorter(self) -> Iterator[Outcome]:
        """Bisect how many of the faults strike."""
        low, high = 0, max(self.best.kinds, default=0)
        while low < high:
            middle = (low + high) // 2
            if self._fails(replace(self.best.plan, until=middle)):
                high = middle
                yield self.best
            else:
                low = middle + 1

    def _single_faults(self) -> Iterator[Outcome]:
        for number in sorted(self.best.kinds, reverse=True):
            plan = self.best.plan
            if self._fails(replace(plan, skip=plan.skip | {number})):
                yield self.best
