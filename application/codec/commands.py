"""Commands of users and operators to an existing workflow."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from conveyor import exchange, types, wire
from conveyor.messages import Message
from conveyor.payloads import InvalidPayload, Model, parse

from application.aggregates.aggregate import Decode
from application.codec.addressing import actor_of, refused, to_workflow
from domain.aggregate.rejection import Rejection, RejectionCode
from domain.values import changed
from domain.workflow.commands import (
    CancelWorkflow,
    CompensateWorkflow,
    CompleteStep,
    Control,
    ExecuteStep,
    ForceCompensateWorkflow,
    PatchWorkflow,
    PauseWorkflow,
    ResetWorkflow,
    ResumeWorkflow,
    RetryStepNow,
    RetryWorkflow,
    SignalWorkflow,
    SkipStep,
)
from domain.workflow.failure import WorkflowError, is_recoverable_type


def _control(model: type[Model], build: Callable[[Model, str], Control]) -> Decode:
    def read(message: Message) -> Control | Rejection:
        try:
            data = parse(model, message.data)
        except InvalidPayload as error:
            return refused(error)
        expected = message.extensions.get(EXPECTED_VERSION)
        if expected is None:
            return build(data, actor_of(message))
        if not _VERSION.fullmatch(expected):
            detail = f"{EXPECTED_VERSION} {expected[:60]!r} is not a version; write a number from 1"
            return Rejection(RejectionCode.INVALID_INPUT, detail)
        return changed(build(data, actor_of(message)), expected_version=int(expected))

    return to_workflow(read)


#: The attribute of a command that is meant for one version of its workflow only.
EXPECTED_VERSION = "expectedversion"
_VERSION = re.compile(r"[1-9][0-9]{0,8}")


def _cancel(data: wire.CancelData, actor: str) -> Control:
    return CancelWorkflow(reason=data.reason, compensate=data.compensate, actor=actor)


def _signal(data: wire.SignalData, actor: str) -> Control:
    return SignalWorkflow(name=data.name, payload=data.payload, actor=actor)


def _complete(data: wire.CompleteStepData, actor: str) -> Control:
    return CompleteStep(step_id=data.step_id, reason=data.reason, output=data.output, actor=actor)


def _patch(data: wire.PatchData, actor: str) -> Control:
    return PatchWorkflow(reason=data.reason, input=data.input, context=data.context, actor=actor)


def _execute(data: wire.ExecuteStepData, actor: str) -> Control:
    result = data.result
    failure = result.error if result is not None else None
    return ExecuteStep(
        step_id=data.step_id,
        input=data.input,
        has_result=result is not None,
        output=result.output if result is not None else None,
        error=error_of(data.step_id, failure) if failure is not None else None,
        actor=actor,
    )


#: Characters of a failure's texts that are kept. They are part of several events and of the undos' requests.
_FAILURE_CODE_MAX = 255
_FAILURE_MESSAGE_MAX = 4000


def error_of(step_id: str, failure: wire.StepFailure | exchange.ReportedFailure) -> WorkflowError:
    recoverable = failure.retryable
    return WorkflowError(
        step_id=step_id,
        service_name=None,
        error_code=failure.code[:_FAILURE_CODE_MAX],
        message=failure.message[:_FAILURE_MESSAGE_MAX],
        error_type=failure.type[:_FAILURE_CODE_MAX],
        recoverable=is_recoverable_type(failure.type) if recoverable is None else recoverable,
        outcome_unknown=failure.outcome_unknown,
    )


COMMANDS: Mapping[str, Decode] = {
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
    types.RETRY_STEP_NOW: _control(
        wire.StepRepairData,
        lambda d, a: RetryStepNow(step_id=d.step_id, reason=d.reason, actor=a),
    ),
    types.SKIP_STEP: _control(
        wire.StepRepairData, lambda d, a: SkipStep(step_id=d.step_id, reason=d.reason, actor=a)
    ),
    types.COMPLETE_STEP: _control(wire.CompleteStepData, _complete),
    types.PATCH: _control(wire.PatchData, _patch),
    types.RESET: _control(
        wire.ResetData, lambda d, a: ResetWorkflow(to_step=d.to_step, reason=d.reason, actor=a)
    ),
}

_COMMAND_PREFIXES = ("orchestration.workflow.", "orchestration.waveless.")


def is_command(message_type: str) -> bool:
    """Whether messages of this type get an outcome: commands do, replies and internal messages do not."""
    return message_type.startswith(_COMMAND_PREFIXES)
