"""A saga under seeded faults: many runs, and of one that goes wrong the few faults that matter."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeAlias

from conveyor import types
from conveyor.keys import UNDO_SUFFIX
from conveyor.participant import Operation, Participant
from conveyor.testing.case import Case
from conveyor.testing.errors import Refused, SagaFault
from conveyor.testing.faults import Fault, Faults, Target, plan
from conveyor.testing.findings import Finding, findings
from conveyor.testing.run import Run
from conveyor.testing.world import StepOutline

#: Something that is done to a case.
Act: TypeAlias = Callable[[Case], Awaitable[Any]]
#: Looks at the user's own world after a run.
Check: TypeAlias = Callable[[Run], Awaitable[None] | None]
#: Puts the user's own world back to its beginning.
Reset: TypeAlias = Callable[[], Awaitable[None] | None]

_OPERATOR_TRIES = 3


@dataclass(frozen=True, slots=True)
class _Outcome:
    """A run with faults, and what was wrong with it."""

    case: Case
    finding: Finding | None
    cause: BaseException | None = None


@dataclass(frozen=True, slots=True)
class Explorer:
    """Does the same again and again, each time with other faults."""

    new_case: Callable[[Faults], Case]
    participants: Sequence[Participant]
    acts: Sequence[Act]
    check: Check | None
    reset: Reset | None
    #: The call that repeats a run, given its seed and the numbers of its faults.
    line: Callable[[int, tuple[int, ...]], str]

    async def explore(self, seed: int, runs: int, only: Collection[int] | None) -> None:
        """Raises SagaFault for the first run that shows something wrong, Refused if nothing has to fail for that."""
        sound = await self._run(Faults(), refusals=())
        if sound.finding is not None:
            raise self._fault(sound, seed)
        targets = list(self._targets(sound.case))
        for number in range(seed, seed + runs if targets else seed):
            planned = plan(number, targets)
            outcome = await self._run(Faults(planned, only))
            if outcome.finding is not None:
                raise self._fault(await self._shrunk(planned, outcome), number)

    async def _shrunk(self, planned: Sequence[Fault], outcome: _Outcome) -> _Outcome:
        """The same finding with no more faults than it needs."""
        numbers = _numbers(outcome)
        for number in numbers:
            fewer = tuple(each for each in _numbers(outcome) if each != number)
            tried = await self._run(Faults(planned, fewer))
            if _kind(tried) == _kind(outcome):
                outcome = tried
        return outcome

    async def _run(
        self, faults: Faults, refusals: tuple[type[Refused], ...] = (Refused,)
    ) -> _Outcome:
        if self.reset is not None and (resetting := self.reset()) is not None:
            await resetting
        case = self.new_case(faults)
        try:
            for act in self.acts:
                # A fault may have ended the workflow before the command came.
                with suppress(*refusals):
                    await act(case)
            await _finish(case)
            finding = next(findings(case), None)
            if finding is None and self.check is not None:
                for workflow_id in case.started:
                    checking = self.check(_handle(case, workflow_id))
                    if checking is not None:
                        await checking
        except AssertionError as failed:
            words = str(failed) or repr(failed)
            return _Outcome(case, Finding("assertion", words), failed)
        finally:
            await case.close()
        return _Outcome(case, finding)

    def _targets(self, case: Case) -> Iterator[Target]:
        """The requests that faults may strike: of each step that is not skipped, and of its undo."""
        for workflow_id in case.started:
            resource = case.world.look(workflow_id)[0]
            skipped = {s["stepId"] for s in resource["steps"] if s["status"] == "SKIPPED"}
            for step in case.world.steps[resource["definition"], resource["definitionVersion"]]:
                if step.id not in skipped:
                    yield from self._targets_of(f"{workflow_id}/{step.id}/1", step)

    def _targets_of(self, key: str, step: StepOutline) -> Iterator[Target]:
        performs = self._find(lambda p: p.find_step(step.service, step.operation))
        yield Target(key, step.timeout_seconds, step.kind != "retriable", _may_be_lost(performs))
        if step.undo is not None:
            service, operation = step.undo
            undoes = self._find(lambda p: p.find_compensation(service, operation))
            yield Target(key + UNDO_SUFFIX, step.timeout_seconds, False, _may_be_lost(undoes))

    def _find(self, find: Callable[[Participant], Operation | None]) -> Operation | None:
        return next((found for each in self.participants if (found := find(each))), None)

    def _fault(self, outcome: _Outcome, seed: int) -> SagaFault:
        assert outcome.finding is not None
        struck = outcome.case.faults.struck
        numbers = _numbers(outcome)
        happened = [f"  {each}" for each in struck] or ["  none: it goes wrong by itself"]
        fault = SagaFault(
            "\n".join(
                [
                    outcome.finding.message,
                    "",
                    "Faults that struck:",
                    *happened,
                    "",
                    f"Repeat it: {self.line(seed, numbers)}",
                ]
            ),
            kind=outcome.finding.kind,
            seed=seed,
            faults=numbers,
        )
        fault.__cause__ = outcome.cause
        return fault


async def _finish(case: Case) -> None:
    """Let everything end; where an undo or a step past the pivot has used up its tries, act as an operator would."""
    await case.finish_all()
    for _ in range(_OPERATOR_TRIES):
        for workflow_id in case.started:
            resource = case.world.look(workflow_id)[0]
            codes = {each["code"] for each in resource["incidents"]}
            command = types.COMPENSATE if "COMPENSATION_FAILED" in codes else types.RETRY
            if resource["status"] == "FAILED" and codes:
                with suppress(Refused):
                    await case.control(command, workflow_id, {})
        await case.finish_all()


def _handle(case: Case, workflow_id: str) -> Run:
    return Run(workflow_id, lambda: case.world.look(workflow_id), case.control)


def _may_be_lost(operation: Operation | None) -> bool:
    return operation is None or operation.on_lost_claim == "run"


def _numbers(outcome: _Outcome) -> tuple[int, ...]:
    return tuple(sorted(each.fault.number for each in outcome.case.faults.struck))


def _kind(outcome: _Outcome) -> str | None:
    return None if outcome.finding is None else outcome.finding.kind


def name_of(function: Callable[..., Any]) -> str:
    """How it is written in the line that repeats a run."""
    name = getattr(function, "__name__", "...")
    if inspect.ismethod(function):
        return f"{type(function.__self__).__name__.lower()}.{name}"
    return name if name.isidentifier() else "..."


def line(
    definition: str | None,
    input: Mapping[str, Any] | None,
    seed: int,
    faults: tuple[int, ...],
    options: Mapping[str, Callable[..., Any] | None],
) -> str:
    """The call that repeats a run."""
    given = [] if definition is None else [repr(definition), repr(dict(input or {}))]
    named = [f"{name}={name_of(each)}" for name, each in options.items() if each is not None]
    return f"c.explore({', '.join([*given, f'{seed=}', 'runs=1', f'{faults=}', *named])})"
