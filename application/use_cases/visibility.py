"""What a caller sees of the workflows: those of its tenant that carry its labels, if it is restricted to some."""

from __future__ import annotations

from dataclasses import replace

from application.access import Caller
from application.ports import Document, WorkflowFilter
from application.queries import WorkflowReader
from application.use_cases.refusal import no_workflow, require_id


def is_visible(caller: Caller, workflow: Document) -> bool:
    """Whether the caller sees this resource."""
    return caller.sees(workflow["tenant"], workflow["labels"])


async def require_visible(reader: WorkflowReader, caller: Caller, workflow_id: str) -> None:
    """Raises Refused (WORKFLOW_NOT_FOUND), as for a workflow that does not exist, and Unavailable."""
    if not caller.is_restricted:
        return
    require_id(workflow_id)
    workflow = await reader.get(workflow_id)
    if workflow is None or not is_visible(caller, workflow):
        raise no_workflow(workflow_id)


def visible_only(wanted: WorkflowFilter, caller: Caller) -> WorkflowFilter:
    """The filter, narrowed to what the caller sees."""
    return replace(wanted, tenant=caller.tenant, labels=(*wanted.labels, *caller.labels))
