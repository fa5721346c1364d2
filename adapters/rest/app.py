"""The REST API as an application of its own, or to be mounted in another."""

from __future__ import annotations

from fastapi import FastAPI

from adapters.rest.api import Api
from adapters.rest.correlation import CorrelationIds
from adapters.rest.definitions import definition_router
from adapters.rest.health import health_router
from adapters.rest.openapi import document_schemas
from adapters.rest.problems import answer_with_problems
from adapters.rest.workflows import workflow_router

__all__ = ["Api", "create_app"]


def create_app(api: Api) -> FastAPI:
    """The application; it keeps nothing between requests, so several may stand side by side."""
    app = FastAPI(
        title="Conveyor",
        summary="Durable workflows of long-running business processes",
        version=api.version,
        redirect_slashes=False,
    )
    app.add_middleware(CorrelationIds)
    answer_with_problems(app)
    app.include_router(workflow_router(api))
    app.include_router(definition_router(api))
    app.include_router(health_router(api))
    document_schemas(app)
    return app
