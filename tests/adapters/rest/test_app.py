"""What holds for every route: problems, correlation ids, limits, health, OpenAPI, mounting."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import replace
from pathlib import Path

import httpx
import orjson
import pytest
import uvicorn
from conveyor import topics
from conveyor.messages import Message, Record
from fastapi import FastAPI

from adapters.rest import bodies
from adapters.rest.app import create_app
from adapters.rest.bodies import BODY_BYTES_MAX
from adapters.rest.schemas import ProblemDocument, SystemHealthResponse
from application.gateway import CommandGateway
from application.ports import Document, Unavailable
from application.queries import WorkflowReader
from application.use_cases.control import ControlWorkflow
from application.use_cases.start import StartWorkflow
from domain.aggregate.kind import HistoryError
from tests.adapters.rest.service import (
    DEFINITIONS,
    WORKFLOWS,
    Json,
    Service,
    client_of,
    start_of,
)
from tests.waiting import eventually

HEALTH = ["/health/workflow", "/actuator/health/workflow", "/api/v1/orchestration/health"]
GOLDEN = Path(__file__).parents[2] / "golden" / "openapi.json"


class AwayPublisher:
    """A broker that does not answer."""

    async def publish(self, messages: Sequence[Message | Record]) -> None:
        raise Unavailable("kafka", "connection refused")


class NoFeed:
    """Nothing happens."""

    async def follow(self) -> AsyncIterator[Message]:
        for nothing in ():
            yield nothing


class Monitored:
    """A process that reports what the test says."""

    version = "1"

    def __init__(self, health: Document) -> None:
        self._health = health

    async def document(self) -> Document:
        return self._health

    async def is_ready(self) -> bool:
        return True

    async def warnings(self, services: Collection[str]) -> Sequence[str]:
        return ()

    def metrics(self) -> bytes:
        return b""


# -- problems ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing", 404, "NOT_FOUND"),
        ("GET", "/api/v1/workflows/", 404, "NOT_FOUND"),
        ("GET", "/api/v1/workflows/wf-1/nothing", 404, "NOT_FOUND"),
        ("GET", "/api/v1/workflows/wf-1", 404, "WORKFLOW_NOT_FOUND"),
        ("DELETE", "/api/v1/workflows", 405, "METHOD_NOT_ALLOWED"),
        ("POST", "/api/v1/workflows/wf-1/cancel", 405, "METHOD_NOT_ALLOWED"),
        ("POST", "/api/v1/workflows", 400, "NOT_JSON"),
        ("GET", "/api/v1/workflows?limit=0", 422, "INVALID_INPUT"),
    ],
)
async def test_problem(undecided: Service, method: str, path: str, status: int, code: str) -> None:
    """Every refusal is a problem document with the request's correlation id."""
    response = await undecided.client.request(method, path, headers={"X-Correlation-ID": "c-1"})

    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["X-Correlation-ID"] == "c-1"
    problem = response.json()
    ProblemDocument.model_validate(problem)
    assert (problem["status"], problem["code"]) == (status, code)
    assert problem["correlationId"] == "c-1"
    assert problem["type"] == f"urn:conveyor:problem:{code.lower().replace('_', '-')}"
    assert problem["instance"] == path.partition("?")[0]


async def test_method_not_allowed_tells_the_allowed(undecided: Service) -> None:
    """405 names the methods that are possible."""
    one = await undecided.client.get(f"{WORKFLOWS}/wf-1/cancel")
    several = await undecided.client.put(WORKFLOWS)

    assert one.headers["allow"] == "PUT"
    assert several.headers["allow"] == "GET, POST"
    assert several.json()["detail"].endswith("use GET, POST")


async def test_index(undecided: Service) -> None:
    """The root leads to everything else, and each link is answered."""
    links = (await undecided.client.get("/")).json()["links"]

    for link in links.values():
        assert (await undecided.client.get(link)).status_code in (200, 503), link


async def test_documentation_without_the_internet(undecided: Service) -> None:
    """The page loads nothing from elsewhere, and what it loads is there."""
    page = (await undecided.client.get("/docs")).text

    loaded = re.findall(r"""(?:src|href)="([^"]+)\"""", page)
    assert loaded
    for link in loaded:
        assert link.startswith("/")
        assert (await undecided.client.get(link)).status_code == 200
    assert "https://" not in page


async def test_unavailable(undecided: Service) -> None:
    """When the broker is away, 503 says so and when to come again."""
    backbone = undecided.engine._backbone
    gateway = CommandGateway(AwayPublisher(), NoFeed(), backbone.clock)
    api = replace(
        undecided.api,
        start=StartWorkflow(gateway, undecided.api.reader, backbone.registry),
        control=ControlWorkflow(gateway, undecided.api.reader),
        preview=undecided.api.preview,
    )
    async with client_of(create_app(api)) as client:
        start = await client.post(WORKFLOWS, json=start_of())
        cancel = await client.put(f"{WORKFLOWS}/wf-1/cancel")

    for response in (start, cancel):
        assert response.status_code == 503
        assert response.json()["code"] == "UNAVAILABLE"
        assert response.json()["detail"] == "kafka: connection refused"
        assert int(response.headers["retry-after"]) >= 1


