"""Inbox messages as commands: what a message asks of which instance, or why it cannot be understood.

Not decodable at all: `MalformedEvent`, the message goes to the dead-letter topic. Understood, but
not possible as it stands: a `Rejection`, which becomes the command's outcome.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import orjson
from conveyor import topics, types, wire
from conveyor.messages import MalformedEvent, Message
from conveyor.payloads import InvalidPayload, Model, document_of, parse, parse_reply

from application.codec.references import definition_named
from application.codec.times import parse_time
from domain.aggregate.ids import derived_id, id_fault
from domain.aggregate.rejection import Rejection, RejectionCode
from domain.definition.definition import WorkflowDefinition
from domain.workflow.commands import (
    CancelWorkflow,
    Command,
    CompensateWorkflow,
    ExecuteStep,
    FireTimer,
    ForceCompensateWorkflow,
    HandleSealAnswer,
    HandleStepReply,
    PauseWorkflow,
    Purpose,
    ResumeWorkflow,
    RetryWorkflow,
    SignalWorkflow,
    StartWorkflow,
    TimerKind,
)
from domain.workflow.events import StartFacts
from domain.workflow.failure import ErrorType, WorkflowError, is_recoverable_type
from domain.workflow.status import WorkflowPriority

TIMER_DUE = "orchestration.internal.timer-due"
INTERNAL_PREFIX = "orchestration.internal."
MAC_HEADER = "conveyor-mac"
TIMER_SOURCE = "/conveyor/timers"


@dataclass(frozen=True, slots=True)
class StartIntent:
    """A start whose definition is not looked up yet."""

    #: `name` or `name-v1`.
    reference: str
    version: int | None
    data: wire.StartData
    idempotency_key: str | None
    traceparent: str | None
    #: Of the raw payload, None without an idempotency key (it is only compared under one).
    payload_hash: str


Intent = Command | StartIntent | Rejection


@dataclass(frozen=True, slots=True)
class Inbound:
    """A message that was understood."""

    workflow_id: str
    intent: Intent


def decode(message: Message) -> Inbound:
    """What the message asks. Raises MalformedEvent."""
    if message.type == types.START:
        return _start(message)
    handler = _DECODERS.get(message.type)
    if handler is None:
        raise MalformedEvent(
            "UNKNOWN_TYPE",
            f"no such command or reply: '{message.type}'; docs/reference/messages.md lists them",
        )
    workflow_id = message.subject or message.key
    if not workflow_id:
        raise MalformedEvent(
            "MISSING_ID", "neither subject nor key names the workflow that the message is for"
        )
    fault = id_fault(workflow_id)
    if fault is not None:
        raise MalformedEvent("INVALID_ID", fault)
    return Inbound(workflow_id, handler(message))


def _refused(error: InvalidPayload) -> Rejection:
    return Rejection(RejectionCode.INVALID_INPUT, str(error), error.faults)


def actor_of(message: Message) -> str:
    return message.extensions.get("actor", "system")


# -- start ---------------------------------------------------------------------------------------


def _start(message: Message) -> Inbound:
    named = message.subject or message.key
    if named:
        fault = id_fault(named)
        if fault is not None:
            raise MalformedEvent("INVALID_ID", fault)
    try:
        data = parse(wire.StartData, message.data)
    except InvalidPayload as error:
        rejection = _refused(error)
        return Inbound(named or derived_id("default", "", message.message_id), rejection)
    key = data.idempotency_key or message.extensions.get("idempotencykey")
    name, version = definition_reference(data)
    workflow_id = named or derived_id(data.tenant, name, key or message.message_id)
    intent = StartIntent(
        reference=name,
        version=version,
        data=data,
        idempotency_key=key,
        traceparent=message.extensions.get("traceparent"),
        payload_hash=payload_hash(message.data) if key else "",
    )
    return Inbound(workflow_id, intent)


def definition_reference(data: wire.StartData) -> tuple[str, int | None]:
    """Name and version that a start asks for; unresolved if they contradict each other (no such definition)."""
    reference = data.definition_reference
    return definition_named(reference, data.version) or (reference, data.version)


#: These name the definition, which the derived id already holds, and a caller may let them out or resolve them;
#: a correlation id may be given anew by whatever stands between caller and service.
_NOT_HASHED = ("definition", "definitionId", "version", "correlationId")


def payload_hash(data: bytes) -> str:
    """Equal for equal payloads, whatever the order of their fields (PROTOCOL rule 17)."""
    document: dict[str, Any] = document_of(data)
    for name in _NOT_HASHED:
        document.pop(name, None)
    canonical = orjson.dumps(document, option=orjson.OPT_SORT_KEYS)
    return hashlib.blake2b(canonical, digest_size=16).hexdigest()


#: What a start may ask for and this version cannot do yet.
_NOT_SUPPORTED = ("lock_key", "release_queue")


def start_command(
    inbound: Inbound, intent: StartIntent, definition: WorkflowDefinition | None
) -> StartWorkflow | Rejection:
    """The start with its definition, or why it cannot be."""
    data = intent.data
    if definition is None:
        wanted = (
            intent.reference if intent.version is None else f"{intent.reference} v{intent.version}"
        )
        return Rejection(
            RejectionCode.UNKNOWN_DEFINITION,
            f"no definition '{wanted}' is registered; `conveyor definitions list` shows those that are",
        )
    for name in _NOT_SUPPORTED:
        if getattr(data, name) is not None:
            field_name = wire.StartData.model_fields[name].alias or name
            return Rejection(
                RejectionCode.INVALID_INPUT,
                f"{field_name}: not supported by this version of Conveyor; leave it out",
                ({"path": field_name, "message": "not supported by this version"},),
            )
    given = data.timeout_seconds
    facts = StartFacts(
        definition=definition,
        input=data.input,
        tenant=data.tenant,
        correlation_id=data.correlation_id,
        priority=WorkflowPriority(data.priority),
        triggered_by=data.triggered_by or "system",
        user_id=data.user_id,
        wallet=data.wallet,
        labels=data.labels,
        metadata=data.metadata,
        due_at=parse_time(data.due_at) if data.due_at else None,
        timeout_seconds=definition.timeout_seconds if given is None else given,
        max_retries=definition.max_retries if data.max_retries is None else data.max_retries,
        idempotency_key=intent.idempotency_key,
        payload_hash=intent.payload_hash,
        traceparent=intent.traceparent,
    )
    return StartWorkflow(
        workflow_id=inbound.workflow_id, facts=facts, actor=data.triggered_by or "system"
    )


# -- control -------------------------------------------------------------------------------------

_Build = Callable[[Message], Intent]


def _control(model: type[Model], build: Callable[[Model, str], Command]) -> _Build:
    def decode_control(message: Message) -> Intent:
        try:
            data = parse(model, message.data)
        except InvalidPayload as error:
            return _refused(error)
        return build(data, actor_of(message))

    return decode_control


def _cancel(data: wire.CancelData, actor: str) -> Command:
    return CancelWorkflow(reason=data.reason, compensate=data.compensate, actor=actor)


def _signal(data: wire.SignalData, actor: str) -> Command:
    return SignalWorkflow(name=data.name, payload=data.payload, actor=data.actor or actor)


def _execute(data: wire.ExecuteStepData, actor: str) -> Command:
    result = data.result
    failure = result.error if result is not None else None
    return ExecuteStep(
        step_id=data.step_id,
        input=data.input,
        has_result=result is not None,
        output=result.output if result is not None else None,
        error=_error(data.step_id, failure) if failure is not None else None,
        actor=actor,
    )


def _error(step_id: str, failure: wire.StepFailure) -> WorkflowError:
    recoverable = failure.retryable
    return WorkflowError(
        step_id=step_id,
        service_name=None,
        error_code=failure.code,
        message=failure.message,
        error_type=failure.type,
        recoverable=is_recoverable_type(failure.type) if recoverable is None else recoverable,
    )


# -- replies and timers --------------------------------------------------------------------------


#: Code of a step whose output or snapshot cannot be stored.
INVALID_OUTPUT = "INVALID_OUTPUT"

#: What a participant says of a step.
Answer = HandleStepReply | HandleSealAnswer


def without_data(answer: Answer, code: str, detail: str) -> Answer:
    """The same answer of a participant, without data that cannot be kept.

    A success becomes a failure whose outcome is open (type UNKNOWN): the step was done, so the seal will
    find it performed and its undo can follow.
    """
    if isinstance(answer, HandleSealAnswer):
        return replace(answer, output=None, snapshot=None)
    error = WorkflowError(
        step_id=answer.step_id,
        service_name=None,
        error_code=code,
        message=detail,
        error_type=ErrorType.UNKNOWN if answer.error is None else answer.error.error_type,
        recoverable=False,
    )
    return replace(answer, output=None, snapshot=None, error=error)


def _strict(decode_reply: Callable[[Message], Command]) -> _Build:
    """A reply or timer of a wrong shape has nobody to refuse it to: dead letter."""

    def decode_strictly(message: Message) -> Intent:
        try:
            return decode_reply(message)
        except InvalidPayload as error:
            raise MalformedEvent("INVALID_DATA", str(error)) from error

    return decode_strictly


def _purpose(message: Message, compensation: bool) -> Purpose:
    key = message.extensions.get("idempotencykey", "")
    if key.endswith("/verify"):
        return Purpose.VERIFY
    return Purpose.UNDO if compensation or key.endswith("/undo") else Purpose.FORWARD


def _completed(message: Message) -> Command:
    reply, unusable = parse_reply(wire.StepCompleted, message.data)
    command = HandleStepReply(
        step_id=reply.step_id,
        attempt=reply.attempt,
        round=reply.round,
        purpose=_purpose(message, reply.compensation),
        output=reply.output,
        execution_time_ms=reply.execution_time_ms or 0,
        snapshot=reply.snapshot,
    )
    return _as_usable(command, unusable)


def _failed(message: Message) -> Command:
    reply, _ = parse_reply(wire.StepFailed, message.data)
    return HandleStepReply(
        step_id=reply.step_id,
        attempt=reply.attempt,
        round=reply.round,
        purpose=_purpose(message, reply.compensation),
        error=_error(reply.step_id, reply.error),
        execution_time_ms=reply.execution_time_ms or 0,
    )


def _sealed(message: Message) -> Command:
    answer, unusable = parse_reply(wire.Sealed, message.data)
    command = HandleSealAnswer(
        step_id=answer.step_id,
        round=answer.round,
        performed=answer.performed,
        output=answer.output,
        snapshot=answer.snapshot,
        attempt=answer.attempt,
    )
    return _as_usable(command, unusable)


def _as_usable(answer: Answer, unusable: str | None) -> Answer:
    """An answer whose data cannot be stored counts all the same, without them."""
    return answer if unusable is None else without_data(answer, INVALID_OUTPUT, unusable)


def _timer(message: Message) -> Command:
    """Only what carries a valid mac gets here, so it is as `timer_message` wrote it."""
    data: dict[str, Any] = orjson.loads(message.data)
    return FireTimer(
        kind=TimerKind(data["kind"]),
        step_id=data["stepId"],
        attempt=data["attempt"],
        round=data["round"],
    )


_DECODERS: dict[str, _Build] = {
    types.PAUSE: _control(wire.ReasonData, lambda d, a: PauseWorkflow(reason=d.reason, actor=a)),
    types.RESUME: _control(wire.ReasonData, lambda d, a: ResumeWorkflow(reason=d.reason, actor=a)),
    types.CANCEL: _control(wire.CancelData, _cancel),
    types.COMPENSATE: _control(
        wire.ReasonData, lambda d, a: CompensateWorkflow(reason=d.reason, actor=a)
    ),
    types.FORCE_COMPENSATE: _control(
        wire.ReasonData, lambda d, a: ForceCompensateWorkflow(reason=d.reason, actor=a)
    ),
    types.RETRY: _control(wire.ReasonData, lambda d, a: RetryWorkflow(reason=d.reason, actor=a)),
    types.SIGNAL: _control(wire.SignalData, _signal),
    types.EXECUTE_STEP: _control(wire.ExecuteStepData, _execute),
    types.STEP_COMPLETED: _strict(_completed),
    types.STEP_FAILED: _strict(_failed),
    types.STEP_SEALED: _strict(_sealed),
    TIMER_DUE: _timer,
}

_COMMAND_PREFIXES = ("orchestration.workflow.", "orchestration.waveless.")


def is_command(message_type: str) -> bool:
    """Commands get an outcome; replies and timers do not."""
    return message_type.startswith(_COMMAND_PREFIXES)


# -- internal messages ---------------------------------------------------------------------------


def mac(secret: bytes, message_type: str, key: str, value: bytes) -> bytes:
    """Proves that an internal message comes from an engine of this installation (CONTRACT 1)."""
    signed = b"\0".join((message_type.encode(), key.encode(), value))
    return hmac.digest(secret, signed, "sha256").hex().encode()


def has_valid_mac(secret: bytes, message: Message) -> bool:
    given = message.headers.get(MAC_HEADER, b"")
    expected = mac(secret, message.type, message.key or "", message.data)
    return hmac.compare_digest(given, expected)


def timer_message(secret: bytes, workflow_id: str, firing: FireTimer) -> Message:
    """A due timer as the engine sends it to its own inbox; the same firing has the same id."""
    step = firing.step_id or ""
    data = orjson.dumps(
        {
            "kind": firing.kind.value,
            "stepId": firing.step_id,
            "attempt": firing.attempt,
            "round": firing.round,
        }
    )
    return Message(
        topic=topics.COMMANDS,
        key=workflow_id,
        type=TIMER_DUE,
        source=TIMER_SOURCE,
        id=f"{workflow_id}/{firing.kind}/{step}/{firing.round}/{firing.attempt}",
        data=data,
        subject=workflow_id,
        headers={MAC_HEADER: mac(secret, TIMER_DUE, workflow_id, data)},
    )
