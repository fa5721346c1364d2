"""One step of a running workflow: its attempts, their outcomes, and its undo."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from domain.aggregate.ids import StepKey
from domain.definition.definition import StepDefinition
from domain.values import Value, changed
from domain.workflow.failure import WorkflowError
from domain.workflow.status import CompensationStatus, StepStatus


class StepResult(Value):
    """The result that a participant reported."""

    step_id: str
    output: Any = None
    error: WorkflowError | None = None
    execution_time_ms: int = 0

    @property
    def is_success(self) -> bool:
        return self.error is None

    @staticmethod
    def success(step_id: str, output: Any, execution_time_ms: int) -> StepResult:
        return StepResult(step_id=step_id, output=output, execution_time_ms=execution_time_ms)

    @staticmethod
    def failure(step_id: str, error: WorkflowError, execution_time_ms: int = 0) -> StepResult:
        return StepResult(step_id=step_id, error=error, execution_time_ms=execution_time_ms)


class Undo(Value):
    """The progress of one step's compensation. `attempt` counts attempts of the undo and of its verification."""

    status: CompensationStatus = CompensationStatus.NONE
    attempt: int = 0
    #: Whether the running attempt is the verification of a completed undo.
    verifying: bool = False
    retry_count: int = 0
    #: When the running attempt times out; None when none runs.
    deadline: datetime | None = None
    next_attempt_at: datetime | None = None
    completed_at: datetime | None = None
    error: WorkflowError | None = None


NO_UNDO = Undo()


