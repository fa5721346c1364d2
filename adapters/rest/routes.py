"""Every route, in one table. The application, its OpenAPI document and the test of permissions use it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from conveyor import leases, wire
from conveyor.definition import DefinitionDocument
from pydantic import BaseModel
from starlette.responses import Response

from adapters.rest import (
    controls,
    definitions,
    health,
    identity,
    participants,
    schemas,
    starts,
    workflows,
)
from application.access import Action
from application.use_cases.start import StartWorkflowRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One status with which a route responds."""

    description: str
    #: None: a text.
    model: type[BaseModel] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    method: str
    path: str
    #: None: needs no login.
    action: Action | None
    handler: Callable[..., Awaitable[Response]]
    answers: Mapping[int, Answer]
    tag: str
    body: type[BaseModel] | None = None
    is_body_required: bool = True
    media_types: tuple[str, ...] = ("application/json",)

    @property
    def names_workflow(self) -> bool:
        """Whether its path has a workflow's id, which some callers do not see."""
        return "/workflows/{id}" in self.path


_WORKFLOWS = "/api/v1/workflows"
_STEP = f"{_WORKFLOWS}/{{id}}/steps/{{step}}"
_DEFINITIONS = "/api/v1/definitions"
_PARTICIPANTS = "/api/v1/participants/{service}"

_ACCEPTED = Answer(
    description="Sent; the engine has not decided yet", model=schemas.AcceptedCommand
)
_DECIDED = {
    200: Answer(description="The workflow after the command", model=schemas.WorkflowResponse),
    202: _ACCEPTED,
}


def _answer(model: type[BaseModel], description: str) -> Mapping[int, Answer]:
    return {200: Answer(description=description, model=model)}


def _read(
    path: str,
    handler: Callable[..., Awaitable[Response]],
    answers: Mapping[int, Answer],
    tag: str = "workflows",
) -> Route:
    return Route(
        method="GET", path=path, action=Action.READ, handler=handler, answers=answers, tag=tag
    )


def _open(
    path: str, handler: Callable[..., Awaitable[Response]], answers: Mapping[int, Answer]
) -> Route:
    return Route(
        method="GET", path=path, action=None, handler=handler, answers=answers, tag="health"
    )


def _control(
    method: str,
    path: str,
    handler: Callable[..., Awaitable[Response]],
    body: type[BaseModel] = wire.ReasonData,
    **more: Any,
) -> Route:
    named: dict[str, Any] = {"action": Action.CONTROL, "is_body_required": False, **more}
    return Route(
        method=method,
        path=path,
        handler=handler,
        body=body,
        answers=_DECIDED,
        tag="workflows",
        **named,
    )


def _work(
    name: str,
    handler: Callable[..., Awaitable[Response]],
    body: type[BaseModel],
    answers: Mapping[int, Answer],
) -> Route:
    return Route(
        method="POST",
        path=f"{_PARTICIPANTS}/{name}",
        action=Action.WORK,
        handler=handler,
        body=body,
        answers=answers,
        tag="participants",
    )


