"""Participants' messages about a step: completed, failed or sealed."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from conveyor import exchange, types
from conveyor.messages import MalformedEvent, Message
from conveyor.payloads import InvalidPayload, parse_reply

from application.aggregates.aggregate import Decode
from application.codec.addressing import CONFLICTING_IDS, require_same, to_workflow
from application.codec.commands import error_of
from domain.aggregate.ids import StepKey
from domain.values import changed
from domain.workflow.commands import Command, HandleSealAnswer, HandleStepReply, Purpose
from domain.workflow.failure import ErrorType, WorkflowError

#: Code of a step whose output or snapshot cannot be stored.
INVALID_OUTPUT = "INVALID_OUTPUT"

#: A participant's message about a step.
Answer = HandleStepReply | HandleSealAnswer


def without_data(answer: Answer, code: str, detail: str) -> Answer:
    """A participant's message without data that cannot be kept.

    A success remains a success: the step was performed, and must not be performed again only to get an output.
    """
    unusable = WorkflowError.create(
        answer.step_id, "", code, detail, ErrorType.VALIDATION_ERROR, recoverable=False
    )
    if isinstance(answer, HandleSealAnswer):
        return changed(
            answer, output=None, snapshot=None, error=unusable if answer.performed else None
        )
    if answer.error is not None:
        return answer
    return changed(answer, output=None, snapshot=None, performed=True, error=unusable)


def _strict(decode_reply: Callable[[Message], Command]) -> Decode:
    """Make a reply of a wrong shape a dead letter, because there is no caller to refuse it to."""

    def read(message: Message) -> Command:
        try:
            return decode_reply(message)
        except InvalidPayload as error:
            raise MalformedEvent("INVALID_DATA", str(error)) from error

    return to_workflow(read)


def _purpose(message: Message, reply: exchange.StepCompleted | exchange.StepFailed) -> Purpose:
    """The purpose of the request. Raises MalformedEvent if the parts of the reply name different requests."""
    key = _key(message, reply)
    attempt = message.extensions.get("attempt")
    if attempt is not None:
        require_same("the attempt", attribute=attempt, data=str(reply.attempt))
    if key is None:
        return Purpose.UNDO if reply.compensation else Purpose.FORWARD
    purpose = Purpose(key.purpose or Purpose.FORWARD)
    if reply.compensation is not None:
        require_same(
            "the purpose", idempotencykey=purpose is Purpose.UNDO, compensation=reply.compensation
        )
    return purpose


def _key(
    message: Message, answer: exchange.StepCompleted | exchange.StepFailed | exchange.Sealed
) -> StepKey | None:
    """The idempotency key of the request, if the reply repeats it."""
    addressed = message.subject or message.key
    require_same("the workflow", addressed=addressed, data=answer.workflow_id)
    text = message.extensions.get("idempotencykey")
    if text is None:
        return None
    named = StepKey(answer.workflow_id, answer.step_id, answer.round)
    if text == str(named) and "/" not in answer.step_id:
        return named
    try:
        key = StepKey.parse(text)
    except ValueError as fault:
        raise MalformedEvent(CONFLICTING_IDS, str(fault)) from None
    require_same("the step", idempotencykey=text, data=str(named._replace(purpose=key.purpose)))
    return key


def _completed(message: Message) -> Command:
    reply, unusable = parse_reply(exchange.StepCompleted, message.data)
    command = HandleStepReply(
        step_id=reply.step_id,
        attempt=reply.attempt,
        round=reply.round,
        purpose=_purpose(message, reply),
        output=reply.output,
        execution_time_ms=reply.duration_ms,
        snapshot=reply.snapshot,
    )
    return _as_usable(command, unusable)


def _failed(message: Message) -> Command:
    reply, _ = parse_reply(exchange.StepFailed, message.data)
    return HandleStepReply(
        step_id=reply.step_id,
        attempt=reply.attempt,
        round=reply.round,
        purpose=_purpose(message, reply),
        error=error_of(reply.step_id, reply.error),
        performed=reply.performed,
        execution_time_ms=reply.duration_ms,
    )


def _sealed(message: Message) -> Command:
    answer, unusable = parse_reply(exchange.Sealed, message.data)
    key = _key(message, answer)
    if key is not None:
        require_same("the purpose", idempotencykey=key.purpose, sealed=None)
    command = HandleSealAnswer(
        step_id=answer.step_id,
        round=answer.round,
        performed=answer.performed,
        output=answer.output,
        snapshot=answer.snapshot,
        attempt=answer.attempt,
        error=error_of(answer.step_id, answer.error) if answer.error is not None else None,
    )
    return _as_usable(command, unusable)


def _as_usable(answer: Answer, unusable: str | None) -> Answer:
    """The answer, without data that cannot be stored."""
    return answer if unusable is None else without_data(answer, INVALID_OUTPUT, unusable)


REPLIES: Mapping[str, Decode] = {
    types.STEP_COMPLETED: _strict(_completed),
    types.STEP_FAILED: _strict(_failed),
    types.STEP_SEALED: _strict(_sealed),
}
