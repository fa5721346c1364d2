"""The REST API as an application of its own, or to be mounted in another."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import Depends, FastAPI
from fastapi_offline import FastAPIOffline
from starlette.middleware.cors import CORSMiddleware

from adapters.rest.api import Api
from adapters.rest.correlation import HEADER, CorrelationIds
from adapters.rest.dependencies import permitted, visible
from adapters.rest.hosts import HostCheck
from adapters.rest.openapi import answers_of, body_of, document_schemas
from adapters.rest.problems import answer_with_problems
from adapters.rest.routes import ROUTES, Route

__all__ = ["Api", "create_app"]


def create_app(api: Api, routes: Sequence[Route] = ROUTES) -> FastAPI:
    """The application. It keeps nothing between requests, so a process may have several."""
    # `/docs` shows the API without the internet.
    app = FastAPIOffline(
        title="Conveyor",
        summary="Durable workflows of long-running business processes",
        version=api.monitor.version,
        redirect_slashes=False,
        redoc_url=None,
    )
    app.state.api = api
    app.add_middleware(HostCheck, hosts=api.hosts)
    if api.hosts.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=api.hosts.origins,
            allow_methods=["*"],
            allow_headers=["*"],
            expose_headers=[HEADER, "Location"],
        )
    app.add_middleware(CorrelationIds)
    answer_with_problems(app)
    for route in routes:
        _add(app, route)
    document_schemas(app)
    return app


def _add(app: FastAPI, route: Route) -> None:
    dependencies = [] if route.action is None else [Depends(permitted(route.action))]
    if route.names_workflow:
        dependencies.append(Depends(visible))
    app.add_api_route(
        route.path,
        route.handler,
        methods=[route.method],
        status_code=next(iter(route.answers)),
        dependencies=dependencies,
        responses=answers_of(route),
        openapi_extra=body_of(route),
        tags=[route.tag],
    )