ROUTES: tuple[Route, ...] = (
    Route(
        method="POST",
        path=_WORKFLOWS,
        action=Action.START,
        handler=starts.start_workflow,
        body=StartWorkflowRequest,
        answers={
            201: Answer(description="Started", model=schemas.StartedResponse),
            200: Answer(
                description="The same start was made before", model=schemas.StartedResponse
            ),
            202: _ACCEPTED,
        },
        tag="workflows",
    ),
    _read(_WORKFLOWS, workflows.list_workflows, _answer(schemas.WorkflowPage, "One page")),
    _read(
        f"{_WORKFLOWS}/{{id}}",
        workflows.get_workflow,
        _answer(schemas.WorkflowResponse, "The workflow"),
    ),
    _read(
        f"{_WORKFLOWS}/{{id}}/status",
        workflows.get_status,
        _answer(schemas.WorkflowStatusResponse, "How far it is"),
    ),
    _read(
        f"{_WORKFLOWS}/{{id}}/history",
        workflows.get_history,
        _answer(schemas.HistoryPage, "Events in order"),
    ),
    _control("PUT", f"{_WORKFLOWS}/{{id}}/pause", controls.pause_workflow),
    _control("PUT", f"{_WORKFLOWS}/{{id}}/resume", controls.resume_workflow),
    _control("PUT", f"{_WORKFLOWS}/{{id}}/cancel", controls.cancel_workflow, wire.CancelData),
    _control("PUT", f"{_WORKFLOWS}/{{id}}/retry", controls.retry_workflow),
    _control("PUT", f"{_WORKFLOWS}/{{id}}/compensate", controls.compensate_workflow),
    _control(
        "POST",
        f"{_WORKFLOWS}/{{id}}/signal",
        controls.signal_workflow,
        wire.SignalData,
        is_body_required=True,
    ),
    _control(
        "POST",
        f"{_WORKFLOWS}/{{id}}/steps/execute",
        controls.execute_step,
        wire.ExecuteStepData,
        is_body_required=True,
    ),
    *(
        _control("POST", f"{_STEP}/{name}", handler, body, is_body_required=True)
        for name, handler, body in (
            ("retry-now", controls.retry_step_now, wire.RepairData),
            ("skip", controls.skip_step, wire.RepairData),
            ("complete", controls.complete_step, wire.CompletionData),
        )
    ),
    _control(
        "POST",
        f"{_WORKFLOWS}/{{id}}/reset",
        controls.reset_workflow,
        wire.ResetData,
        is_body_required=True,
    ),
    _control(
        "PATCH",
        f"{_WORKFLOWS}/{{id}}",
        controls.patch_workflow,
        wire.PatchData,
        is_body_required=True,
    ),
    Route(
        method="POST",
        path=f"{_WORKFLOWS}/{{id}}/preview",
        action=Action.CONTROL,
        handler=controls.preview_command,
        body=schemas.PreviewRequest,
        answers=_answer(schemas.Preview, "What the command would do"),
        tag="workflows",
    ),
    _control(
        "POST",
        "/admin/workflows/{id}/force-compensate",
        controls.force_compensate_workflow,
        action=Action.FORCE,
    ),
    _read(
        _DEFINITIONS,
        definitions.list_definitions,
        _answer(schemas.DefinitionList, "Every version of every definition"),
        "definitions",
    ),
    Route(
        method="POST",
        path=_DEFINITIONS,
        action=Action.REGISTER_DEFINITION,
        handler=definitions.register_definition,
        body=DefinitionDocument,
        media_types=("application/json", "application/yaml"),
        answers={
            201: Answer(description="Registered", model=DefinitionDocument),
            200: Answer(
                description="Registered before, with the same content", model=DefinitionDocument
            ),
        },
        tag="definitions",
    ),
    _read(
        f"{_DEFINITIONS}/{{name}}/{{version}}",
        definitions.get_definition,
        _answer(DefinitionDocument, "As it was registered"),
        "definitions",
    ),
    _work(
        "take",
        participants.take_requests,
        leases.TakeData,
        _answer(schemas.TakenRequests, "The requests, and a lease for each"),
    ),
    _work(
        "answer",
        participants.answer_requests,
        leases.AnswerData,
        {
            202: Answer(description="The outcome is stored", model=schemas.AnswerResult),
            200: Answer(description="What became of each answer", model=schemas.AnswerResults),
        },
    ),
    _work(
        "extend",
        participants.extend_leases,
        leases.ExtendData,
        _answer(schemas.ExtendedLeases, "The leases that still run, and those that are lost"),
    ),
    Route(
        method="GET",
        path="/api/v1/me",
        action=Action.IDENTIFY,
        handler=identity.get_me,
        answers=_answer(schemas.Me, "The caller"),
        tag="identity",
    ),
    _open("/", health.index, _answer(schemas.Index, "Links")),
    _open("/health/live", health.live, _answer(schemas.Up, "The process serves requests")),
    _open("/health/ready", health.ready, _answer(schemas.Up, "Ready for requests")),
    *(
        _open(
            path,
            health.health,
            {
                200: Answer(description="UP or DEGRADED", model=schemas.SystemHealthResponse),
                503: Answer(description="DOWN", model=schemas.SystemHealthResponse),
            },
        )
        for path in health.HEALTH_PATHS
    ),
    _open(
        "/metrics",
        health.metrics,
        {200: Answer(description="Prometheus' text format", model=None)},
    ),
)

#: The routes of a process without the API: none of them changes a workflow or waits for one.
HEALTH_ROUTES = tuple(route for route in ROUTES if route.tag == "health" and route.path != "/")

_WORK = tuple(route for route in ROUTES if route.tag == "participants")
#: Of a process with the role `workers`, or `api`, or both.
WORKER_ROUTES = (*HEALTH_ROUTES, *_WORK)
API_ROUTES = tuple(route for route in ROUTES if route not in _WORK)
