"""The table of roles: what each does in a process, and that the process ends as a whole."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from application.ports import SetupError
from infrastructure.cli import app
from infrastructure.initialise import initialise_embedded
from infrastructure.roles import API, ENGINE, ROLES, Addresses, Role, Site, run_roles, serve_http
from infrastructure.serve import run_serve
from infrastructure.settings import Settings
from infrastructure.trimming import Trimming
from infrastructure.wiring import embedded
from tests.infrastructure.commands import free_port
from tests.waiting import eventually


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    settings = Settings()
    async with embedded(tmp_path / "conveyor.db", settings) as mode:
        await initialise_embedded(mode.backbone, mode.store)
        yield Site.on(mode.backbone, settings)


def ports(health: int | None = None) -> Addresses:
    return Addresses(host="127.0.0.1", http=free_port(), health=health)


def test_the_command_line_names_every_role() -> None:
    """The table is the one list, and the API's role is the one with a port."""
    shown = CliRunner().invoke(app, ["serve", "--help"], env={"COLUMNS": "200"}).output
    assert f"Any of {', '.join(ROLES)}" in shown
    assert serve_http([API])
    assert not serve_http([ENGINE])


@pytest.mark.parametrize("roles", [[], ["engine", "robot"]])
async def test_an_unknown_role_is_refused_with_the_known_ones(roles: list[str]) -> None:
    """Before anything is reached."""
    with pytest.raises(SetupError, match="this version has engine, api"):
        await run_serve(Settings(), roles)


async def test_the_end_of_one_part_is_the_end_of_all(site: Site) -> None:
    """A process without one of its roles would look healthy and do nothing."""
    stop = asyncio.Event()
    ended = asyncio.Event()

    async def end(_: Site, __: asyncio.Event) -> None:
        await ended.wait()

    roles = [*ROLES.values(), Role(name="short", run=end)]
    running = asyncio.create_task(run_roles(site, roles, ports(), stop))
    ended.set()

    await asyncio.wait_for(running, 10)

    assert stop.is_set()


async def test_the_health_port_serves_health_only(site: Site) -> None:
    """A process without the API waits for no workflow, so it takes no commands."""
    stop = asyncio.Event()
    served = ports(health=free_port())
    running = asyncio.create_task(run_roles(site, [ENGINE], served, stop))

    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{served.health}") as client:
        await eventually(lambda: is_ready(client, running))
        health = await client.get("/health/workflow")
        metrics = await client.get("/metrics")
        start = await client.post("/api/v1/workflows", json={"definition": "order-fulfillment"})
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{served.http}") as client:
        with pytest.raises(httpx.ConnectError):
            await client.get("/health/live")

    assert (health.json()["status"], metrics.status_code, start.status_code) == ("UP", 200, 404)
    stop.set()
    await running


@pytest.mark.parametrize("roles", [[API], [ENGINE], [ENGINE, API]])
async def test_a_process_has_the_metrics_of_its_roles(site: Site, roles: list[Role]) -> None:
    """What the stores hold is of each role; what an engine does is of the engine."""
    stop = asyncio.Event()
    served = ports(health=free_port())
    running = asyncio.create_task(run_roles(site, roles, served, stop))

    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{served.health}") as client:
        shown = await eventually(lambda: metrics(client, running))

    assert ("workflow_executions" in shown) == (ENGINE in roles)
    stop.set()
    await running


async def metrics(client: httpx.AsyncClient, running: asyncio.Task[None]) -> str | None:
    """What is served, once the store has been counted."""
    assert not running.done()
    try:
        text = (await client.get("/metrics")).text
    except httpx.ConnectError:
        return None
    return text if "conveyor_incidents_open 0.0" in text else None


async def is_ready(client: httpx.AsyncClient, running: asyncio.Task[None]) -> bool:
    assert not running.done()
    try:
        return (await client.get("/health/ready")).is_success
    except httpx.ConnectError:
        return False


async def test_the_engine_trims_as_its_run_mode_does(site: Site) -> None:
    """The mode says what a round is and how often."""
    rounds = 0
    stop = asyncio.Event()

    async def trim() -> None:
        nonlocal rounds
        rounds += 1
        if rounds == 2:
            stop.set()

    trimming = Trimming(trim=trim, interval_seconds=0.01)
    site = replace(site, backbone=replace(site.backbone, trimming=trimming))

    await asyncio.wait_for(run_roles(site, [ENGINE], ports(), stop), 10)

    assert rounds == 2


async def test_the_embedded_mode_trims_at_the_interval_of_its_setting(tmp_path: Path) -> None:
    """`CONVEYOR_SCHEDULER__OUTBOX_CLEANUP_INTERVAL_MS`."""
    settings = Settings.model_validate({"scheduler": {"outbox_cleanup_interval_ms": 1500}})
    async with embedded(tmp_path / "conveyor.db", settings) as mode:
        assert mode.backbone.trimming is not None
        assert mode.backbone.trimming.interval_seconds == 1.5
