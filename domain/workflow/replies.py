"""Messages of participants about steps, undos, verifications and seals (PROTOCOL rules 1 to 4)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from domain.aggregate.event import DomainEvent
from domain.aggregate.rejection import Rejection, RejectionCode
from domain.definition.definition import StepDefinition, StepKind
from domain.values import changed
from domain.workflow.backward import schedule_undo, undo_fault
from domain.workflow.commands import ExecuteStep, HandleSealAnswer, HandleStepReply, Purpose
from domain.workflow.events import (
    StepCompensated,
    StepCompensationFailed,
    StepExecuted,
    StepFailed,
    StepReplyIgnored,
    StepRetryScheduled,
    StepSealed,
)
from domain.workflow.failure import ErrorType, WorkflowError
from domain.workflow.forward import TOO_LARGE
from domain.workflow.incident import IncidentCode
from domain.workflow.incident_lifecycle import raise_incident
from domain.workflow.instance import WorkflowInstance
from domain.workflow.status import StepStatus, WorkflowStatus
from domain.workflow.step import StepExecution
from domain.workflow.weight import at_most, is_light

#: Consecutive failures past the pivot that raise an incident; more if the step's policy allows more retries.
FAILURES_MAX: Final = 5
_RETRYING = (WorkflowStatus.EXECUTING, WorkflowStatus.PAUSED)


def handle_reply(
    instance: WorkflowInstance, reply: HandleStepReply, now: datetime
) -> Sequence[DomainEvent]:
    """A reply about a step or its undo. If it changes nothing, it is recorded as ignored."""
    execution = instance.steps.get(reply.step_id)
    if execution is None:
        return (_ignored(reply, now, "the definition has no such step"),)
    if reply.round != execution.round:
        return (_ignored(reply, now, f"round {execution.round} is under way"),)
    step = instance.definition.step(reply.step_id)
    if reply.purpose is not Purpose.FORWARD:
        return _undo_answered(instance, step, execution, reply, now)
    if not 1 <= reply.attempt <= execution.attempt:
        return (_ignored(reply, now, "that attempt was never sent"),)
    if reply.error is None or reply.performed:
        return _succeeded(instance, step, execution, reply, now)
    return _failed(instance, step, execution, reply, reply.error, now)


def _ignored(
    reply: HandleStepReply, now: datetime, reason: str, resolves: int | None = None
) -> StepReplyIgnored:
    return StepReplyIgnored(
        occurred_at=now,
        actor=reply.actor or "system",
        step_id=reply.step_id,
        reason=reason,
        attempt=reply.attempt,
        round=reply.round,
        resolves=resolves,
    )


def _succeeded(
    instance: WorkflowInstance,
    step: StepDefinition,
    execution: StepExecution,
    reply: HandleStepReply,
    now: datetime,
) -> Sequence[DomainEvent]:
    """The success of any attempt completes an unfinished step, because all attempts share one key (PROTOCOL rule 4).

    In a COMPENSATED workflow, or after a seal, a success contradicts an earlier answer. Conveyor will not undo that
    effect, so an incident asks a person to.
    """
    unfinished = execution.status in (StepStatus.EXECUTING, StepStatus.FAILED)
    refuted = execution.sealed or instance.status is WorkflowStatus.COMPENSATED
    if not unfinished or refuted:
        ignored = _ignored(reply, now, f"the step is {execution.status}")
        if not unfinished or step.kind is StepKind.READ_ONLY:
            return (ignored,)
        detail = (
            f"{step.service} performed {step.id}, which the workflow took as not done and does not undo"
            " any more: look at the service, undo it there"
        )
        code = IncidentCode.PERFORMED_AFTER_ALL
        return (ignored, *raise_incident(instance, now, code, step.id, detail))
    unusable = reply.error or unusable_output(instance, step, reply, now)
    if unusable is not None:
        return (_performed_in_vain(step, execution, reply, unusable, now),)
    return (
        StepExecuted(
            occurred_at=now,
            actor=reply.actor or step.service,
            step_id=step.id,
            service_name=step.service,
            operation=step.operation,
            attempt=reply.attempt,
            round=execution.round,
            output=reply.output,
            execution_time_ms=reply.execution_time_ms,
            snapshot=reply.snapshot,
        ),
    )


def unusable_output(
    instance: WorkflowInstance,
    step: StepDefinition,
    answer: HandleStepReply | HandleSealAnswer,
    now: datetime,
) -> WorkflowError | None:
    """Why the output of a performed step cannot be kept: it would make the request of the undo too large."""
    held = instance.held + at_most(answer.output) + at_most(answer.snapshot)
    if step.compensation is None or is_light(held, step):
        return None
    done = instance.steps[step.id].mark_completed(answer.output, 0, now, 1, answer.snapshot)
    after = changed(instance, steps={**instance.steps, step.id: done}, held=held)
    fault = undo_fault(after, step, now)
    if fault is None:
        return None
    return WorkflowError.create(
        step.id, step.service, TOO_LARGE, fault, ErrorType.VALIDATION_ERROR, recoverable=False
    )


def _performed_in_vain(
    step: StepDefinition,
    execution: StepExecution,
    reply: HandleStepReply,
    error: WorkflowError,
    now: datetime,
) -> StepFailed:
    """Fail a step that was performed, but whose output cannot be kept. It is never performed again."""
    return StepFailed(
        occurred_at=now,
        actor=reply.actor or step.service,
        step_id=step.id,
        service_name=step.service,
        operation=step.operation,
        attempt=reply.attempt,
        round=execution.round,
        error_code=error.error_code,
        error_type=error.error_type,
        message=error.message,
        recoverable=False,
        will_retry=False,
        answered=True,
        performed=True,
    )


def _failed(
    instance: WorkflowInstance,
    step: StepDefinition,
    execution: StepExecution,
    reply: HandleStepReply,
    error: WorkflowError,
    now: datetime,
) -> Sequence[DomainEvent]:
    """Only the running attempt can fail the step. The failure of an older attempt is recorded as ignored."""
    answered = not error.leaves_outcome_open
    if execution.status is StepStatus.EXECUTING and reply.attempt == execution.attempt:
        return fail_attempt(
            instance, step, error, now, answered=answered, actor=reply.actor or step.service
        )
    resolves = reply.attempt if answered and reply.attempt in execution.unanswered else None
    reason = f"the step is {execution.status} at attempt {execution.attempt}"
    return (_ignored(reply, now, reason, resolves),)


def fail_attempt(
    instance: WorkflowInstance,
    step: StepDefinition,
    error: WorkflowError,
    now: datetime,
    *,
    answered: bool,
    actor: str = "system",
    for_good: bool = False,
) -> Sequence[DomainEvent]:
    """The running attempt failed. It is retried if the error and the policy allow it (S-003-26), unless `for_good`."""
    execution = instance.steps[step.id]
    retries = execution.retry_count
    # Past the pivot there is no way back, so a retryable step is repeated until it succeeds.
    allowed = instance.is_past_pivot or step.retry.has_retries_left(retries)
    allowed = allowed and not for_good and instance.status in _RETRYING
    will_retry = error.recoverable and allowed
    retry_at = None
    if will_retry:
        key = execution.key(instance.id)
        retry_at = now + step.retry.delay(retries, key, execution.attempt)
    failed = StepFailed(
        occurred_at=now,
        actor=actor,
        step_id=step.id,
        service_name=step.service,
        operation=step.operation,
        attempt=execution.attempt,
        round=execution.round,
        error_code=error.error_code,
        error_type=error.error_type,
        message=error.message,
        recoverable=error.recoverable,
        will_retry=will_retry,
        answered=answered or step.kind is StepKind.READ_ONLY,
        next_attempt_at=retry_at,
    )
    if retry_at is None:
        return (failed,)
    return (
        failed,
        StepRetryScheduled(
            occurred_at=now,
            step_id=step.id,
            attempt=execution.attempt + 1,
            round=execution.round,
            due_at=retry_at,
        ),
        *_still_failing(instance, step, error, now),
    )


def _still_failing(
    instance: WorkflowInstance, step: StepDefinition, error: WorkflowError, now: datetime
) -> Sequence[DomainEvent]:
    """Past the pivot retries never end, so an incident reports that the step keeps failing."""
    failures = instance.steps[step.id].retry_count + 1
    if failures < max(FAILURES_MAX, step.retry.max_retries + 1):
        return ()
    detail = (
        f"{step.id} failed {failures} times: {error.message}; past its pivot the workflow tries it again until"
        f" {step.service} performs it: look at the service"
    )
    return raise_incident(instance, now, IncidentCode.STILL_FAILING, step.id, detail)


def record_result(
    instance: WorkflowInstance, step: StepDefinition, command: ExecuteStep, now: datetime
) -> Sequence[DomainEvent] | Rejection:
    """An operator records the outcome of a step in place of the participant."""
    execution = instance.steps[step.id]
    reply = HandleStepReply(
        step_id=step.id,
        attempt=execution.attempt,
        round=execution.round,
        output=command.output,
        actor=command.actor,
    )
    if command.error is None:
        unusable = unusable_output(instance, step, reply, now)
        if unusable is not None:
            return Rejection(RejectionCode.TOO_LARGE, unusable.message)
        return _succeeded(instance, step, execution, reply, now)
    return _failed(instance, step, execution, reply, command.error, now)


def handle_seal_answer(
    instance: WorkflowInstance, answer: HandleSealAnswer, now: datetime
) -> Sequence[DomainEvent]:
    """An answer to a seal request: the step counts as completed if it was `performed`; otherwise it never will be. An
    answer that was not requested is ignored."""
    execution = instance.steps.get(answer.step_id)
    asked = (
        execution is not None
        and execution.round == answer.round
        and execution.seal_attempt > 0
        and bool(execution.unanswered)
        and execution.status is StepStatus.FAILED
    )
    if not asked:
        return (
            StepReplyIgnored(
                occurred_at=now,
                actor=answer.actor or "system",
                step_id=answer.step_id if execution is not None else None,
                reason="no seal is open",
                attempt=answer.attempt,
                round=answer.round,
            ),
        )
    step = instance.definition.step(answer.step_id)
    unusable: WorkflowError | None = None
    if answer.performed:
        unusable = answer.error or unusable_output(instance, step, answer, now)
    if unusable is not None:
        unusable = changed(
            unusable, service_name=step.service, attempt=answer.attempt, occurred_at=now
        )
    return (
        StepSealed(
            occurred_at=now,
            actor=answer.actor or step.service,
            step_id=answer.step_id,
            round=answer.round,
            performed=answer.performed,
            output=answer.output if unusable is None else None,
            snapshot=answer.snapshot if unusable is None else None,
            attempt=answer.attempt,
            error=unusable,
        ),
    )


# -- undo ----------------------------------------------------------------------------------------


def _undo_answered(
    instance: WorkflowInstance,
    step: StepDefinition,
    execution: StepExecution,
    reply: HandleStepReply,
    now: datetime,
) -> Sequence[DomainEvent]:
    undo = execution.undo
    if not 1 <= reply.attempt <= undo.attempt:
        return (_ignored(reply, now, "that attempt was never sent"),)
    verifying = reply.purpose is Purpose.VERIFY
    waiting = undo.deadline is not None or undo.next_attempt_at is not None
    if (
        execution.status is not StepStatus.COMPENSATING
        or not waiting
        or undo.verifying is not verifying
    ):
        return (_ignored(reply, now, f"no {reply.purpose} is open"),)
    action = step.compensation
    assert action is not None
    actor = reply.actor or action.service_name
    # The output of an undo is not kept, so it cannot be unusable.
    error = None if reply.performed and not verifying else reply.error
    if error is None and verifying and _says_no(reply.output):
        error = WorkflowError.create(
            step.id,
            action.service_name,
            "NOT_VERIFIED",
            f"the undo of {step.id} did not hold",
            "NOT_VERIFIED",
        )
    if error is not None:
        if undo.deadline is None or reply.attempt != undo.attempt:
            return (_ignored(reply, now, f"attempt {undo.attempt} of the {reply.purpose} counts"),)
        return fail_undo(instance, step, error, now, actor=actor)
    if action.verify is not None and not verifying:
        return (schedule_undo(instance, step, now, Purpose.VERIFY),)
    return (
        StepCompensated(
            occurred_at=now,
            actor=actor,
            step_id=step.id,
            service_name=action.service_name,
            operation=action.operation,
            attempt=reply.attempt,
            execution_time_ms=reply.execution_time_ms,
        ),
    )


def _says_no(output: object) -> bool:
    return isinstance(output, dict) and output.get("verified") is False  # pyright: ignore[reportUnknownMemberType]


def fail_undo(
    instance: WorkflowInstance,
    step: StepDefinition,
    error: WorkflowError,
    now: datetime,
    actor: str = "system",
) -> Sequence[DomainEvent]:
    """The running attempt of an undo failed: it is retried after the step's backoff, or has failed for good."""
    action = step.compensation
    assert action is not None
    execution = instance.steps[step.id]
    undo = execution.undo
    retry_at = None
    may_repeat = step.retry.has_retries_left(undo.retry_count) and not instance.forced
    if error.recoverable and may_repeat:
        key = f"{execution.key(instance.id)}/undo"
        retry_at = now + step.retry.delay(undo.retry_count, key, undo.attempt)
    return (
        StepCompensationFailed(
            occurred_at=now,
            actor=actor,
            step_id=step.id,
            service_name=action.service_name,
            operation=action.operation,
            attempt=undo.attempt,
            error_code=error.error_code,
            error_type=error.error_type,
            message=error.message,
            recoverable=error.recoverable,
            will_retry=retry_at is not None,
            next_attempt_at=retry_at,
        ),
    )


def timeout_error(step_id: str, service: str, message: str) -> WorkflowError:
    return WorkflowError.create(step_id, service, ErrorType.TIMEOUT, message, ErrorType.TIMEOUT)