class StepExecution(Value):
    """The state of one step of one instance.

    `attempt` never restarts within a round. `round` is incremented when the step runs again after it was compensated
    or sealed (PROTOCOL rule 10). `unanswered` holds the attempts of this round without an answer of their own; while
    there are any, it is unknown whether the step was performed (rule 1).
    """

    step_id: str
    status: StepStatus = StepStatus.PENDING
    attempt: int = 0
    round: int = 1
    retry_count: int = 0
    unanswered: tuple[int, ...] = ()
    input: Any = None
    output: Any = None
    snapshot: Any = None
    error: WorkflowError | None = None
    execution_time_ms: int | None = None
    scheduled_at: datetime | None = None
    #: When the running attempt times out.
    deadline: datetime | None = None
    next_attempt_at: datetime | None = None
    completed_at: datetime | None = None
    #: The number of seal requests sent so far. The next one is due at `seal_due_at`.
    seal_attempt: int = 0
    seal_due_at: datetime | None = None
    sealed: bool = False
    #: The step is FAILED although it was performed, because its output could not be kept.
    performed: bool = False
    #: What its input is made of was patched. Once no attempt is open, the next one begins a new round with a new input.
    renewed: bool = False
    #: The step's place in the order of completion within the instance, from 1.
    completion_order: int = 0
    undo: Undo = NO_UNDO

    @staticmethod
    def create(step: StepDefinition) -> StepExecution:
        return StepExecution(step_id=step.id)

    def key(self, workflow_id: str) -> str:
        """The idempotency key of all attempts of this round."""
        return str(StepKey(workflow_id, self.step_id, self.round))

    @property
    def is_unresolved(self) -> bool:
        """Its outcome is unknown, and no attempt is running."""
        return self.status is StepStatus.FAILED and bool(self.unanswered)

    @property
    def is_done(self) -> bool:
        """It was performed, and its undo has not begun."""
        return self.status is StepStatus.COMPLETED or (
            self.performed and self.status in (StepStatus.FAILED, StepStatus.EXECUTING)
        )

    @property
    def may_be_done(self) -> bool:
        """It was performed, or may have been."""
        return self.is_done or bool(self.unanswered)

    @property
    def needs_undo(self) -> bool:
        return self.is_done or self.status is StepStatus.COMPENSATING

    @property
    def awaits_undo(self) -> bool:
        """It is done, and its undo has not begun or failed and may be tried again."""
        if self.status is StepStatus.COMPENSATING:
            return self.undo.status is CompensationStatus.NONE
        return self.is_done and not self.unanswered

    def has_timed_out(self, now: datetime) -> bool:
        return self.deadline is not None and now >= self.deadline

    # What happened to it -------------------------------------------------------------------------

    def execute(
        self, *, attempt: int, round: int, input: Any, now: datetime, deadline: datetime
    ) -> StepExecution:
        """An attempt was sent out."""
        same_round = round == self.round
        return changed(
            self,
            status=StepStatus.EXECUTING,
            attempt=attempt,
            round=round,
            unanswered=(*self.unanswered, attempt) if same_round else (attempt,),
            input=input,
            scheduled_at=now,
            deadline=deadline,
            next_attempt_at=None,
            sealed=False,
            performed=self.performed and same_round,
            renewed=self.renewed and same_round,
            seal_attempt=0,
            seal_due_at=None,
        )

    def mark_completed(
        self, output: Any, execution_time_ms: int, now: datetime, order: int, snapshot: Any = None
    ) -> StepExecution:
        """The step was performed, exactly once: all attempts share one key, so no other attempt can repeat it."""
        return changed(
            self,
            status=StepStatus.COMPLETED,
            unanswered=(),
            performed=False,
            output=output,
            snapshot=snapshot,
            error=None,
            execution_time_ms=execution_time_ms,
            deadline=None,
            next_attempt_at=None,
            seal_due_at=None,
            completed_at=now,
            completion_order=order,
        )

    def mark_failed(
        self, error: WorkflowError, answered: int | None, retry_at: datetime | None
    ) -> StepExecution:
        """The running attempt failed. `answered` is None if the participant did not answer it."""
        return changed(
            self,
            status=StepStatus.FAILED,
            error=error,
            unanswered=self.without(answered),
            deadline=None,
            next_attempt_at=retry_at,
            retry_count=self.retry_count + (retry_at is not None),
        )

    def mark_unusable(self, error: WorkflowError, now: datetime, order: int) -> StepExecution:
        """The step was performed, but its output cannot be kept: it is FAILED, never repeated, and can be undone."""
        return changed(
            self,
            status=StepStatus.FAILED,
            unanswered=(),
            performed=True,
            output=None,
            snapshot=None,
            error=error,
            deadline=None,
            next_attempt_at=None,
            seal_due_at=None,
            completed_at=now,
            completion_order=order,
        )

    def without(self, attempt: int | None) -> tuple[int, ...]:
        """The unanswered attempts without this one."""
        return tuple(open_ for open_ in self.unanswered if open_ != attempt)

    def skip(self, now: datetime) -> StepExecution:
        return changed(
            self, status=StepStatus.SKIPPED, next_attempt_at=None, completed_at=now, renewed=False
        )

    def renew(self) -> StepExecution:
        """The workflow was patched. Attempts of one round send the same input, so this needs a new round."""
        unfinished = self.status in (StepStatus.EXECUTING, StepStatus.FAILED)
        return changed(self, renewed=True) if unfinished and not self.performed else self

    def begin_again(self) -> StepExecution:
        """As if it had not begun; its attempts are those of a new round. Nothing of it is done, or open."""
        return StepExecution(
            step_id=self.step_id, attempt=self.attempt, round=self.round, renewed=self.attempt > 0
        )

    @property
    def may_be_renewed(self) -> bool:
        """Every attempt of this round was answered: none did anything."""
        return self.renewed and not self.unanswered and not self.performed

    def ask_seal(self, due_at: datetime) -> StepExecution:
        """Its service was asked to seal it. The request is repeated at `due_at`."""
        return changed(
            self,
            status=StepStatus.FAILED,
            deadline=None,
            next_attempt_at=None,
            seal_attempt=self.seal_attempt + 1,
            seal_due_at=due_at,
        )

    def mark_sealed(self) -> StepExecution:
        """It was not performed and never will be in this round."""
        return changed(self, unanswered=(), sealed=True, seal_due_at=None)

    def reset_retries(self, now: datetime) -> StepExecution:
        """An operator's retry: due now, with all retries of the policy available again. Attempt numbers continue."""
        return changed(self, retry_count=0, next_attempt_at=now)

    def compensate(self, *, attempt: int, verifying: bool, deadline: datetime) -> StepExecution:
        """An undo, or the verification of one, was sent out."""
        undo = changed(
            self.undo,
            status=CompensationStatus.RUNNING,
            attempt=attempt,
            verifying=verifying,
            deadline=deadline,
            next_attempt_at=None,
            retry_count=0 if verifying and not self.undo.verifying else self.undo.retry_count,
        )
        return changed(self, status=StepStatus.COMPENSATING, undo=undo)

    def mark_compensation_failed(
        self, error: WorkflowError, retry_at: datetime | None
    ) -> StepExecution:
        undo = changed(
            self.undo,
            status=CompensationStatus.RUNNING if retry_at else CompensationStatus.FAILED,
            error=error,
            deadline=None,
            next_attempt_at=retry_at,
            retry_count=self.undo.retry_count + (retry_at is not None),
        )
        return changed(self, status=StepStatus.COMPENSATING, undo=undo)

    def reset_undo(self) -> StepExecution:
        """A failed undo may be tried again."""
        undo = changed(
            self.undo, status=CompensationStatus.NONE, retry_count=0, next_attempt_at=None
        )
        return changed(self, undo=undo)

    def mark_compensated(self, now: datetime) -> StepExecution:
        undo = changed(
            self.undo,
            status=CompensationStatus.COMPLETED,
            deadline=None,
            next_attempt_at=None,
            completed_at=now,
            error=None,
        )
        return changed(self, status=StepStatus.COMPENSATED, undo=undo)


def deadline_after(now: datetime, timeout_ms: int) -> datetime:
    return now + timedelta(milliseconds=timeout_ms)


def elapsed_ms(since: datetime | None, now: datetime) -> int:
    return 0 if since is None else (now - since) // timedelta(milliseconds=1)
