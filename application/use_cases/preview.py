"""What a command would do to a workflow as it is now. Nothing is sent."""

from __future__ import annotations

from collections.abc import Iterator

from application.access import Caller
from application.aggregates.catalog import CATALOG
from application.codec.commands import COMMANDS
from application.gateway import CommandGateway
from application.ports import Clock, Document
from application.queries import WorkflowReader
from application.use_cases.refusal import no_workflow, refused_for, require_id
from domain.aggregate.kind import Decided, Moment
from domain.aggregate.rejection import Rejection
from domain.definition.definition import StepKind
from domain.workflow.decide import decide
from domain.workflow.instance import WorkflowInstance
from domain.workflow.status import WorkflowStatus

_PREFIX = "orchestration.workflow."
#: The commands that can be previewed, by the names that `allowedCommands` uses.
NAMES = tuple(sorted(each.removeprefix(_PREFIX) for each in COMMANDS))


class PreviewCommand:
    """Decides on a command as the engine would, and forgets the decision."""

    def __init__(self, gateway: CommandGateway, reader: WorkflowReader, clock: Clock) -> None:
        self._gateway = gateway
        self._reader = reader
        self._clock = clock

    async def __call__(
        self, caller: Caller, workflow_id: str, command: str, data: Document
    ) -> Document:
        """Whether the command would be accepted, why not, what it undoes, and which effects would stay for good.

        `data` has the shape of the command. Raises Refused, Unavailable.
        """
        require_id(workflow_id)
        if command not in NAMES:
            message = f"'{command[:60]}' is not a command; write one of {', '.join(NAMES)}"
            raise refused_for([{"path": "command", "message": message}])
        instance = await self._reader.state(workflow_id)
        if instance is None:
            raise no_workflow(workflow_id)
        message = self._gateway.message(_PREFIX + command, workflow_id, data, actor=caller.actor)
        intent = CATALOG.decode(message).intent
        decision = (
            intent
            if isinstance(intent, Rejection)
            else decide(instance, intent, Moment(self._clock.now()))
        )
        if isinstance(decision, Rejection):
            refusal = {"code": str(decision.code), "detail": decision.detail}
            return _preview(instance, instance, refusals=[refusal])
        assert isinstance(decision, Decided)  # only a start can be a duplicate
        return _preview(instance, decision.state)


def _preview(
    before: WorkflowInstance, after: WorkflowInstance, *, refusals: list[Document] | None = None
) -> Document:
    return {
        "allowed": not refusals,
        "version": before.version,
        "status": str(before.status),
        "statusAfter": str(after.status),
        "refusals": refusals or [],
        "undo": [] if refusals else list(_undone(after)),
        "lost": [] if refusals else list(_staying(after)),
    }


def _undone(after: WorkflowInstance) -> Iterator[Document]:
    """What will be undone, in that order; first what is undone only if it turns out to have been performed."""
    if after.status is not WorkflowStatus.COMPENSATING:
        return
    for step in after.definition.steps:
        execution = after.steps[step.id]
        open_ = execution.unanswered and not execution.is_done
        if open_ and step.compensation is not None and after.goes_back(step.id):
            yield _effect(step.id, step.compensation.operation, is_certain=False)
    for step_id in filter(after.goes_back, after.steps_requiring_compensation):
        action = after.definition.compensation_of(step_id)
        assert action is not None
        yield _effect(step_id, action.operation)


def _staying(after: WorkflowInstance) -> Iterator[Document]:
    """Effects that nothing undoes: of steps without an undo, or all of a workflow that is left as it is."""
    if after.reset_to is not None:
        return
    if after.status not in (WorkflowStatus.COMPENSATING, WorkflowStatus.CANCELLED):
        return
    for step in after.definition.steps:
        execution = after.steps[step.id]
        if step.kind is StepKind.READ_ONLY or not execution.may_be_done:
            continue
        if after.status is WorkflowStatus.CANCELLED or step.compensation is None:
            yield _effect(step.id, step.operation, is_certain=execution.is_done)


def _effect(step_id: str, operation: str, *, is_certain: bool = True) -> Document:
    return {"stepId": step_id, "operation": operation, "onlyIfPerformed": not is_certain}
