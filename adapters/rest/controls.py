"""Commands on a workflow, answered with their outcome."""

from __future__ import annotations

from conveyor import types
from conveyor.wire import CancelData, ExecuteStepData, ReasonData, SignalData
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from adapters.rest.api import Api
from adapters.rest.bodies import accepted, json_response, read_command
from adapters.rest.dependencies import TheApi, TheCaller, WorkflowId, location_of
from adapters.rest.parameters import CommandKey
from application.access import Caller


async def pause_workflow(
    id: WorkflowId, request: Request, api: TheApi, caller: TheCaller, key: CommandKey = None
) -> Response:
    """Start no further steps until the workflow is resumed."""
    return await _carry_out(api, caller, request, types.PAUSE, id, ReasonData, key)


async def resume_workflow(
    id: WorkflowId, request: Request, api: TheApi, caller: TheCaller, key: CommandKey = None
) -> Response:
    """Continue a paused workflow."""
    return await _carry_out(api, caller, request, types.RESUME, id, ReasonData, key)


async def cancel_workflow(
    id: WorkflowId, request: Request, api: TheApi, caller: TheCaller, key: CommandKey = None
) -> Response:
    """Cancel a workflow that has not ended. Its steps are undone if the definition says so."""
    return await _carry_out(api, caller, request, types.CANCEL, id, CancelData, key)


async def retry_workflow(
    id: WorkflowId, request: Request, api: TheApi, caller: TheCaller, key: CommandKey = None
) -> Response:
    """Run a failed workflow again, from the step that failed."""
    return await _carry_out(api, caller, request, types.RETRY, id, ReasonData, key)


async def compensate_workflow(
    id: WorkflowId, request: Request, api: TheApi, caller: TheCaller, key: CommandKey = None
) -> Response:
    """Undo the steps of a completed or failed workflow."""
    return await _carry_out(api, caller, request, types.COMPENSATE, id, ReasonData, key)


async def force_compensate_workflow(
    id: WorkflowId, request: Request, api: TheApi, caller: TheCaller, key: CommandKey = None
) -> Response:
    """Undo what can be undone, and declare the rest undone."""
    return await _carry_out(api, caller, request, types.FORCE_COMPENSATE, id, ReasonData, key)


async def signal_workflow(
    id: WorkflowId, request: Request, api: TheApi, caller: TheCaller, key: CommandKey = None
) -> Response:
    """Send the workflow a value that its steps can read under `signals`."""
    return await _carry_out(api, caller, request, types.SIGNAL, id, SignalData, key)


async def execute_step(
    id: WorkflowId, request: Request, api: TheApi, caller: TheCaller, key: CommandKey = None
) -> Response:
    """Dispatch a pending step now, or record its outcome in place of the participant."""
    return await _carry_out(api, caller, request, types.EXECUTE_STEP, id, ExecuteStepData, key)


async def _carry_out(
    api: Api,
    caller: Caller,
    request: Request,
    command_type: str,
    workflow_id: str,
    model: type[BaseModel],
    key: str | None,
) -> Response:
    """200 with the resource, or 202 when the outcome is not known in time."""
    data = await read_command(request, model)
    done = await api.control(caller, command_type, workflow_id, data, idempotency_key=key)
    resource = done.resource
    if resource is None or not done.is_decided:
        status = resource["status"] if resource is not None else None
        location = location_of(request, "workflows", workflow_id)
        return accepted(workflow_id, done.command_id, status, location)
    return json_response(resource)
