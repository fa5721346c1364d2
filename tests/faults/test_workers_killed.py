"""kill -9 of a worker, and of `conveyor dev` with its worker, at every point of a saga and of its way back."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import httpx
import pytest

from deploy.local_services.process import free_port
from tests.acceptance.killing import (
    POINTS,
    Point,
    effects,
    expect_one_effect_each,
    write_project,
)
from tests.acceptance.programs import Program, is_ready, run, running, until
from tests.acceptance.sites import initialised
from tests.faults.tally import Fault, Tally

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]


def test_a_worker_is_killed_at_every_point(tmp_path: Path, tally: Tally) -> None:
    """What it had is given to the next one when its lease ends."""
    write_project(tmp_path)
    port = free_port()
    with ExitStack() as stack:
        dev = stack.enter_context(_dev(tmp_path, port))

        def start() -> Program:
            command = [sys.executable, "app.py"]
            return stack.enter_context(
                running("worker", _url(port), folder=tmp_path, program=command)
            )

        _run(port, "worker.pid", POINTS, start, dev)
        assert dev.stop() == 0
    _expect_one_effect_each(tmp_path, tally, "worker")


def test_dev_is_killed_at_every_point(tmp_path: Path, tally: Tally) -> None:
    """Its worker ends with it; the next one goes on where it was."""
    write_project(tmp_path)
    port = free_port()
    with ExitStack() as stack:

        def start() -> Program:
            dev = stack.enter_context(_dev(tmp_path, port, "--worker", "app:worker"))
            (tmp_path / "dev.pid").write_text(str(dev.process.pid))
            return dev

        last = _run(port, "dev.pid", POINTS, start)
        assert last.stop() == 0
    _expect_one_effect_each(tmp_path, tally, "dev")


@pytest.mark.kafka
@pytest.mark.mongo
@pytest.mark.redis
@pytest.mark.parametrize("victim", ["engine", "workers"])
def test_a_process_of_the_service_is_killed_at_every_step(
    victim: str,
    kafka_bootstrap: str,
    mongo_uri: str,
    redis_url: str,
    tmp_path: Path,
    tally: Tally,
) -> None:
    """On Kafka: the engine, or the process that lends requests to the worker."""
    write_project(tmp_path)
    port = free_port()
    roles = {"engine": ("engine", free_port()), "workers": ("api,workers", port)}
    points = tuple(each for each in POINTS if each.moment == "after")
    with ExitStack() as stack:
        site = stack.enter_context(initialised(kafka_bootstrap, mongo_uri, redis_url, tmp_path))

        def start(name: str) -> Program:
            played, own_port = roles[name]
            options = ("serve", "--roles", played, "--port", str(own_port))
            program = stack.enter_context(
                running(name, *options, folder=tmp_path, settings=site.settings)
            )
            (tmp_path / f"{name}.pid").write_text(str(program.process.pid))
            return program

        [other] = [start(name) for name in roles if name != victim]
        first = start(victim)
        until("it is ready", lambda: is_ready(_url(port)), 60, [first, other])
        applied = run("definitions", "apply", "definitions", "--url", _url(port), folder=tmp_path)
        assert applied.returncode == 0, applied.stderr
        command = [sys.executable, "app.py"]
        worker = stack.enter_context(
            running("worker", _url(port), folder=tmp_path, program=command)
        )
        last = _run(
            port, f"{victim}.pid", points, lambda: start(victim), other, worker, first=first
        )
        assert last.stop() == 0
    _expect_one_effect_each(tmp_path, tally, victim, points)


def _expect_one_effect_each(
    folder: Path, tally: Tally, killed: str, points: Sequence[Point] = POINTS
) -> None:
    tally.add(Fault.KILL, killed, len(points))
    tally.ends.update(point.end for point in points)
    tally.effects += len(effects(folder))
    expect_one_effect_each(folder, points)


def _dev(folder: Path, port: int, *more: str) -> AbstractContextManager[Program]:
    arguments = ["--port", str(port), "--orders-per-second", "0", "--no-warehouse"]
    return running("dev", "dev", *arguments, "--definitions", "definitions", *more, folder=folder)


def _url(port: int) -> str:
    return f"http://127.0.0.1:{port}"


def _run(
    port: int,
    victim: str,
    points: Sequence[Point],
    start: Callable[[], Program],
    *others: Program,
    first: Program | None = None,
) -> Program:
    """Run one workflow after another, each of which kills the program once. Returns the one that is there."""
    program = first or start()
    until("it is ready", lambda: is_ready(_url(port)), 60, [program, *others])
    for point in points:
        body = {"id": point.name, "definition": "order", "input": point.input(victim)}
        key = {"Idempotency-Key": point.name}
        response = httpx.post(f"{_url(port)}/api/v1/workflows", json=body, headers=key, timeout=30)
        response.raise_for_status()

        def look(point: Point = point) -> bool:
            nonlocal program
            if program.process.poll() is not None:
                program = start()
            return _status(port, point.name) == point.end

        until(f"the end of {point.name}", look, 120, others)
    return program


def _status(port: int, workflow_id: str) -> str | None:
    try:
        response = httpx.get(f"{_url(port)}/api/v1/workflows/{workflow_id}", timeout=30)
    except httpx.TransportError:
        return None
    return response.json().get("status") if response.is_success else None
