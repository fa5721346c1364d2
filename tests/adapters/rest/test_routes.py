"""The table of routes: who may use them, and that nothing is offered which cannot be sent."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from starlette.datastructures import Headers

from adapters.rest.app import create_app
from adapters.rest.routes import ROUTES, Route
from application.access import PERMISSIONS, Action, Caller, Role
from tests.adapters.rest.service import Service, client_of

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
