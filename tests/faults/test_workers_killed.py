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
from tests.acceptance.programs import Program, is_ready, running, until
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


def _expect_one_effect_each(folder: Path, tally: Tally, killed: str) -> None:
    tally.add(Fault.KILL, killed, len(POINTS))
    tally.ends.update(point.end for point in POINTS)
    tally.effects += len(effects(folder))
    expect_one_effect_each(folder, POINTS)


def _dev(folder: Path, port: int, *more: str) -> AbstractContextManager[Program]:
    arguments = ["--port", str(port), "--orders-per-second", "0", "--no-warehouse"]
    return running("dev", "dev", *arguments, "--definitions", "definitions", *more, folder=folder)


def _url(port: int) -> str:
    return f"http://127.0.0.1:{port}"


def _run(
    port: int, victim: str, points: Sequence[Point], start: Callable[[], Program], *others: Program
) -> Program:
    """Run one workflow after another, each of which kills the program once. Returns the one that is there."""
    program = start()
    until("it is ready", lambda: is_ready(_url(port)), 60, [program, *others])
    for point in points:
        body = {"id": point.name, "definition": "order", "input": point.input(victim)}
        response = httpx.post(f"{_url(port)}/api/v1/workflows", json=body, timeout=30)
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
