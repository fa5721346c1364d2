"""Health and metrics: for orchestrators, load balancers, Prometheus and people."""

from __future__ import annotations

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import Response

from adapters.rest.bodies import json_response
from adapters.rest.dependencies import TheApi
from adapters.rest.problems import Problem

#: The document of CONTRACT 6 under the name of each source.
HEALTH_PATHS = (
    "/health/workflow",
    "/actuator/health/workflow",
    "/api/v1/orchestration/health",
)
_LINKS = {
    "documentation": "/docs",
    "openapi": "/openapi.json",
    "workflows": "/api/v1/workflows",
    "definitions": "/api/v1/definitions",
    "health": "/health/workflow",
    "metrics": "/metrics",
}


async def index(request: Request, api: TheApi) -> Response:
    """Where to go from here."""
    root = request.scope.get("root_path", "")
    links = {name: root + path for name, path in _LINKS.items()}
    return json_response({"name": "Conveyor", "version": api.monitor.version, "links": links})


async def live() -> Response:
    """The process serves requests."""
    return json_response({"status": "UP"})


async def ready(api: TheApi) -> Response:
    """The stores answer and, with the engine's role, its partitions are settled; else 503."""
    if not await api.monitor.is_ready():
        detail = "a store does not answer, or the engine's partitions are not settled yet"
        raise Problem(503, "UNAVAILABLE", detail, headers={"Retry-After": "1"})
    return json_response({"status": "UP"})


async def health(api: TheApi) -> Response:
    """Every component and service; 503 only when DOWN."""
    document = await api.monitor.document()
    return json_response(document, 503 if document["status"] == "DOWN" else 200)


async def metrics(api: TheApi) -> Response:
    """Prometheus' text format."""
    return Response(api.monitor.metrics(), media_type=CONTENT_TYPE_LATEST)