async def test_what_a_newer_version_wrote(undecided: Service) -> None:
    """503 with the sentence that says what to do: another process may be able to read it."""

    class Newer(WorkflowReader):
        async def get(self, workflow_id: str) -> Document | None:
            raise HistoryError("a newer Conveyor wrote it; upgrade this one")

    backbone = undecided.engine._backbone
    reader = Newer(
        backbone.event_log,
        backbone.projections,
        backbone.queries,
        backbone.registry.get,
        backbone.clock,
    )
    async with client_of(create_app(replace(undecided.api, reader=reader))) as client:
        response = await client.get(f"{WORKFLOWS}/wf-1")

    assert response.status_code == 503
    assert response.json()["detail"] == "a newer Conveyor wrote it; upgrade this one"


async def test_own_error(undecided: Service) -> None:
    """A bug is a 500 problem that tells the correlation id and nothing of the inside."""

    class Broken(Monitored):
        async def document(self) -> Document:
            raise RuntimeError("secret")

    async with client_of(create_app(replace(undecided.api, monitor=Broken({})))) as client:
        response = await client.get("/health/workflow", headers={"X-Correlation-ID": "c-1"})

    assert response.status_code == 500
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["X-Correlation-ID"] == "c-1"
    assert response.json()["code"] == "INTERNAL"
    assert "secret" not in response.text


# -- bodies --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", WORKFLOWS), ("PUT", f"{WORKFLOWS}/wf-1/cancel"), ("POST", DEFINITIONS)],
)
async def test_too_large(undecided: Service, method: str, path: str) -> None:
    """A body of more than 1 MiB is a 413."""
    response = await undecided.client.request(method, path, content=b" " * (BODY_BYTES_MAX + 1))

    assert response.status_code == 413
    assert response.json()["code"] == "TOO_LARGE"


async def test_too_large_in_chunks(undecided: Service) -> None:
    """So is one that does not tell its size beforehand."""

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b" " * 64 * 1024

    response = await undecided.client.post(WORKFLOWS, content=chunks())

    assert response.status_code == 413


