"""A saga told in messages and events: given a definition, when a message comes, then these follow.

Everything goes through `decide`, and after each decision the events alone must lead to the state
that it returned. Requests are written as participants see them: `pick` is the first attempt of a
step, `pick#2` the second, `pick@2` the first of round 2; `undo pick`, `verify pick` and `seal pick`
are the others.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Self, TypeVar

from domain.aggregate.event import DomainEvent
from domain.aggregate.kind import Moment
from domain.aggregate.rejection import Rejection, RejectionCode
from domain.definition.definition import WorkflowDefinition
from domain.workflow.commands import (
    CancelWorkflow,
    Command,
    CompensateWorkflow,
    ExecuteStep,
    Firing,
    ForceCompensateWorkflow,
    HandleSealAnswer,
    HandleStepReply,
    PauseWorkflow,
    Purpose,
    ResumeWorkflow,
    RetryWorkflow,
    StartWorkflow,
    TimerKind,
)
from domain.workflow.decide import Decided, Decision, Duplicate, decide
from domain.workflow.events import StartFacts, StepReplyIgnored, StepScheduled, StepUnresolved
from domain.workflow.evolve import evolve
from domain.workflow.failure import ErrorType, WorkflowError
from domain.workflow.instance import WorkflowInstance
from domain.workflow.timers import Timer, timers_of

E = TypeVar("E", bound=DomainEvent)

T0 = datetime(2026, 11, 21, 2, 30, tzinfo=UTC)


def request_name(event: StepScheduled | StepUnresolved) -> str:
    """What the event asks a participant for, in the short form of this module."""
    if isinstance(event, StepUnresolved):
        verb, attempt = "seal ", event.seal_attempt
    else:
        verb, attempt = f"{event.purpose} " if event.purpose else "", event.attempt
    number = f"#{attempt}" if attempt > 1 else ""
    round_ = f"@{event.round}" if event.round > 1 else ""
    return f"{verb}{event.step_id}{number}{round_}"


class Saga:
    """One run: the methods under `when` send a message, those under `then` look at its effect."""

    def __init__(self, definition: WorkflowDefinition, workflow_id: str = "wf-1") -> None:
        self.definition = definition
        self.workflow_id = workflow_id
        self.now = T0
        self.history: list[DomainEvent] = []
        self.last: Decision = Duplicate()
        self._instance: WorkflowInstance | None = None
        self._folded: WorkflowInstance | None = None

    @property
    def instance(self) -> WorkflowInstance:
        assert self._instance is not None, "the saga has not started"
        return self._instance

    # -- when ------------------------------------------------------------------------------------

    def send(self, command: Command) -> Self:
        """Decide on one message and take over what comes of it."""
        self.last = decide(self._instance, command, Moment(self.now))
        if isinstance(self.last, Decided):
            self.history.extend(self.last.events)
            self._instance = self.last.state
            self._folded = self._fold(self.last.events)
            assert self.instance == self._folded
            assert self.instance.version == len(self.history)
        return self

    def happened(self, *events: DomainEvent) -> Self:
        """What another version of the code decided, as its log has it."""
        self.history.extend(events)
        self._instance = self._folded = self._fold(events)
        return self

    def _fold(self, events: Iterable[DomainEvent]) -> WorkflowInstance | None:
        """What the events add up to since the first one, by themselves."""
        folded = self._folded
        for event in events:
            folded = evolve(folded, event, self.workflow_id)
        return folded

    def starts(self, order: dict[str, Any] | None = None, **facts: Any) -> Self:
        """`order` is the workflow's input."""
        known = StartFacts(definition=self.definition, input=order or {}, **facts)
        return self.send(StartWorkflow(workflow_id=self.workflow_id, facts=known))

    def after(self, **duration: float) -> Self:
        self.now += timedelta(**duration)
        return self

    def succeeds(self, step_id: str, output: Any = None, **facts: Any) -> Self:
        """The participant performed the step, by default in its newest attempt."""
        return self.send(self._reply(step_id, output=output, **facts))

    def succeed(self, *step_ids: str) -> Self:
        for step_id in step_ids:
            self.succeeds(step_id)
        return self

    def succeed_with(self, output: Any, *step_ids: str) -> Self:
        for step_id in step_ids:
            self.succeeds(step_id, output)
        return self

    def fails(
        self, step_id: str, error_type: str = "BUSINESS_RULE_VIOLATION", **facts: Any
    ) -> Self:
        """The participant says that the attempt failed; not worth a retry unless its type is."""
        recoverable = facts.pop("recoverable", None)
        return self.send(
            self._reply(step_id, error=_error(step_id, error_type, recoverable), **facts)
        )

    def unavailable(self, step_id: str, **facts: Any) -> Self:
        """The attempt failed for a passing reason."""
        return self.fails(step_id, ErrorType.SERVICE_UNAVAILABLE, **facts)

    def undone(self, step_id: str, **facts: Any) -> Self:
        return self.send(self._reply(step_id, purpose=Purpose.UNDO, **facts))

    def undo_fails(self, step_id: str, error_type: str = "INTERNAL", **facts: Any) -> Self:
        error = _error(step_id, error_type, None)
        return self.send(self._reply(step_id, purpose=Purpose.UNDO, error=error, **facts))

    def verified(self, step_id: str, output: Any = None, **facts: Any) -> Self:
        return self.send(self._reply(step_id, purpose=Purpose.VERIFY, output=output, **facts))

    def _reply(self, step_id: str, **facts: Any) -> HandleStepReply:
        execution = self.instance.steps.get(step_id)
        if execution is not None:
            forward = facts.get("purpose", Purpose.FORWARD) is Purpose.FORWARD
            facts.setdefault("attempt", execution.attempt if forward else execution.undo.attempt)
            facts.setdefault("round", execution.round)
        return HandleStepReply(step_id=step_id, **facts)

    def sealed(self, step_id: str, **facts: Any) -> Self:
        """The participant did not perform the step and never will."""
        return self._answer_seal(step_id, performed=False, **facts)

    def performed(self, step_id: str, output: Any = None, **facts: Any) -> Self:
        """The participant had performed the step before it was asked to seal it."""
        return self._answer_seal(step_id, performed=True, output=output, **facts)

    def _answer_seal(self, step_id: str, **facts: Any) -> Self:
        execution = self.instance.steps.get(step_id)
        facts.setdefault("round", execution.round if execution is not None else 1)
        return self.send(HandleSealAnswer(step_id=step_id, **facts))

    def timer(self, kind: TimerKind, step_id: str | None = None) -> Timer:
        for timer in timers_of(self.instance):
            if timer.firing.name == kind and timer.firing.subject == step_id:
                return timer
        raise AssertionError(f"no {kind} of {step_id} among {timers_of(self.instance)}")

    def fires(self, kind: TimerKind, step_id: str | None = None) -> Self:
        """The timer fires when it is due."""
        timer = self.timer(kind, step_id)
        self.now = max(self.now, timer.due_at)
        return self.send(timer.firing)

    def fires_again(self, firing: Firing) -> Self:
        """The firing comes, whatever the state has by now."""
        return self.send(firing)

    def times_out(self, step_id: str) -> Self:
        return self.fires(TimerKind.STEP_TIMEOUT, step_id)

    def retry_is_due(self, step_id: str) -> Self:
        return self.fires(TimerKind.STEP_RETRY, step_id)

    def gives_no_answer(self, step_id: str) -> Self:
        """Every attempt that the step's policy allows times out."""
        while True:
            self.times_out(step_id)
            if self.instance.steps[step_id].next_attempt_at is None:
                return self
            self.retry_is_due(step_id)

    def pauses(self) -> Self:
        return self.send(PauseWorkflow(reason="spill"))

    def resumes(self) -> Self:
        return self.send(ResumeWorkflow(reason="clean"))

    def cancels(self, *, compensate: bool | None = None) -> Self:
        return self.send(CancelWorkflow(reason="Cancelled by user", compensate=compensate))

    def compensates(self) -> Self:
        return self.send(CompensateWorkflow(reason="wrong order"))

    def forces(self) -> Self:
        return self.send(ForceCompensateWorkflow(reason="nobody answers"))

    def retries(self) -> Self:
        return self.send(RetryWorkflow(reason="again"))

    def executes(self, step_id: str, **facts: Any) -> Self:
        return self.send(ExecuteStep(step_id=step_id, actor="alice", **facts))

    # -- then ------------------------------------------------------------------------------------

    @property
    def events(self) -> tuple[DomainEvent, ...]:
        """What the last message led to."""
        assert isinstance(self.last, Decided), self.last
        return self.last.events

    def the(self, kind: type[E]) -> E:
        """The newest event of its kind in the whole history."""
        return next(event for event in reversed(self.history) if isinstance(event, kind))

    def all_of(self, kind: type[E]) -> list[E]:
        return [event for event in self.history if isinstance(event, kind)]

    @property
    def requests(self) -> list[str]:
        """What the last message made the engine ask of participants."""
        sent = (StepScheduled, StepUnresolved)
        return [request_name(event) for event in self.events if isinstance(event, sent)]

    def expect_requests(self, *requests: str) -> Self:
        assert self.requests == list(requests)
        return self

    def expect_no_requests(self) -> Self:
        return self.expect_requests()

    def expect_events(self, *kinds: type[DomainEvent]) -> Self:
        """Exactly these events followed, requests and retry notices included."""
        assert [type(event).__name__ for event in self.events] == [kind.__name__ for kind in kinds]
        return self

    def expect_status(self, status: str, **steps: str) -> Self:
        """The workflow's status and, by name, those of its steps."""
        assert self.instance.status == status
        assert {name: str(self.instance.steps[name].status) for name in steps} == steps
        return self

    def expect_ignored(self, because: str = "") -> Self:
        assert [type(event) for event in self.events] == [StepReplyIgnored]
        assert because in self.the(StepReplyIgnored).reason
        return self

    def expect_refusal(self, code: RejectionCode, detail: str = "") -> Self:
        """The command was refused, so nothing happened."""
        assert isinstance(self.last, Rejection), self.last
        assert self.last.code is code
        assert detail in self.last.detail
        return self


def _error(step_id: str, error_type: str, recoverable: bool | None) -> WorkflowError:
    return WorkflowError.create(
        step_id,
        f"{step_id}-service",
        "NOT_POSSIBLE",
        f"{step_id} is not possible",
        error_type,
        recoverable,
    )
