"""Health and metrics: for orchestrators, load balancers, Prometheus and people."""

from __future__ import annotations

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import Response

from adapters.rest.api import Api
from adapters.rest.bodies import json_response
from adapters.rest.openapi import PROBLEMS, Answers, answer
from adapters.rest.problems import Problem

#: The document of CONTRACT 6 under the name of each source.
_HEALTH_PATHS = (
    "/health/workflow",
    "/actuator/health/workflow",
    "/api/v1/orchestration/health",
)


class Health:
    """The routes."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def live(self) -> Response:
        """The process serves requests."""
        return json_response({"status": "UP"})

    async def ready(self) -> Response:
        """The stores answer and, with the engine's role, its partitions are settled; else 503."""
        if not await self._api.is_ready():
            detail = "a store does not answer, or the engine's partitions are not settled yet"
            raise Problem(503, "UNAVAILABLE", detail, headers={"Retry-After": "1"})
        return json_response({"status": "UP"})

    async def health(self) -> Response:
        """Every component and service; 503 only when DOWN."""
        document = await self._api.health()
        return json_response(document, 503 if document["status"] == "DOWN" else 200)

    async def metrics(self) -> Response:
        """Prometheus' text format."""
        return Response(self._api.metrics(), media_type=CONTENT_TYPE_LATEST)


def health_router(api: Api) -> APIRouter:
    router = APIRouter(tags=["health"], responses=PROBLEMS)
    health = Health(api)
    router.add_api_route(
        "/health/live", health.live, responses={200: answer("Up", "The process serves requests")}
    )
    router.add_api_route(
        "/health/ready", health.ready, responses={200: answer("Up", "Ready for requests")}
    )
    for path in _HEALTH_PATHS:
        router.add_api_route(
            path,
            health.health,
            responses={
                200: answer("SystemHealthResponse", "UP or DEGRADED"),
                503: answer("SystemHealthResponse", "DOWN"),
            },
        )
    text: Answers = {200: {"description": "Prometheus' text format", "content": {"text/plain": {}}}}
    router.add_api_route("/metrics", health.metrics, responses=text)
    return router
