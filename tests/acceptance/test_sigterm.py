"""SIGTERM ends processes. Waiting requests are answered first, and a clock that was set back delays nothing."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from deploy.local_services.process import free_port
from tests.acceptance.programs import CONVEYOR, Program, is_ready, running, until
from tests.acceptance.sites import initialised, order

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

ROOT = Path(__file__).parents[2]
#: `conveyor` with a wall clock that is an hour behind as soon as the file `set-back` is there.
WITH_A_CLOCK = """
from datetime import timedelta
from pathlib import Path
from infrastructure import cli, clock

now = clock.SystemClock.now
set_back = lambda: timedelta(hours=1) if Path("set-back").exists() else timedelta()
clock.SystemClock.now = lambda self: now(self) - set_back()
cli.main()
"""
IMPORTABLE = {"PYTHONPATH": f"{ROOT}:{ROOT / 'sdk'}"}
#: The program to run -> the process and its URL. Nobody performs steps: workflows stay where they are.
Served = Callable[..., AbstractContextManager[tuple[Program, str]]]


@contextmanager
def _serving(
    folder: Path, settings: Mapping[str, str], program: tuple[str, ...], *arguments: str
) -> Generator[tuple[Program, str]]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with running(
        "server",
        *arguments,
        *("--port", str(port)),
        folder=folder,
        settings=settings,
        program=program,
    ) as process:
        until("it is ready", lambda: is_ready(url), 60, [process])
        yield process, url


@pytest.fixture
def embedded(tmp_path: Path) -> Served:
    def serve(program: tuple[str, ...]) -> AbstractContextManager[tuple[Program, str]]:
        arguments = ("dev", "--no-warehouse")
        return _serving(tmp_path, IMPORTABLE, program, *arguments)

    return serve


@pytest.fixture
def kafka(
    kafka_bootstrap: str, mongo_uri: str, redis_url: str, tmp_path: Path
) -> Generator[Served]:
    with initialised(kafka_bootstrap, mongo_uri, redis_url, tmp_path) as site:

        def serve(program: tuple[str, ...]) -> AbstractContextManager[tuple[Program, str]]:
            arguments = ("serve", "--roles", "engine,api")
            return _serving(tmp_path, {**site.settings, **IMPORTABLE}, program, *arguments)

        yield serve


@pytest.fixture(
    params=[
        "embedded",
        pytest.param("kafka", marks=[pytest.mark.kafka, pytest.mark.mongo, pytest.mark.redis]),
    ]
)
def served(request: pytest.FixtureRequest) -> Served:
    return request.getfixturevalue(request.param)


def start(url: str, workflow_id: str, **params: Any) -> httpx.Response:
    body = {"id": workflow_id, "definition": "order-fulfillment", "input": order(workflow_id)}
    return httpx.post(f"{url}/api/v1/workflows", json=body, params=params, timeout=90)


def listed(url: str) -> list[str]:
    """Those whose projections are written."""
    page = httpx.get(f"{url}/api/v1/workflows", timeout=30).json()
    return [item["id"] for item in page["items"]]


def test_whoever_waits_gets_the_workflow(served: Served) -> None:
    """At once, as it is: the order was accepted, and the next process goes on with it."""
    with served((CONVEYOR,)) as (server, url), ThreadPoolExecutor() as threads:
        waiting = threads.submit(start, url, "waits", wait=40)
        until("the workflow has started", lambda: "waits" in listed(url), 30, [server])
        asked_at = time.monotonic()

        assert server.stop() == 0
        response = waiting.result(30)

    assert time.monotonic() - asked_at < 10
    assert response.status_code == 201
    assert response.headers["content-type"] == "application/json"
    assert (response.json()["id"], response.json()["status"]) == ("waits", "EXECUTING")


def test_a_clock_that_is_set_back_holds_nothing_up(served: Served, tmp_path: Path) -> None:
    """Neither projections nor the end of the process."""
    with served((sys.executable, "-c", WITH_A_CLOCK)) as (server, url):
        start(url, "before")
        until("its projection is written", lambda: "before" in listed(url), 10, [server])

        (tmp_path / "set-back").touch()
        start(url, "after")

        until("projections go on", lambda: "after" in listed(url), 10, [server])
        asked_at = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - asked_at < 10
