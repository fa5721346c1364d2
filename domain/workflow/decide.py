"""`decide(state, command, now)`: the events that a command causes, or the reason why it is refused.

Each command has a handler, which returns the events of the command itself. `next_events` adds what follows from them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

from domain.aggregate import kind
from domain.aggregate.event import DomainEvent
from domain.aggregate.kind import Decided, Duplicate, Moment, settle
from domain.aggregate.rejection import Rejection, RejectionCode
from domain.aggregate.timer import Firing
from domain.definition.definition import OnCancel, StepDefinition
from domain.definition.expression import ExpressionError
from domain.workflow import repair, replies, timers
from domain.workflow.backward import backward, start_compensation, undo_fault
from domain.workflow.commands import (
    CancelWorkflow,
    Command,
    CompensateWorkflow,
    CompleteStep,
    Control,
    EnableWaveless,
    ExecuteStep,
    ForceCompensateWorkflow,
    HandleSealAnswer,
    HandleStepReply,
    PatchWorkflow,
    PauseWorkflow,
    ResetWorkflow,
    ResumeWorkflow,
    RetryStepNow,
    RetryWorkflow,
    SignalWorkflow,
    SkipStep,
    StartWorkflow,
)
from domain.workflow.events import (
    StepScheduled,
    WavelessProcessingEnabled,
    WorkflowCancelled,
    WorkflowFailed,
    WorkflowPaused,
    WorkflowResumed,
    WorkflowRetried,
    WorkflowSignalled,
    WorkflowStarted,
)
from domain.workflow.evolve import evolve
from domain.workflow.forward import TOO_LARGE, attempt_fault, forward, schedule_step
from domain.workflow.incident_lifecycle import resolve_incidents
from domain.workflow.instance import WorkflowInstance
from domain.workflow.sealing import seal_open_steps
from domain.workflow.status import CompensationStatus, StepStatus, WorkflowStatus
from domain.workflow.weight import Requests

Handled = Sequence[DomainEvent] | Rejection


Decision = kind.Decision[WorkflowInstance]


def decide(instance: WorkflowInstance | None, command: Command, at: Moment) -> Decision:
    """The decision on one command. Within an instance, time never runs backwards (PROTOCOL rule 13)."""
    if isinstance(command, StartWorkflow):
        return _start(instance, command, at.now)
    if instance is None:
        return Rejection(RejectionCode.WORKFLOW_NOT_FOUND, "there is no workflow with this id")
    if isinstance(command, Control) and command.expected_version not in (None, instance.version):
        return Rejection(
            RejectionCode.STALE,
            f"{instance.id} has version {instance.version}, not {command.expected_version}: look at it again",
        )
    now = max(at.now, instance.updated_at)
    handled = _HANDLERS[type(command)](instance, command, now)
    return handled if isinstance(handled, Rejection) else _settled(instance, handled, now)


def _settled(
    instance: WorkflowInstance | None,
    primary: Sequence[DomainEvent],
    now: datetime,
    workflow_id: str = "",
) -> Decided[WorkflowInstance]:
    requests = Requests()

    def follow(after: WorkflowInstance, last: Sequence[DomainEvent]) -> Sequence[DomainEvent]:
        # Scheduling enables nothing else: everything that was ready has just been scheduled.
        if all(type(event) is StepScheduled for event in last):
            return ()
        return next_events(after, now, requests)

    return settle(instance, primary, evolve, follow, workflow_id)


def next_events(
    instance: WorkflowInstance, now: datetime, requests: Requests
) -> Sequence[DomainEvent]:
    """The next events; none while the instance waits for an answer, a timer or a person.

    `requests` holds the requests of this decision so far.
    """
    resolved = resolve_incidents(instance, now) if instance.incidents else ()
    if resolved:
        return resolved
    if instance.status is WorkflowStatus.EXECUTING:
        return forward(instance, now, requests)
    if instance.status is WorkflowStatus.COMPENSATING:
        return backward(instance, now, requests)
    return ()


# -- start ---------------------------------------------------------------------------------------


def _start(instance: WorkflowInstance | None, command: StartWorkflow, now: datetime) -> Decision:
    facts = command.facts
    if instance is not None:
        return _start_again(instance, command)
    faults = facts.definition.input_faults(facts.input)
    if faults:
        listed = "; ".join(f"{fault['path']}: {fault['message']}" for fault in faults)
        return Rejection(
            RejectionCode.INVALID_INPUT, f"input of {facts.definition.id}: {listed}", faults
        )
    started = WorkflowStarted(occurred_at=now, actor=command.actor, facts=facts)
    decided = _settled(None, (started,), now, command.workflow_id)
    for event in decided.events:
        if isinstance(event, WorkflowFailed) and event.error.error_code == TOO_LARGE:
            return Rejection(RejectionCode.TOO_LARGE, event.error.message)
    return decided


def _start_again(instance: WorkflowInstance, command: StartWorkflow) -> Decision:
    known, asked = instance.facts, command.facts
    if known.idempotency_key is not None and known.idempotency_key == asked.idempotency_key:
        if known.payload_hash == asked.payload_hash:
            return Duplicate()
        return Rejection(
            RejectionCode.IDEMPOTENCY_CONFLICT,
            f"the idempotency key '{asked.idempotency_key}' already started {instance.id} with another payload;"
            " use a new key for a new workflow",
        )
    return Rejection(
        RejectionCode.WORKFLOW_EXISTS,
        f"{instance.id} exists ({instance.status}); choose another id or leave it out",
    )


# -- control -------------------------------------------------------------------------------------


def _illegal(instance: WorkflowInstance, verb: str, needs: str) -> Rejection:
    return Rejection(
        RejectionCode.ILLEGAL_STATUS, f"{instance.id} is {instance.status}; {verb} needs {needs}"
    )


def _pause(instance: WorkflowInstance, command: PauseWorkflow, now: datetime) -> Handled:
    if instance.status is not WorkflowStatus.EXECUTING:
        return _illegal(instance, "pause", "EXECUTING")
    return (WorkflowPaused(occurred_at=now, actor=command.actor, reason=command.reason),)


def _resume(instance: WorkflowInstance, command: ResumeWorkflow, now: datetime) -> Handled:
    if instance.status is not WorkflowStatus.PAUSED:
        return _illegal(instance, "resume", "PAUSED")
    return (WorkflowResumed(occurred_at=now, actor=command.actor, reason=command.reason),)


_CANCELLABLE = (WorkflowStatus.PENDING, WorkflowStatus.EXECUTING, WorkflowStatus.PAUSED)


def _past_pivot(instance: WorkflowInstance, verb: str) -> Rejection | None:
    if instance.is_past_pivot:
        detail = f"{instance.id} is past its pivot and only goes forward; {verb} is not possible"
        return Rejection(RejectionCode.PAST_PIVOT, detail)
    pivot = instance.open_pivot
    if pivot is not None:
        detail = (
            f"the pivot {pivot} of {instance.id} may have happened; {verb} once it has answered"
        )
        return Rejection(RejectionCode.PAST_PIVOT, detail)
    return None


def _cancel(instance: WorkflowInstance, command: CancelWorkflow, now: datetime) -> Handled:
    if instance.status not in _CANCELLABLE:
        return _illegal(instance, "cancel", "PENDING, EXECUTING or PAUSED")
    refused = _past_pivot(instance, "cancel")
    if refused is not None:
        return refused
    wanted = command.compensate
    if wanted is None:
        wanted = instance.definition.on_cancel is OnCancel.COMPENSATE
    will_compensate = wanted and any(step.may_be_done for step in instance.steps.values())
    cancelled = WorkflowCancelled(
        occurred_at=now,
        actor=command.actor,
        reason=command.reason,
        will_compensate=will_compensate,
    )
    if will_compensate:
        return (
            cancelled,
            start_compensation(instance, now, command.reason, "CANCEL", command.actor),
        )
    return (cancelled, *seal_open_steps(instance, now))


def _compensate(instance: WorkflowInstance, command: CompensateWorkflow, now: datetime) -> Handled:
    if instance.status not in (WorkflowStatus.FAILED, WorkflowStatus.COMPLETED):
        return _illegal(instance, "compensate", "FAILED or COMPLETED")
    refused = _past_pivot(instance, "compensate")
    if refused is not None:
        return refused
    return (start_compensation(instance, now, command.reason, "COMMAND", command.actor),)


_FORCEABLE = (
    WorkflowStatus.FAILED,
    WorkflowStatus.COMPLETED,
    WorkflowStatus.CANCELLED,
    WorkflowStatus.COMPENSATING,
)


def _force(instance: WorkflowInstance, command: ForceCompensateWorkflow, now: datetime) -> Handled:
    if instance.status not in _FORCEABLE:
        return _illegal(
            instance, "force-compensate", "FAILED, COMPLETED, CANCELLED or COMPENSATING"
        )
    return (start_compensation(instance, now, command.reason, "FORCE", command.actor),)


def _retry(instance: WorkflowInstance, command: RetryWorkflow, now: datetime) -> Handled:
    nothing_undone = instance.compensation_status is CompensationStatus.NONE
    if instance.status is not WorkflowStatus.FAILED or not nothing_undone:
        return _illegal(instance, "retry", "FAILED with nothing compensated")
    if instance.retry_count >= instance.facts.max_retries:
        return Rejection(
            RejectionCode.RETRIES_EXHAUSTED,
            f"{instance.id} was retried {instance.retry_count} times of {instance.facts.max_retries};"
            " compensate it or start a new one",
        )
    failed = (s.step_id for s in instance.steps.values() if s.status is StepStatus.FAILED)
    return (
        WorkflowRetried(
            occurred_at=now,
            actor=command.actor,
            retry_count=instance.retry_count + 1,
            max_retries=instance.facts.max_retries,
            from_step_id=next(failed, None),
            reason=command.reason,
        ),
    )


def _signal(instance: WorkflowInstance, command: SignalWorkflow, now: datetime) -> Handled:
    if instance.status not in _CANCELLABLE:
        return _illegal(instance, "signal", "PENDING, EXECUTING or PAUSED")
    signalled = WorkflowSignalled(
        occurred_at=now, actor=command.actor, name=command.name, payload=command.payload
    )
    after = evolve(instance, signalled)
    for step in instance.definition.steps:
        if instance.steps[step.id].status is StepStatus.PENDING or not _reads_signals(step):
            continue
        fault = undo_fault(after, step, now)
        if fault is not None:
            return Rejection(RejectionCode.TOO_LARGE, f"with this signal, {fault}")
    return (signalled,)


@lru_cache(maxsize=4096)
def _reads_signals(step: StepDefinition) -> bool:
    """Whether its undo, or the verification of the undo, may read the payload of signals."""
    read = {
        path
        for template in step.undo_templates
        for leaf in template.expressions
        for path in leaf.references
    }
    return any(path[:1] in ((), ("signals",)) for path in read)


def _waveless(instance: WorkflowInstance, command: EnableWaveless, now: datetime) -> Handled:
    if not instance.can_transition_to_waveless:
        return Rejection(
            RejectionCode.NOT_WAVELESS,
            f"{instance.id} ({instance.definition.type}, {instance.status}) cannot be released without waves",
        )
    return (
        WavelessProcessingEnabled(
            occurred_at=now,
            actor=command.actor,
            release_queue=command.release_queue,
            batch_size=command.batch_size,
            processing_interval_ms=command.processing_interval_ms,
        ),
    )


def _execute_step(instance: WorkflowInstance, command: ExecuteStep, now: datetime) -> Handled:
    completes = _completes_what_was_done(instance, command)
    if instance.status is not WorkflowStatus.EXECUTING and not completes:
        return _illegal(instance, "execute step", "EXECUTING")
    step = repair.known_step(instance, command.step_id)
    if isinstance(step, Rejection):
        return step
    execution = instance.steps[step.id]
    unfinished = execution.status in (StepStatus.EXECUTING, StepStatus.FAILED)
    if command.has_result:
        if not unfinished:
            return Rejection(
                RejectionCode.ILLEGAL_STATUS,
                f"{step.id} is {execution.status}; a result needs EXECUTING or FAILED",
            )
        recorded = replies.record_result(instance, step, command, now)
        if not completes or isinstance(recorded, Rejection):
            return recorded
        resumed = _retry(instance, RetryWorkflow(actor=command.actor), now)
        return resumed if isinstance(resumed, Rejection) else (*recorded, *resumed)
    if execution.status is not StepStatus.PENDING and execution.next_attempt_at is None:
        return Rejection(
            RejectionCode.ILLEGAL_STATUS,
            f"{step.id} is {execution.status}; to dispatch it, it must be PENDING or wait for its retry",
        )
    if not instance.dependencies_hold(step):
        missing = [d for d in step.depends_on if not instance.steps[d].status.is_satisfied]
        return Rejection(
            RejectionCode.DEPENDENCY_NOT_MET, f"{step.id} waits for {', '.join(missing)}"
        )
    try:
        event = schedule_step(instance, step, now, input=command.input, actor=command.actor)
    except ExpressionError as fault:
        return Rejection(RejectionCode.INVALID_INPUT, f"the input of {step.id}: {fault}")
    fault = attempt_fault(instance, step, event.request, now)
    return (event,) if fault is None else Rejection(RejectionCode.TOO_LARGE, fault)


def _completes_what_was_done(instance: WorkflowInstance, command: ExecuteStep) -> bool:
    """Whether the workflow failed only because an output could not be kept: with a usable one it continues."""
    execution = instance.steps.get(command.step_id)
    return (
        instance.status is WorkflowStatus.FAILED
        and execution is not None
        and execution.is_done
        and execution.status is StepStatus.FAILED
        and command.has_result
        and command.error is None
    )


_HANDLERS: dict[type[Any], Callable[[WorkflowInstance, Any, datetime], Handled]] = {
    PauseWorkflow: _pause,
    ResumeWorkflow: _resume,
    CancelWorkflow: _cancel,
    CompensateWorkflow: _compensate,
    ForceCompensateWorkflow: _force,
    RetryWorkflow: _retry,
    SignalWorkflow: _signal,
    EnableWaveless: _waveless,
    ExecuteStep: _execute_step,
    RetryStepNow: repair.retry_now,
    SkipStep: repair.skip_step,
    CompleteStep: repair.complete_step,
    PatchWorkflow: repair.patch,
    ResetWorkflow: repair.reset,
    HandleStepReply: replies.handle_reply,
    HandleSealAnswer: replies.handle_seal_answer,
    Firing: timers.fire,
}
