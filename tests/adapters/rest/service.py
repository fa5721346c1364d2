"""The REST application over an embedded store, with as much of the rest running as a test asks for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from conveyor import topics
from conveyor.runner import ParticipantRunner
from fastapi import FastAPI

from adapters.rest.app import Api, create_app
from adapters.sqlite.participant import (
    ParticipantSession,
    SqliteKeyStore,
    SqliteParticipantTransport,
)
from adapters.sqlite.store import SqliteStore
from application.gateway import CommandGateway
from infrastructure.initialise import initialise_embedded
from infrastructure.roles import Site
from infrastructure.running import EngineRunner, run_gateway
from infrastructure.settings import Settings
from infrastructure.warehouse import build_warehouse
from infrastructure.wiring import embedded
from tests.waiting import eventually

WORKFLOWS = "/api/v1/workflows"
DEFINITIONS = "/api/v1/definitions"
Json = dict[str, Any]


def order(number: int = 1, **simulate: Any) -> Json:
    """The input of an order fulfilment."""
    input: Json = {"orderId": f"ORD-{number}", "lines": [{"sku": "LAMP-01", "quantity": 2}]}
    return {**input, "simulate": simulate} if simulate else input


def start_of(number: int = 1, **simulate: Any) -> Json:
    """The body of a start."""
    return {"definition": "order-fulfillment", "input": order(number, **simulate)}


@dataclass(kw_only=True)
class Service:
    api: Api
    app: FastAPI
    client: httpx.AsyncClient
    engine: EngineRunner
    gateway: CommandGateway
    store: SqliteStore

    async def start(self, body: Json, *, wait: float = 0, **headers: str) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.client.post(
            WORKFLOWS, json=body, params={"wait": wait} if wait else {}, headers=named
        )

    async def get(self, workflow_id: str) -> Json:
        response = await self.client.get(f"{WORKFLOWS}/{workflow_id}")
        assert response.status_code == 200, response.text
        return response.json()

    async def until(self, workflow_id: str, status: str) -> Json:
        """The workflow once it has this status."""

        async def has_status() -> Json | None:
            resource = await self.get(workflow_id)
            return resource if resource["status"] == status else None

        return await eventually(has_status)


@asynccontextmanager
async def serving(
    path: Path, *, with_engine: bool = True, with_warehouse: bool = True
) -> AsyncIterator[Service]:
    stop = asyncio.Event()
    settings = Settings()
    async with embedded(path, settings) as mode, asyncio.TaskGroup() as group:
        await initialise_embedded(mode.backbone, mode.store)
        await mode.store.topic(topics.EVENTS)
        site = Site.on(mode.backbone, settings)
        api = site.api(with_engine=True)
        group.create_task(run_gateway(site.gateway, stop))
        group.create_task(site.workers.run(stop))
        runner = _warehouse(mode.participants)
        if with_engine:
            group.create_task(site.engine.run(stop))
        if with_warehouse:
            group.create_task(runner.run())
        app = create_app(api)
        async with client_of(app) as client:
            if with_engine:
                await eventually(lambda: _ready(client))
            yield Service(
                api=api,
                app=app,
                client=client,
                engine=site.engine,
                gateway=site.gateway,
                store=mode.store,
            )
        stop.set()
        runner.stop()


def client_of(app: Any) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=90)


async def _ready(client: httpx.AsyncClient) -> Json | None:
    response = await client.get("/health/ready")
    return response.json() if response.status_code == 200 else None


def _warehouse(session: ParticipantSession) -> ParticipantRunner:
    transport = SqliteParticipantTransport(session)
    return ParticipantRunner(build_warehouse(), transport, SqliteKeyStore(session))
