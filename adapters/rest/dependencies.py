"""The dependencies of handlers: the use cases and the caller."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends, Header, Path
from starlette.requests import Request

from adapters.rest.api import Api
from adapters.rest.correlation import HEADER, given_correlation_id
from adapters.rest.problems import Problem
from application.access import Action, Caller
from application.use_cases.visibility import require_visible
from domain.values import changed

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


# They are coroutines, since FastAPI runs plain functions in threads, which costs more than they do.


async def _api(request: Request) -> Api:
    return request.app.state.api


CorrelationId = Annotated[
    str | None,
    Header(
        alias=HEADER,
        description="Ties together what belongs to one case; the answer carries it too.",
        examples=["corr-001"],
    ),
]
TraceParent = Annotated[
    str | None,
    Header(
        description="W3C trace context; the workflow's events carry it on.",
        examples=["00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"],
    ),
]


async def _caller(
    request: Request,
    api: TheApi,
    _correlation_id: CorrelationId = None,
    traceparent: TraceParent = None,
) -> Caller:
    """The sender of the request, with its correlation id and trace. Raises NotAuthenticated, Problem (429)."""
    caller = api.identify(request.headers)
    api.rate.admit(caller.actor)
    return changed(
        caller,
        correlation_id=given_correlation_id(request.headers),
        traceparent=traceparent if _TRACEPARENT.fullmatch(traceparent or "") else None,
    )


TheApi = Annotated[Api, Depends(_api)]
TheCaller = Annotated[Caller, Depends(_caller)]
#: From a path.
WorkflowId = Annotated[str, Path(description="The workflow's id.", examples=["wf-1"])]
StepId = Annotated[
    str, Path(description="The step's id in the definition.", examples=["charge-payment"])
]


def permitted(action: Action) -> Callable[[Caller], Awaitable[None]]:
    """A dependency that refuses callers who may not do this. Raises Problem (403)."""

    async def require(caller: TheCaller) -> None:
        if not caller.may(action):
            roles = ", ".join(sorted(caller.roles)) or "no role"
            detail = f"'{caller.actor}' ({roles}) may not {action.value}"
            if caller.is_restricted:
                detail += (
                    "; a caller for one tenant or with labels may do nothing that concerns others"
                )
            raise Problem(403, "FORBIDDEN", detail)

    return require


async def visible(request: Request, api: TheApi, caller: TheCaller) -> None:
    """Refuses what the path names a workflow that the caller does not see. Raises Refused (404), Unavailable."""
    await require_visible(api.reader, caller, request.path_params["id"])


def location_of(request: Request, *parts: object) -> str:
    """The path of a resource of this API, wherever the application is mounted."""
    root = request.scope.get("root_path", "")
    return "/".join((f"{root}/api/v1", *(str(part) for part in parts)))
