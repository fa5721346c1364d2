"""Participants and engines that break the contract between them (PROTOCOL rules 1 to 4 and 10)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from conveyor import execution, keys
from conveyor.keys import Action, Decision, KeyRecord, KeyState

from domain.aggregate.event import DomainEvent
from domain.definition import retry
from domain.definition.definition import StepDefinition
from domain.definition.retry import RetryPolicy
from domain.values import changed
from domain.workflow import backward, decide, forward, replies, sealing, timers
from domain.workflow.commands import HandleStepReply
from domain.workflow.events import StepFailed, StepReplyIgnored, StepScheduled
from domain.workflow.failure import WorkflowError
from domain.workflow.instance import WorkflowInstance
from domain.workflow.status import StepStatus
from domain.workflow.step import StepExecution
from tests.simulation.mutants.mutant import Mutant, patched
from tests.simulation.participants import KeyRecords
from tests.simulation.world import Parts


class _Forgetful(KeyRecords):
    """Remembers nothing of a key once it has answered."""

    def record(self, key: str) -> KeyRecord:
        return KeyRecord()


class _Shared(KeyRecords):
    """Two processes handle one key at once, and both save."""

    def is_held(self, *_: Any) -> bool:
        return False

    def is_lost(self, *_: Any) -> bool:
        return False


class _Possessive(KeyRecords):
    """A process that lost its hold saves all the same."""

    def is_lost(self, *_: Any) -> bool:
        return False


# -- rule 1 --------------------------------------------------------------------------------------


def _answered_by_time(*arguments: Any, **options: Any) -> Sequence[DomainEvent]:
    return replies.fail_attempt(*arguments, **{**options, "answered": True})


def _no_seals(_: WorkflowInstance, __: datetime) -> list[DomainEvent]:
    return []


def _is_clear(definition: Any, step: StepExecution) -> bool:
    if step.status is StepStatus.COMPENSATING:
        return False
    done = step.status is StepStatus.COMPLETED
    return not done or definition.compensation_of(step.step_id) is None


def _is_busy(step: StepExecution) -> bool:
    undo = step.undo
    return step.status is StepStatus.COMPENSATING and (
        undo.deadline is not None or undo.next_attempt_at is not None
    )


def _promise(record: KeyRecord, _: Any) -> Decision:
    """It says "never", and does not write it down."""
    return Decision(Action.ANSWER, record)


# -- what nobody can use, and what is repeated ----------------------------------------------------


def _try_once_more(
    step: StepDefinition,
    execution: StepExecution,
    reply: HandleStepReply,
    error: WorkflowError,
    now: datetime,
) -> StepFailed:
    """Done, and what came of it cannot be kept: so it is done again."""
    failed = _performed_in_vain(step, execution, reply, error, now)
    again = now + timedelta(seconds=1)
    return changed(failed, performed=False, will_retry=True, next_attempt_at=again)


_performed_in_vain = replies._performed_in_vain


# -- rules 2 and 3 -------------------------------------------------------------------------------


def _begin_expired(*arguments: Any, **options: Any) -> Decision:
    return keys.on_request(*arguments, **{**options, "expired": False})


def _try_again(record: KeyRecord, attempt: int, **options: Any) -> Decision:
    """A copy of an attempt that failed is tried once more."""
    if record.state is KeyState.FAILED and attempt <= record.attempt:
        return Decision(Action.RUN, record)
    return keys.on_request(record, attempt, **options)


# -- rule 4 --------------------------------------------------------------------------------------


def _success_of_the_last_only(
    instance: WorkflowInstance,
    step: StepDefinition,
    execution: StepExecution,
    reply: HandleStepReply,
    now: datetime,
) -> Sequence[DomainEvent]:
    if reply.attempt == execution.attempt:
        return _succeeded(instance, step, execution, reply, now)
    return (
        StepReplyIgnored(
            occurred_at=now,
            step_id=step.id,
            reason="an older attempt",
            attempt=reply.attempt,
            round=reply.round,
            resolves=reply.attempt,
        ),
    )


_succeeded = replies._succeeded


def _failure_of_any(
    instance: WorkflowInstance,
    step: StepDefinition,
    execution: StepExecution,
    reply: HandleStepReply,
    error: WorkflowError,
    now: datetime,
) -> Sequence[DomainEvent]:
    if execution.status is StepStatus.EXECUTING:
        reply = changed(reply, attempt=execution.attempt)
    return _failed(instance, step, execution, reply, error, now)


_failed = replies._failed


# -- rule 10 -------------------------------------------------------------------------------------


def _same_round(
    instance: WorkflowInstance, step: StepDefinition, now: datetime, **options: Any
) -> StepScheduled:
    """A step that was sealed runs again under the key that was sealed."""
    event = _schedule_step(instance, step, now, **options)
    execution = instance.steps[step.id]
    if event.round == execution.round:
        return event
    attempt = execution.attempt + 1
    request = changed(event.request, attempt=attempt, round=execution.round)
    key = execution.key(instance.id)
    return changed(
        event, attempt=attempt, round=execution.round, idempotency_key=key, request=request
    )


_schedule_step = forward.schedule_step


def _reply_of_any_round(
    instance: WorkflowInstance, reply: HandleStepReply, now: datetime
) -> Sequence[DomainEvent]:
    execution = instance.steps.get(reply.step_id)
    if execution is not None:
        reply = changed(reply, round=execution.round)
    return replies.handle_reply(instance, reply, now)


def _restart_attempts(step: StepExecution, now: datetime) -> StepExecution:
    return changed(step, retry_count=0, next_attempt_at=now, attempt=0)


# -- order of undoing ----------------------------------------------------------------------------


def _at_once(instance: WorkflowInstance, step: StepDefinition) -> bool:
    return instance.steps[step.id].awaits_undo and step.compensation is not None


MUTANTS = (
    patched(
        "undo-in-any-order",
        0,
        "everything is undone at once, not in reverse order over the graph",
        (backward, "_may_be_undone", _at_once),
    ),
    patched(
        "time-out-is-an-answer",
        1,
        "an attempt that timed out counts as not done",
        (timers, "fail_attempt", _answered_by_time),
    ),
    patched(
        "undo-before-seal",
        1,
        "what may have been done is not asked for before other steps are undone",
        (backward, "seal_open_steps", _no_seals),
        (decide, "seal_open_steps", _no_seals),
        (backward, "_is_clear", _is_clear),
        (backward, "_is_busy", _is_busy),
    ),
    patched(
        "seal-not-kept",
        1,
        "a participant answers that it will never do it, and does not note it",
        (execution, "on_seal", _promise),
    ),
    Mutant(
        name="keys-forgotten",
        rule=2,
        what="a participant forgets a key when it has answered",
        parts=Parts(keys=_Forgetful),
    ),
    Mutant(
        name="keys-shared",
        rule=2,
        what="requests of one key are handled by two processes at a time",
        parts=Parts(keys=_Shared),
    ),
    Mutant(
        name="lost-hold-saves",
        rule=2,
        what="a process saves a key though its hold has passed to another one",
        parts=Parts(keys=_Possessive),
    ),
    patched(
        "seals-without-back-off",
        1,
        "a seal without an answer is asked for every second",
        (sealing, "_BACK_OFF", RetryPolicy(initial_delay_ms=1000, max_delay_ms=1000)),
    ),
    patched(
        "unusable-output-performed-again",
        1,
        "a step whose output cannot be kept is tried again",
        (replies, "_performed_in_vain", _try_once_more),
    ),
    patched(
        "unanswered-seals-unsaid",
        1,
        "a service that never answers its seal is no incident",
        (sealing, "UNANSWERED_MAX", 1_000_000),
    ),
    patched(
        "failures-unsaid",
        0,
        "a step that fails again and again past the pivot is no incident",
        (replies, "_still_failing", lambda *_: ()),
    ),
    patched(
        "incidents-stay-open",
        0,
        "an incident whose cause has passed is not resolved",
        (decide, "resolve_incidents", lambda *_: ()),
    ),
    patched(
        "undo-not-weighed",
        15,
        "an output is accepted though the undo that repeats it could not be sent",
        (replies, "unusable_output", lambda *_: None),
    ),
    patched(
        "retries-without-pause",
        0,
        "retries follow each other as fast as their policy says, however many",
        (retry, "LATER_DELAY_MIN_MS", 0),
    ),
    patched(
        "expired-is-begun",
        2,
        "a request past its deadline is begun",
        (execution, "on_request", _begin_expired),
    ),
    patched(
        "failed-attempt-tried-again",
        3,
        "a copy of an attempt that failed is tried again",
        (execution, "on_request", _try_again),
    ),
    patched(
        "unknown-is-an-answer",
        3,
        "an answer of type UNKNOWN counts as a promise that nothing was done",
        (WorkflowError, "leaves_outcome_open", property(lambda _: False)),
    ),
    patched(
        "late-success-thrown-away",
        4,
        "the success of an older attempt is ignored",
        (replies, "_succeeded", _success_of_the_last_only),
    ),
    patched(
        "older-failure-counts",
        4,
        "the failure of an older attempt fails the running one",
        (replies, "_failed", _failure_of_any),
    ),
    patched(
        "round-does-not-grow",
        10,
        "a step that was sealed runs again under the same key",
        (forward, "schedule_step", _same_round),
        (decide, "schedule_step", _same_round),
    ),
    patched(
        "round-ignored",
        10,
        "answers of another round count",
        (decide, "_HANDLERS", {**decide._HANDLERS, HandleStepReply: _reply_of_any_round}),
    ),
    patched(
        "attempts-restart",
        10,
        "an operator's retry counts attempts from 1 again",
        (StepExecution, "reset_retries", _restart_attempts),
    ),
)
