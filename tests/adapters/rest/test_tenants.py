"""Callers that are restricted to a tenant or to labels: what they do not see is not there for them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx
import pytest

from adapters.rest.app import create_app
from adapters.rest.routes import ROUTES
from application.access import Caller, Role
from tests.adapters.rest.service import DEFINITIONS, WORKFLOWS, Service, client_of, start_of
from tests.waiting import eventually

OF_ACME: dict[str, Any] = {"tenant": "acme"}
OF_DHL: dict[str, Any] = {"labels": (("carrier", "DHL"),)}


@asynccontextmanager
async def seen_by(
    service: Service, role: Role = Role.ADMIN, **scope: Any
) -> AsyncIterator[httpx.AsyncClient]:
    """The service for a caller with this scope."""
    caller = Caller(actor="anna", roles=frozenset({role}), **scope)
    api = replace(service.api, identify=lambda _headers: caller)
    async with client_of(create_app(api)) as client:
        yield client


async def started(service: Service, workflow_id: str, **fields: Any) -> None:
    response = await service.start({**start_of(1), "id": workflow_id, **fields})
    assert response.status_code == 201, response.text


async def listed(client: httpx.AsyncClient, **parameters: str) -> list[str]:
    response = await client.get(WORKFLOWS, params=parameters)
    assert response.status_code == 200, response.text
    return sorted(item["id"] for item in response.json()["items"])


def code_of(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["code"]


@pytest.fixture
async def stocked(unattended: Service) -> Service:
    """Workflows of two tenants and of two carriers, all of which the lists show."""
    await started(unattended, "acme-1", tenant="acme", labels={"carrier": "DHL"})
    await started(unattended, "acme-2", tenant="acme", labels={"carrier": "UPS"})
    await started(unattended, "other-1", tenant="other", labels={"carrier": "DHL", "site": "n"})
    await started(unattended, "plain")

    async def all_are_listed() -> bool:
        return len(await listed(unattended.client)) == 4

    await eventually(all_are_listed)
    return unattended


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        ({}, ["acme-1", "acme-2", "other-1", "plain"]),
        (OF_ACME, ["acme-1", "acme-2"]),
        ({"tenant": "default"}, ["plain"]),
        ({"tenant": "nobody"}, []),
        (OF_DHL, ["acme-1", "other-1"]),
        ({**OF_ACME, **OF_DHL}, ["acme-1"]),
        ({"labels": (("carrier", "DHL"), ("site", "n"))}, ["other-1"]),
    ],
    ids=str,
)
async def test_lists(stocked: Service, scope: dict[str, Any], expected: list[str]) -> None:
    """A list has what the caller sees, page by page; a filter narrows it and never widens it."""
    async with seen_by(stocked, **scope) as client:
        assert await listed(client) == expected
        assert await listed(client, label="carrier:UPS") == [
            each for each in expected if each == "acme-2"
        ]

        paged: list[str] = []
        cursor: dict[str, str] = {}
        while True:
            page = (await client.get(WORKFLOWS, params={"limit": "1", **cursor})).json()
            paged += [item["id"] for item in page["items"]]
            if page["nextCursor"] is None:
                break
            cursor = {"cursor": page["nextCursor"]}
    assert sorted(paged) == expected


@pytest.mark.parametrize("scope", [{"tenant": "other"}, {"labels": (("carrier", "GLS"),)}], ids=str)
@pytest.mark.parametrize("workflow_id", ["acme-1", "nobody", "-x"])
async def test_what_is_not_seen_is_not_there(
    stocked: Service, scope: dict[str, Any], workflow_id: str
) -> None:
    """Every route responds as for an id that nothing has, and nothing happens to the workflow."""
    before = await stocked.get("acme-1")
    routes = [route for route in ROUTES if "{id}" in route.path]
    assert len(routes) > 10
    async with seen_by(stocked, **scope) as client:
        for route in routes:
            path = route.path.format(id=workflow_id, step="reserve-inventory")
            response = await client.request(
                route.method, path, json={"reason": "curious", "command": "cancel"}
            )
            assert code_of(response) == (404, "WORKFLOW_NOT_FOUND"), route.path
            detail = f"there is no workflow '{workflow_id}'"
            assert response.json()["detail"] == detail, route.path

    assert await stocked.get("acme-1") == before


async def test_ones_own(stocked: Service) -> None:
    """What the caller sees it reads and controls as ever."""
    async with seen_by(stocked, Role.OPERATOR, **OF_ACME, **OF_DHL) as client:
        assert (await client.get(f"{WORKFLOWS}/acme-1")).json()["id"] == "acme-1"
        history = (await client.get(f"{WORKFLOWS}/acme-1/history")).json()
        assert history["items"][0]["data"]["tenant"] == "acme"
        paused = await client.put(f"{WORKFLOWS}/acme-1/pause", json={})
        assert (paused.status_code, paused.json()["status"]) == (200, "PAUSED")


@pytest.mark.parametrize(
    "fields", [{}, {"tenant": "acme"}, {"labels": {"carrier": "DHL", "x": "y"}}]
)
async def test_a_start_is_of_ones_own(unattended: Service, fields: dict[str, Any]) -> None:
    """Without a tenant and labels it gets the caller's, so the caller sees it."""
    async with seen_by(unattended, Role.OPERATOR, **OF_ACME, **OF_DHL) as client:
        response = await client.post(WORKFLOWS, json={**start_of(1), **fields})
        assert response.status_code == 201, response.text
        workflow = response.json()
        assert (await client.get(f"{WORKFLOWS}/{workflow['id']}")).status_code == 200

    assert workflow["tenant"] == "acme"
    assert workflow["labels"] == {**fields.get("labels", {}), "carrier": "DHL"}


