"""The table of routes: who may use them, and that nothing is offered which cannot be sent."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from starlette.datastructures import Headers

from adapters.identity.api_keys import ApiKeys, new_key, write
from adapters.rest.app import create_app
from adapters.rest.routes import ROUTES, Route
from application.access import PERMISSIONS, Action, Caller, Role
from tests.adapters.rest.service import Service, client_of

#: No login, something else, and keys that are none; KEY is the id of one that exists.
WITHOUT_LOGIN = (
    {},
    {"Authorization": ""},
    {"Authorization": "Bearer"},
    {"Authorization": "Bearer "},
    {"Authorization": "Basic YTpi"},
    {"Authorization": "Bearer KEY"},
    {"Authorization": "Bearer KEY."},
    {"Authorization": "Bearer KEY.wrong"},
    {"Authorization": "Bearer 000000000000.wrong"},
    {"Authorization": "Bearer a.b.c"},
    {"X-API-Key": ""},
    {"X-API-Key": "KEY.wrong"},
)

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("role", [None, *Role], ids=str)
async def test_permissions(undecided: Service, role: Role | None) -> None:
    """Each route is refused to those, and only to those, whose role is too low for its action."""
    caller = Caller(actor="anna", roles=frozenset() if role is None else frozenset({role}))

    def identify(_headers: Headers) -> Caller:
        return caller

    app = create_app(replace(undecided.api, identify=identify))
    async with client_of(app) as client:
        for route in ROUTES:
            # Ids that nothing has, so that no route waits for an engine.
            path = route.path.format(id="-x", name="x", version=1, service="x", step="x")
            answer = await client.request(route.method, path)
            refused = answer.status_code == 403
            assert refused is not _is_permitted(role, route), (role, route.method, route.path)


def _is_permitted(role: Role | None, route: Route) -> bool:
    if route.action is None:
        return True
    if role is Role.SERVICE:
        # The service `x` is not its own, so it may not even work.
        return route.action is Action.IDENTIFY
    return role is not None and list(Role).index(role) >= list(Role).index(
        PERMISSIONS[route.action]
    )


#: What anybody may see: nothing of it is about a workflow.
OPEN = {
    "/",
    "/metrics",
    "/health/live",
    "/health/ready",
    "/health/workflow",
    "/actuator/health/workflow",
    "/api/v1/orchestration/health",
}


def test_what_needs_no_login() -> None:
    """A new route is closed unless this list names it."""
    assert {route.path for route in ROUTES if route.action is None} == OPEN


def test_admin_needs_an_operator() -> None:
    """Nothing below /admin is for viewers and services."""
    for route in ROUTES:
        if route.path.startswith("/admin"):
            assert route.action is not None
            assert PERMISSIONS[route.action] in (Role.OPERATOR, Role.ADMIN), route


@pytest.mark.parametrize("headers", WITHOUT_LOGIN, ids=str)
async def test_no_route_without_a_login(
    undecided: Service, tmp_path: Path, headers: Mapping[str, str]
) -> None:
    """With a login each route but the open ones is refused, whatever else is wrong with the request."""
    file = tmp_path / "keys"
    key, secret = new_key("ada", "admin", ())
    write(file, [key])
    sent = {name: value.replace("KEY", key.id) for name, value in headers.items()}
    app = create_app(replace(undecided.api, identify=ApiKeys(file).identify))
    async with client_of(app) as client:
        for route in ROUTES:
            path = route.path.format(id="-x", name="x", version="x", service="x", step="x")
            answer = await client.request(route.method, path, headers=sent, content=b"{")
            assert (answer.status_code == 401) is (route.action is not None), route.path
            if answer.status_code == 401:
                problem = answer.json()
                assert problem["code"] == "NOT_AUTHENTICATED"
                assert answer.headers["WWW-Authenticate"] == "Bearer"
                assert answer.headers["X-Correlation-ID"] == problem["correlationId"]
        for page in ("/docs", "/openapi.json"):
            assert (await client.get(page, headers=sent)).status_code == 200
        let_in = await client.get("/api/v1/me", headers={"X-API-Key": secret})
        assert let_in.json()["actor"] == "ada"


def test_every_action_has_a_least_role() -> None:
    assert set(PERMISSIONS) == set(Action)


def test_whatever_changes_something_needs_a_role() -> None:
    """Only reading and health are open to viewers or to everybody."""
    for route in ROUTES:
        if route.method != "GET":
            assert route.action not in (None, Action.READ), route


def test_every_allowed_command_has_a_route() -> None:
    """`allowedCommands` names what the reader of the resource can send."""
    source = (ROOT / "domain" / "workflow" / "instance.py").read_text(encoding="utf-8")
    body = source.split("def allowed_commands")[1].split("def document")[0]
    named = set(re.findall(r'"([a-z-]+)"', body))

    offered = {route.path.rpartition("/")[2] for route in ROUTES}
    assert named
    assert named <= offered
