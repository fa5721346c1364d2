"""Every refusal as a problem document (RFC 9457; CONTRACT 6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
import structlog
from conveyor.json_text import cleaned
from conveyor.messages import MalformedEvent
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Match, Route

from adapters.rest.correlation import HEADER, correlation_id
from application.access import NotAuthenticated
from application.ports import Document, Unavailable
from application.use_cases.refusal import FORBIDDEN, TENANT_UNKNOWN, Refused, refused_for
from application.workers.desk import LEASE_LOST, UNKNOWN_SERVICE
from domain.aggregate.kind import HistoryError
from domain.aggregate.rejection import RejectionCode

log = structlog.get_logger("RestApi")

MEDIA_TYPE = "application/problem+json"
_RETRY_AFTER_SECONDS = 1

_TITLES: Mapping[str, str] = {
    RejectionCode.WORKFLOW_NOT_FOUND: "No such workflow",
    RejectionCode.WORKFLOW_EXISTS: "A workflow with this id exists",
    RejectionCode.UNKNOWN_DEFINITION: "No such definition",
    RejectionCode.INVALID_INPUT: "The request has faults",
    RejectionCode.ILLEGAL_STATUS: "Not possible in this status",
    RejectionCode.STALE: "The workflow has another version",
    RejectionCode.PAST_PIVOT: "Not possible past the pivot",
    RejectionCode.IDEMPOTENCY_CONFLICT: "The idempotency key was used for another request",
    RejectionCode.DEFINITION_EXISTS: "This version is registered with other content",
    RejectionCode.TOO_LARGE: "Too large",
    RejectionCode.INTERNAL: "An error of the service",
    "NOT_FOUND": "No such resource",
    "METHOD_NOT_ALLOWED": "This method is not possible here",
    "NOT_JSON": "The body is not JSON",
    "REQUEST_TIMEOUT": "The body did not come in time",
    "NOT_YAML": "The body is not YAML",
    "UNAVAILABLE": "Not possible at the moment",
    "UNSUPPORTED_MEDIA_TYPE": "A body of this type is not accepted here",
    FORBIDDEN: "Not allowed",
    TENANT_UNKNOWN: "Not your tenant",
    "NOT_AUTHENTICATED": "Who are you?",
    "RATE_LIMITED": "Too many requests",
    UNKNOWN_SERVICE: "No definition names this service",
    LEASE_LOST: "The lease has ended",
}

#: The HTTP status of a refused command; any other code is a conflict.
_STATUSES: Mapping[str, int] = {
    RejectionCode.WORKFLOW_NOT_FOUND: 404,
    RejectionCode.UNKNOWN_DEFINITION: 422,
    UNKNOWN_SERVICE: 404,
    RejectionCode.INVALID_INPUT: 422,
    RejectionCode.TOO_LARGE: 413,
    RejectionCode.INTERNAL: 500,
    TENANT_UNKNOWN: 422,
    FORBIDDEN: 403,
    RejectionCode.STALE: 412,
}
_CODES_OF_STATUSES = {404: "NOT_FOUND", 405: "METHOD_NOT_ALLOWED", 413: RejectionCode.TOO_LARGE}


class Problem(Exception):
    """A request that is refused; `errors` are `{path, message}`, `more` further members of the document."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        errors: Sequence[Mapping[str, Any]] = (),
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = str(code)
        self.detail = detail
        self.errors = errors
        self.headers = headers
        self.more = more


def problem_response(request: Request, problem: Problem) -> Response:
    """The document that refuses the request."""
    code = problem.code
    document: Document = {
        "type": f"urn:conveyor:problem:{code.lower().replace('_', '-')}",
        "title": _TITLES.get(code, code.replace("_", " ").capitalize()),
        "status": problem.status,
        "code": code,
        "detail": problem.detail,
        "instance": request.url.path,
        "correlationId": correlation_id(request),
        **problem.more,
    }
    if problem.errors:
        document["errors"] = list(problem.errors)
    # The outermost handler responds outside of the middleware that adds the id.
    headers = {HEADER: correlation_id(request), **(problem.headers or {})}
    # A refusal may quote half of a surrogate pair, which an expression can write as an escape.
    content = orjson.dumps(cleaned(document))
    return Response(content, problem.status, headers=headers, media_type=MEDIA_TYPE)


