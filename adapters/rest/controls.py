"""Commands on a workflow, answered with their outcome."""

from __future__ import annotations

from conveyor import types
from conveyor.wire import (
    CancelData,
    CompletionData,
    ExecuteStepData,
    PatchData,
    ReasonData,
    RepairData,
    ResetData,
    SignalData,
)
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from adapters.rest.api import Api
from adapters.rest.bodies import accepted, json_response, read_command
from adapters.rest.conditions import Conditions, TheConditions, etag_of
from adapters.rest.dependencies import StepId, TheApi, TheCaller, WorkflowId, location_of
from adapters.rest.schemas import PreviewRequest
from application.access import Caller


async def pause_workflow(
    id: WorkflowId, request: Request, api: TheApi, caller: TheCaller, how: TheConditions
) -> Response:
    """Start no further steps until the workflow is resumed."""
    return await _carry_out(api, caller, request, types.PAUSE, id, how, ReasonData)


async def resume_workflow(
    id: WorkflowId, request: Request, api: TheApi, caller: TheCaller, how: TheConditions
) -> Response:
    """Continue a paused workflow."""
    return await _carry_out(api, caller, request, types.RESUME, id, how, ReasonData)


async def cancel_workflow(
    id: WorkflowId, request: Request, api: TheApi, caller: TheCaller, how: TheConditions
) -> Response:
    """Cancel a workflow that has not ended. Its steps are undone if the definition says so."""
    return await _carry_out(api, caller, request, types.CANCEL, id, how, CancelData)


async def retry_workflow(
    id: WorkflowId, request: Request, api: TheApi, caller: TheCaller, how: TheConditions
) -> Response:
    """Run a failed workflow again, from the step that failed."""
    return await _carry_out(api, caller, request, types.RETRY, id, how, ReasonData)


async def compensate_workflow(
    id: WorkflowId, request: Request, api: TheApi, caller: TheCaller, how: TheConditions
) -> Response:
    """Undo the steps of a completed or failed workflow."""
    return await _carry_out(api, caller, request, types.COMPENSATE, id, how, ReasonData)


async def force_compensate_workflow(
    id: WorkflowId, request: Request, api: TheApi, caller: TheCaller, how: TheConditions
) -> Response:
    """Undo what can be undone, and declare the rest undone."""
    return await _carry_out(api, caller, request, types.FORCE_COMPENSATE, id, how, ReasonData)


async def signal_workflow(
    id: WorkflowId, request: Request, api: TheApi, caller: TheCaller, how: TheConditions
) -> Response:
    """Send the workflow a value that its steps can read under `signals`."""
    return await _carry_out(api, caller, request, types.SIGNAL, id, how, SignalData)


async def execute_step(
    id: WorkflowId, request: Request, api: TheApi, caller: TheCaller, how: TheConditions
) -> Response:
    """Dispatch a pending step now, or record its outcome in place of the participant."""
    return await _carry_out(api, caller, request, types.EXECUTE_STEP, id, how, ExecuteStepData)


async def retry_step_now(
    id: WorkflowId,
    step: StepId,
    request: Request,
    api: TheApi,
    caller: TheCaller,
    how: TheConditions,
) -> Response:
    """Do not wait any longer: the step's next attempt, that of its undo, or the next question about its outcome."""
    return await _carry_out(
        api, caller, request, types.RETRY_STEP_NOW, id, how, RepairData, stepId=step
    )


async def skip_step(
    id: WorkflowId,
    step: StepId,
    request: Request,
    api: TheApi,
    caller: TheCaller,
    how: TheConditions,
) -> Response:
    """Leave out a step that was not performed, unless something later reads its output."""
    return await _carry_out(api, caller, request, types.SKIP_STEP, id, how, RepairData, stepId=step)


async def complete_step(
    id: WorkflowId,
    step: StepId,
    request: Request,
    api: TheApi,
    caller: TheCaller,
    how: TheConditions,
) -> Response:
    """Record a step that was performed by hand, with its output."""
    return await _carry_out(
        api, caller, request, types.COMPLETE_STEP, id, how, CompletionData, stepId=step
    )


async def patch_workflow(
    id: WorkflowId, request: Request, api: TheApi, caller: TheCaller, how: TheConditions
) -> Response:
    """Change fields of the input or of the metadata (`context`), for what is not done yet; null removes a field."""
    return await _carry_out(api, caller, request, types.PATCH, id, how, PatchData)


async def reset_workflow(
    id: WorkflowId, request: Request, api: TheApi, caller: TheCaller, how: TheConditions
) -> Response:
    """Undo a step of a paused or failed workflow and everything that depends on it, then go on from there."""
    return await _carry_out(api, caller, request, types.RESET, id, how, ResetData)


async def preview_command(
    id: WorkflowId, request: Request, api: TheApi, caller: TheCaller
) -> Response:
    """What a command would do now, without doing it: give its name as `command`, and its data."""
    data = await read_command(request, PreviewRequest)
    command = data.pop("command")
    return json_response(await api.preview(caller, id, command, data))


async def _carry_out(
    api: Api,
    caller: Caller,
    request: Request,
    command_type: str,
    workflow_id: str,
    how: Conditions,
    model: type[BaseModel],
    **more: str,
) -> Response:
    """200 with the resource, or 202 when the outcome is not known in time. `more` is data that the path gives."""
    data = await read_command(request, model) | more
    done = await api.control(
        caller,
        command_type,
        workflow_id,
        data,
        idempotency_key=how.idempotency_key,
        expected_version=how.expected_version,
    )
    resource = done.resource
    if resource is None or not done.is_decided:
        status = resource["status"] if resource is not None else None
        location = location_of(request, "workflows", workflow_id)
        return accepted(workflow_id, done.command_id, status, location)
    return json_response(resource, headers=etag_of(resource))
