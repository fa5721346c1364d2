"""When a process stops, every request that waits for a workflow is answered at once."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import httpx

from infrastructure.running import run_gateway, run_http
from tests.adapters.rest.service import WORKFLOWS, serving, start_of
from tests.waiting import eventually


async def test_waiting_requests_are_answered_at_the_stop(tmp_path: Path) -> None:
    """With the resource as it is, long before the wait is over."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    async with (
        serving(tmp_path / "stop.db", with_warehouse=False) as service,
        asyncio.TaskGroup() as group,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as client,
    ):
        group.create_task(run_gateway(service.gateway, stop))
        group.create_task(run_http(service.app, "127.0.0.1", port, stop))

        async def is_served() -> dict[str, object] | None:
            try:
                return (await client.get("/health/live")).json()
            except httpx.TransportError:
                return None

        await eventually(is_served)
        started = group.create_task(
            client.post(WORKFLOWS, json={"id": "wf-1", **start_of()}, params={"wait": 40})
        )

        async def is_begun() -> dict[str, object] | None:
            found = await service.client.get(f"{WORKFLOWS}/wf-1")
            return found.json() if found.status_code == 200 else None

        await eventually(is_begun)
        asked_at = loop.time()
        stop.set()
        response = await started

    assert loop.time() - asked_at < 5
    assert response.status_code == 201
    assert response.json()["status"] == "EXECUTING"