# -- exceptions as problems ----------------------------------------------------------------------


def _on_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return problem_response(request, error)


def _on_refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    more: dict[str, Any] = {}
    if error.status is not None:
        more["workflowStatus"] = error.status
        more["allowedCommands"] = error.allowed_commands
    status = _STATUSES.get(error.code, 409)
    problem = Problem(status, error.code, error.detail, errors=error.faults, **more)
    return problem_response(request, problem)


def _on_not_json(request: Request, error: Exception) -> Response:
    assert isinstance(error, MalformedEvent)
    return problem_response(request, Problem(400, error.code, f"the body: {error.detail}"))


def _on_unavailable(request: Request, error: Exception) -> Response:
    assert isinstance(error, Unavailable)
    headers = {"Retry-After": str(_RETRY_AFTER_SECONDS)}
    return problem_response(request, Problem(503, "UNAVAILABLE", str(error), headers=headers))


def _on_not_authenticated(request: Request, error: Exception) -> Response:
    assert isinstance(error, NotAuthenticated)
    headers = {"WWW-Authenticate": "Bearer"}
    problem = Problem(401, "NOT_AUTHENTICATED", str(error), headers=headers)
    return problem_response(request, problem)


def _on_unreadable(request: Request, error: Exception) -> Response:
    """Another process, of a newer version, may read it."""
    return problem_response(request, Problem(503, "UNAVAILABLE", str(error)))


def _on_invalid_parameters(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    errors = [
        {"path": ".".join(str(part) for part in fault["loc"][1:]), "message": fault["msg"]}
        for fault in error.errors()
    ]
    return _on_refused(request, refused_for(errors))


def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    status = error.status_code
    code = _CODES_OF_STATUSES.get(status, f"HTTP_{status}")
    detail = str(error.detail)
    if status == 404:
        detail = f"there is nothing at {request.url.path}; see /openapi.json"
    elif status == 405:
        allowed = ", ".join(_methods_of(request))
        detail = f"{request.method} is not possible at {request.url.path}; use {allowed}"
        return problem_response(request, Problem(status, code, detail, headers={"Allow": allowed}))
    return problem_response(request, Problem(status, code, detail, headers=error.headers))


def _methods_of(request: Request) -> list[str]:
    """Of all routes with this path; the framework names those of the first one only."""
    found: set[str] = set()
    for route in request.app.routes:
        if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE:
            found |= route.methods or set()
    return sorted(found)


def _on_disconnect(request: Request, error: Exception) -> Response:
    """The client disconnected while it sent the body, so nobody reads the response."""
    assert isinstance(error, ClientDisconnect)
    return problem_response(request, Problem(400, "NOT_JSON", "the body ended too early"))


def _on_bug(request: Request, error: Exception) -> Response:
    log.error("request failed", path=request.url.path, exc_info=error)
    detail = "the service met an error of its own; its log says more under this correlation id"
    return problem_response(request, Problem(500, RejectionCode.INTERNAL, detail))


def answer_with_problems(app: FastAPI) -> None:
    """Every error of the application becomes a problem document."""
    app.add_exception_handler(Problem, _on_problem)
    app.add_exception_handler(Refused, _on_refused)
    app.add_exception_handler(MalformedEvent, _on_not_json)
    app.add_exception_handler(ClientDisconnect, _on_disconnect)
    app.add_exception_handler(Unavailable, _on_unavailable)
    app.add_exception_handler(HistoryError, _on_unreadable)
    app.add_exception_handler(NotAuthenticated, _on_not_authenticated)
    app.add_exception_handler(RequestValidationError, _on_invalid_parameters)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(Exception, _on_bug)
