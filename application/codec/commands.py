"""Commands of users and operators to an existing workflow."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from conveyor import exchange, types, wire
from conveyor.messages import Message
from conveyor.payloads import InvalidPayload, Model, parse

from application.aggregates.aggregate import Decode
from application.codec.addressing import actor_of, refused, to_workflow
from domain.aggregate.rejection import Rejection
from domain.workflow.commands import (
    CancelWorkflow,
    Command,
    CompensateWorkflow,
    ExecuteStep,
    ForceCompensateWorkflow,
    PauseWorkflow,
    ResumeWorkflow,
    RetryWorkflow,
    SignalWorkflow,
)
from domain.workflow.failure import WorkflowError, is_recoverable_type


def _control(model: type[Model], build: Callable[[Model, str], Command]) -> Decode:
    def read(message: Message) -> Command | Rejection:
        try:
            data = parse(model, message.data)
        except InvalidPayload as error:
            return refused(error)
        return build(data, actor_of(message))

    return to_workflow(read)


def _cancel(data: wire.CancelData, actor: str) -> Command:
    return CancelWorkflow(reason=data.reason, compensate=data.compensate, actor=actor)


def _signal(data: wire.SignalData, actor: str) -> Command:
    return SignalWorkflow(name=data.name, payload=data.payload, actor=actor)


def _execute(data: wire.ExecuteStepData, actor: str) -> Command:
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
}

_COMMAND_PREFIXES = ("orchestration.workflow.", "orchestration.waveless.")


def is_command(message_type: str) -> bool:
    """Whether messages of this type get an outcome: commands do, replies and internal messages do not."""
    return message_type.startswith(_COMMAND_PREFIXES)