async def test_a_body_that_stops(undecided: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sender is told so, and neither the connection nor a stop of the process waits for the rest."""
    monkeypatch.setattr(bodies, "BODY_WAIT_SECONDS", 0.05)
    gone = asyncio.Event()

    async def half() -> AsyncIterator[bytes]:
        yield b'{"definition":'
        await gone.wait()

    response = await undecided.client.post(
        WORKFLOWS, content=half(), headers={"Content-Type": "application/json"}
    )

    assert response.status_code == 408
    assert response.headers["Connection"] == "close"
    assert response.json()["code"] == "REQUEST_TIMEOUT"
    assert "send the request again" in response.json()["detail"]


async def test_largest_body(undecided: Service) -> None:
    """A body of 1 MiB is read."""
    response = await undecided.client.put(
        f"{WORKFLOWS}/wf-1/cancel", content=b" " * (BODY_BYTES_MAX - 1) + b"["
    )

    assert response.json()["code"] == "NOT_JSON"


# -- correlation ---------------------------------------------------------------------------------


@pytest.mark.parametrize("given", ["", " ", "x" * 256, "\u00e4"])
async def test_correlation_id_of_its_own(undecided: Service, given: str) -> None:
    """Without a usable correlation id each answer gets a new one."""
    headers = {b"X-Correlation-ID": given.encode("latin-1")}

    first = await undecided.client.get("/health/live", headers=headers)
    second = await undecided.client.get("/health/live", headers=headers)

    ids = {first.headers["X-Correlation-ID"], second.headers["X-Correlation-ID"]}
    assert len(ids) == 2
    assert given not in ids


# -- health --------------------------------------------------------------------------------------


async def test_live_before_ready(undecided: Service) -> None:
    """A process without its engine lives, and is not ready."""
    live = await undecided.client.get("/health/live")
    ready = await undecided.client.get("/health/ready")

    assert (live.status_code, live.json()) == (200, {"status": "UP"})
    assert ready.status_code == 503
    assert ready.json()["code"] == "UNAVAILABLE"


@pytest.mark.parametrize("path", HEALTH)
async def test_health(service: Service, path: str) -> None:
    """Each name of the health document tells every component."""
    response = await service.client.get(path)

    assert response.status_code == 200
    document = response.json()
    SystemHealthResponse.model_validate(document)
    assert document["status"] == "UP"
    assert document["components"]["eventStore"]["status"] == "UP"
    assert document["components"]["engine"]["lag"] == 0


async def test_health_of_services(unattended: Service) -> None:
    """Those that definitions name; nobody has read the requests of one whose participant never came."""
    service = {"service": "hotell", "operation": "book", "compensation": {"operation": "undo"}}
    definition = {"name": "trip", "version": 1, "type": "TRIP", "steps": [{"id": "a", **service}]}
    assert (await unattended.client.post(DEFINITIONS, json=definition)).status_code == 201

    services = (await unattended.client.get(HEALTH[0])).json()["services"]

    assert set(services) > {"hotell", "inventory-service", "packing-service"}
    assert services["hotell"]["status"] == "UNREAD"
    assert "correct its name" in services["hotell"]["detail"]


async def services_of(service: Service, name: str, status: str) -> Json:
    """The services in health, once this one has the status: the participants start concurrently."""

    async def shown() -> Json | None:
        services = (await service.client.get(HEALTH[0])).json()["services"]
        return services if services[name]["status"] == status else None

    return await eventually(shown)


async def test_health_of_services_that_are_served(service: Service) -> None:
    """A participant is there, or has been; asked for or not."""
    services = await services_of(service, "packing-service", "HEALTHY")

    assert {each["status"] for each in services.values()} == {"HEALTHY"}
    assert {each["circuitBreaker"] for each in services.values()} == {None}


async def test_a_service_whose_topic_is_held_is_degraded(service: Service) -> None:
    """With what to do about it; the others are not concerned."""
    assert service.engine.processor is not None
    held = service.engine.processor.health.held_topics
    held[topics.step_requests("inventory-service")] = "takes no messages"

    services = await services_of(service, "packing-service", "HEALTHY")

    assert services["inventory-service"]["status"] == "DEGRADED"
    assert services["inventory-service"]["detail"] == "takes no messages"


@pytest.mark.parametrize("path", HEALTH)
@pytest.mark.parametrize(("status", "expected"), [("UP", 200), ("DEGRADED", 200), ("DOWN", 503)])
async def test_health_status(undecided: Service, path: str, status: str, expected: int) -> None:
    """Only DOWN is a 503; the document is the same."""
    document: Json = {"status": status, "version": "1", "components": {}, "services": {}}

    api = replace(undecided.api, monitor=Monitored(document))
    async with client_of(create_app(api)) as client:
        response = await client.get(path)

    assert (response.status_code, response.json()) == (expected, document)


async def test_metrics(service: Service) -> None:
    """The metrics count workflows by definition and type."""
    await service.start(start_of(), wait=20)

    response = await service.client.get("/metrics")

    assert response.headers["content-type"].startswith("text/plain; version=")
    labels = '{definition="order-fulfillment",type="ORDER_FULFILLMENT"}'
    assert f"workflow_executions_completed_total{labels} 1.0" in response.text


# -- the application -----------------------------------------------------------------------------


async def test_openapi(undecided: Service) -> None:
    """The OpenAPI document is the one that was agreed upon."""
    response = await undecided.client.get("/openapi.json")

    agreed = orjson.loads(GOLDEN.read_bytes())
    assert response.json() == agreed, (
        "the API changed; if it was meant to: python tests/golden/update_openapi.py"
    )


async def test_openapi_refers_to_what_it_has(undecided: Service) -> None:
    """Every schema that the document refers to is in it."""
    text = (await undecided.client.get("/openapi.json")).text

    document = orjson.loads(text)
    referred = {part.partition('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert referred <= set(document["components"]["schemas"])
    assert (await undecided.client.get("/docs")).status_code == 200


async def test_mounted(service: Service) -> None:
    """Within another application everything works, and places tell where it is mounted."""
    outer = FastAPI()
    outer.mount("/conveyor", service.app)

    async with client_of(outer) as client:
        started = await client.post(f"/conveyor{WORKFLOWS}", json={"id": "wf-1", **start_of()})
        again = await client.get(started.headers["location"])
        unknown = await client.get("/conveyor/api/v1/workflows/wf-2")

    assert started.headers["location"] == "/conveyor/api/v1/workflows/wf-1"
    assert again.json()["id"] == "wf-1"
    assert unknown.json()["code"] == "WORKFLOW_NOT_FOUND"


async def test_over_http(service: Service) -> None:
    """Over a real socket the sender of a body that is too large gets to read why it is refused."""
    config = uvicorn.Config(service.app, host="127.0.0.1", port=0, lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    config.load()
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    try:
        port = server.servers[0].sockets[0].getsockname()[1]
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            large = await client.post(WORKFLOWS, content=b"x" * (4 * BODY_BYTES_MAX))
            started = await client.post(WORKFLOWS, json=start_of(), params={"wait": 20})
    finally:
        await server.shutdown()

    assert large.status_code == 413
    assert started.json()["status"] == "COMPLETED"
