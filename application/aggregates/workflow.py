"""Workflows as messages and documents."""

from __future__ import annotations

from collections.abc import Sequence

from conveyor import types

from application.aggregates.aggregate import Aggregate, Command, DefinitionKey
from application.codec.commands import COMMANDS
from application.codec.instances import from_document, is_whole, to_document
from application.codec.replies import REPLIES, without_data
from application.codec.starts import read_start
from application.ports import Document
from domain.aggregate.event import DomainEvent
from domain.workflow.commands import HandleSealAnswer, HandleStepReply
from domain.workflow.instance import WorkflowInstance
from domain.workflow.kind import WORKFLOW as KIND
from domain.workflow.status import StepStatus


def _common(instance: WorkflowInstance, event: DomainEvent, version: int) -> Document:
    facts = instance.facts
    definition = facts.definition
    document: Document = {
        "aggregateId": instance.id,
        "workflowInstanceId": instance.id,
        "version": version,
        "tenant": facts.tenant,
        "definition": definition.name,
        "definitionVersion": definition.version,
        "workflowType": str(definition.type),
        "actor": event.actor,
    }
    if facts.correlation_id is not None:
        document["correlationId"] = facts.correlation_id
    if facts.traceparent is not None:
        document["traceparent"] = facts.traceparent
    return document


def _definition_key(document: Document) -> DefinitionKey:
    return DefinitionKey(document["definition"], document["definitionVersion"])


def _shrink(command: Command, code: str, detail: str) -> Command | None:
    """Accept a participant's answer without the data that cannot be kept, because the step was performed."""
    if isinstance(command, HandleStepReply | HandleSealAnswer):
        return without_data(command, code, detail)
    return None


def _unfinished(instance: WorkflowInstance) -> Sequence[tuple[str, str]]:
    if instance.is_active:
        return ()
    found: list[tuple[str, str]] = []
    if instance.unresolved:
        steps = ", ".join(instance.unresolved)
        found.append(("UNRESOLVED", f"{instance.status} with unresolved steps: {steps}"))
    undoing = [
        step.step_id for step in instance.steps.values() if step.status is StepStatus.COMPENSATING
    ]
    if undoing:
        steps = ", ".join(undoing)
        found.append(("UNDOING", f"{instance.status}, and the undo is not done of: {steps}"))
    return found


WORKFLOW: Aggregate[WorkflowInstance] = Aggregate(
    kind=KIND,
    collection="workflows",
    decoders={types.START: read_start, **COMMANDS, **REPLIES},
    common=_common,
    to_document=to_document,
    from_document=from_document,
    is_whole=is_whole,
    definition_key=_definition_key,
    shrink=_shrink,
    unfinished=_unfinished,
    is_hot=True,
)
