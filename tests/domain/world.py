"""A world around one saga: participants that keep PROTOCOL rules 2 and 3, and a network that keeps nothing.

Requests and replies are lost in time, doubled and overtaken; participants fail, are slow, and sometimes
do the work without being able to say so. What they really did is in `effects`, in order.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from domain.definition.definition import WorkflowDefinition
from domain.workflow.commands import (
    CancelWorkflow,
    Command,
    CompensateWorkflow,
    CompleteStep,
    ExecuteStep,
    Firing,
    ForceCompensateWorkflow,
    HandleSealAnswer,
    HandleStepReply,
    PatchWorkflow,
    PauseWorkflow,
    Purpose,
    ResetWorkflow,
    ResumeWorkflow,
    RetryStepNow,
    RetryWorkflow,
    SkipStep,
)
from domain.workflow.decide import Decided
from domain.workflow.events import StepScheduled, StepUnresolved
from domain.workflow.failure import ErrorType, WorkflowError
from domain.workflow.status import WorkflowStatus
from domain.workflow.timers import timers_of
from tests.domain.sagas import Saga

Request = StepScheduled | StepUnresolved


@dataclass
class Record:
    """What a participant remembers of one idempotency key (PROTOCOL rule 2)."""

    performed: bool = False
    failed_attempt: int = 0
    sealed: bool = False


@dataclass(frozen=True)
class Effect:
    """Something that a participant really did."""

    purpose: str
    step_id: str
    status: WorkflowStatus


@dataclass
class World:
    """One saga and all that is under way around it; `rng` decides what happens next."""

    saga: Saga
    rng: Random
    requests: list[Request] = field(default_factory=list[Request])
    replies: list[Command] = field(default_factory=list[Command])
    effects: list[Effect] = field(default_factory=list[Effect])
    #: Steps whose outcome an operator told: what is known of them need not be true.
    told: set[str] = field(default_factory=set[str])
    sent: list[Request] = field(default_factory=list[Request])
    answered: list[Command] = field(default_factory=list[Command])
    fired: list[Firing] = field(default_factory=list[Firing])
    records: dict[str, Record] = field(default_factory=dict[str, Record])
    calm: bool = False
    #: An operator keeps repairing it.
    is_repaired: bool = False

    @staticmethod
    def of(definition: WorkflowDefinition, rng: Random) -> World:
        world = World(saga=Saga(definition), rng=rng, is_repaired=rng.random() < 0.5)
        world.saga.starts({"n": 1}, timeout_seconds=rng.choice([0, 300]))
        world._send_out()
        return world

    def tell(self, command: Command) -> None:
        """A message reaches the engine; what it asks of participants is under way."""
        self.saga.send(command)
        self._send_out()

    def _send_out(self) -> None:
        if isinstance(self.saga.last, Decided):
            asked = [event for event in self.saga.events if isinstance(event, Request)]
            self.requests += asked
            self.sent += asked

    # -- faults first, then calm -----------------------------------------------------------------

    def walk(self, steps: int) -> None:
        """So many random things happen."""
        for _ in range(steps):
            self.saga.after(milliseconds=self.rng.randrange(2000))
            self.rng.choice(
                [self._deliver, self._deliver, self._answer, self._answer, self._fire]
                + [self._operate] * (self.rng.random() < (0.9 if self.is_repaired else 0.4))
            )()

    def rest(self) -> None:
        """From now on nothing goes wrong; until nothing is under way any more."""
        self.calm = True
        for _ in range(2000):
            if self.saga.instance.status is WorkflowStatus.PAUSED:
                self.tell(ResumeWorkflow())
            elif self.requests:
                self._deliver()
            elif self.replies:
                self._answer()
            elif timers_of(self.saga.instance):
                self._fire()
            else:
                return
        raise AssertionError("the saga does not come to rest")

    def everything_again(self) -> None:
        """Every request and every answer that ever was comes once more."""
        self.requests = list(self.sent)
        while self.requests:
            self._deliver()
        for command in (*self.answered, *self.replies, *self.fired):
            self.saga.send(command)

    def _take(self, under_way: list[Request] | list[Command]) -> Request | Command | None:
        """One of them, in any order; in a storm some come again."""
        if not under_way:
            return None
        place = self.rng.randrange(len(under_way))
        doubled = not self.calm and self.rng.random() < 0.2
        return under_way[place] if doubled else under_way.pop(place)

    def _deliver(self) -> None:
        request = self._take(self.requests)
        if isinstance(request, StepUnresolved):
            self.replies.append(self._seal(request))
        elif isinstance(request, StepScheduled):
            self.replies.append(self._perform(request))

    def _answer(self) -> None:
        reply = self._take(self.replies)
        if isinstance(reply, HandleStepReply | HandleSealAnswer):
            self.answered.append(reply)
            self.tell(reply)

    def _fire(self) -> None:
        """A timer that is due, that is early by a slow clock, or that was settled long ago."""
        timers = timers_of(self.saga.instance)
        if self.calm:
            timer = min(timers, key=lambda timer: timer.due_at)
            self.saga.now = max(self.saga.now, timer.due_at)
            self.tell(timer.firing)
            return
        firing = self.rng.choice([timer.firing for timer in timers] + self.fired[-3:] or [None])
        if firing is not None:
            self.fired.append(firing)
            self.tell(firing)

    def _operate(self) -> None:
        commands: list[Command] = [PauseWorkflow(), ResumeWorkflow(), ResumeWorkflow()]
        commands += [RetryWorkflow(), RetryWorkflow(), CompensateWorkflow()]
        commands += [CancelWorkflow(compensate=self.rng.choice([None, True, False]))]
        if self.rng.random() < 0.03:
            commands = [ForceCompensateWorkflow()]
        step_id = self.rng.choice(list(self.saga.instance.steps))
        if self.rng.random() < (0.8 if self.is_repaired else 0.1):
            self.tell(self._repair(step_id))
            return
        if self.rng.random() < 0.2:
            commands = [ExecuteStep(step_id=step_id)]
        elif self.rng.random() < 0.05:
            error = _error(step_id, ErrorType.INTERNAL) if self.rng.random() < 0.5 else None
            commands = [ExecuteStep(step_id=step_id, has_result=True, error=error)]
            self.told.add(step_id)
        self.tell(self.rng.choice(commands))

    def _repair(self, step_id: str) -> Command:
        if self.rng.random() < 0.05:
            self.told.add(step_id)
            return CompleteStep(step_id=step_id, reason="by hand")
        if self.rng.random() < 0.4:
            self.tell(PauseWorkflow())
            return ResetWorkflow(to_step=step_id, reason="picked wrong")
        changed = self.rng.choice([None, 1, 2, 3])
        return self.rng.choice(
            [
                RetryStepNow(step_id=step_id, reason="it is back"),
                SkipStep(step_id=step_id, reason="not needed"),
                PatchWorkflow(input={"n": changed}, reason="a typing error"),
            ]
        )

    # -- participants ----------------------------------------------------------------------------

    def _seal(self, request: StepUnresolved) -> HandleSealAnswer:
        record = self.records.setdefault(request.idempotency_key, Record())
        record.sealed = record.sealed or not record.performed
        return HandleSealAnswer(
            step_id=request.step_id, round=request.round, performed=record.performed
        )

    def _perform(self, request: StepScheduled) -> HandleStepReply:
        record = self.records.setdefault(request.idempotency_key, Record())
        error: WorkflowError | None = None
        if record.sealed:
            error = _error(request.step_id, "SEALED")
        elif not record.performed:
            error = self._try(request, record)
        return HandleStepReply(
            step_id=request.step_id,
            attempt=request.attempt,
            round=request.round,
            purpose=Purpose(request.purpose or "forward"),
            error=error,
            output=None if request.purpose is None else {"verified": True},
        )

    def _try(self, request: StepScheduled, record: Record) -> WorkflowError | None:
        """Do it, or not; a failure is a promise for this attempt, an unknown outcome is none."""
        if request.attempt <= record.failed_attempt:
            return _error(request.step_id, ErrorType.INTERNAL)
        outcome = (
            "done"
            if self.calm
            else self.rng.choice(
                ["done", "done", "done", "passing", "final", "done in silence", "silence"]
            )
        )
        if outcome in ("passing", "final"):
            record.failed_attempt = request.attempt
            passing = outcome == "passing"
            return _error(
                request.step_id, ErrorType.SERVICE_UNAVAILABLE if passing else ErrorType.INTERNAL
            )
        if outcome != "silence":
            record.performed = True
            purpose = request.purpose or "do"
            self.effects.append(Effect(purpose, request.step_id, self.saga.instance.status))
        return None if outcome == "done" else _error(request.step_id, ErrorType.UNKNOWN)


def _error(step_id: str, error_type: str) -> WorkflowError:
    return WorkflowError.create(step_id, f"{step_id}-service", "X", "no", error_type)
