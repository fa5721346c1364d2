"""Making a failing run smaller: fewer kinds of faults, fewer faults, fewer workflows, as long as it still fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from tests.simulation.chances import Plan
from tests.simulation.simulation import Outcome

#: Runs that are tried at most.
BUDGET = 250

Run = Callable[[Plan], Outcome]


def shrink(outcome: Outcome, run: Run) -> Outcome:
    """The smallest failing run that was found; the one given if none is smaller."""
    best = outcome
    for smaller in _Candidates(outcome, run):
        best = smaller
    return best


class _Candidates:
    """Failing runs, each smaller than the one before."""

    def __init__(self, outcome: Outcome, run: Run) -> None:
        self.best = outcome
        self._run = run
        self._tried = 0

    def __iter__(self) -> Iterator[Outcome]:
        yield from self._without_kinds()
        yield from self._fewer_workflows()
        yield from self._shorter()
        yield from self._without_kinds()
        yield from self._single_faults()

    def _fails(self, plan: Plan) -> bool:
        if self._tried >= BUDGET:
            return False
        self._tried += 1
        outcome = self._run(plan)
        if outcome.violations:
            self.best = outcome
        return bool(outcome.violations)

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