@pytest.mark.parametrize(
    ("fields", "expected", "path"),
    [
        ({"tenant": "other"}, (422, "TENANT_UNKNOWN"), "tenant"),
        ({"tenant": "default"}, (422, "TENANT_UNKNOWN"), "tenant"),
        ({"tenant": ""}, (422, "TENANT_UNKNOWN"), "tenant"),
        ({"tenant": 7}, (422, "INVALID_INPUT"), "tenant"),
        ({"labels": {"carrier": "UPS"}}, (403, "FORBIDDEN"), "labels.carrier"),
        ({"labels": "carrier"}, (422, "INVALID_INPUT"), "labels"),
    ],
    ids=str,
)
async def test_a_start_elsewhere(
    undecided: Service, fields: dict[str, Any], expected: tuple[int, str], path: str
) -> None:
    """It is refused before anything is sent."""
    async with seen_by(undecided, Role.OPERATOR, **OF_ACME, **OF_DHL) as client:
        response = await client.post(WORKFLOWS, json={**start_of(1), **fields})

    assert code_of(response) == expected
    assert [each["path"] for each in response.json()["errors"]] == [path]


async def test_ids_and_keys_of_another_tenant(stocked: Service) -> None:
    """An id that is taken shows nothing of what took it; keys of two tenants are two."""
    async with seen_by(stocked, Role.OPERATOR, tenant="other") as client:
        taken = await client.post(WORKFLOWS, json={**start_of(1), "id": "acme-1"})
        assert code_of(taken) == (409, "WORKFLOW_EXISTS")
        assert "workflowStatus" not in taken.json()

        key = {"Idempotency-Key": "order-1"}
        mine = await client.post(WORKFLOWS, json=start_of(1), headers=key)
        again = await client.post(WORKFLOWS, json=start_of(1), headers=key)
    async with seen_by(stocked, Role.OPERATOR, **OF_ACME) as client:
        theirs = await client.post(WORKFLOWS, json=start_of(1), headers=key)

    assert (mine.status_code, again.status_code, theirs.status_code) == (201, 200, 201)
    assert mine.json()["id"] == again.json()["id"] != theirs.json()["id"]


@pytest.mark.parametrize("scope", [OF_ACME, OF_DHL], ids=str)
async def test_what_concerns_all(undecided: Service, scope: dict[str, Any]) -> None:
    """Definitions and the requests of services are shared: they need a caller without a scope."""
    async with seen_by(undecided, **scope) as client:
        registered = await client.post(DEFINITIONS, json={})
        taken = await client.post("/api/v1/participants/inventory-service/take", json={})
        assert (await client.get(DEFINITIONS)).status_code == 200
        rights = (await client.get("/api/v1/me")).json()["rights"]

    assert code_of(registered) == code_of(taken) == (403, "FORBIDDEN")
    assert "one tenant or with labels" in registered.json()["detail"]
    assert rights == ["identify", "read", "start", "control", "force"]


async def test_me(undecided: Service) -> None:
    """A caller learns its scope."""
    async with seen_by(undecided, **OF_ACME, **OF_DHL) as client:
        me = (await client.get("/api/v1/me")).json()

    assert (me["tenants"], me["labels"]) == (["acme"], {"carrier": "DHL"})
