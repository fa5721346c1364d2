"""Embedded mode: `conveyor dev` as a process on a file."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from deploy.local_services.process import free_port
from tests.acceptance.programs import Program, is_ready, run, running, until
from tests.acceptance.sites import order

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

ENDED = {"COMPLETED", "COMPENSATED"}
UNDONE = ["assign-robot", "charge-payment", "reserve-inventory"]


@contextmanager
def dev(
    folder: Path, orders_per_second: float = 0, name: str = "dev"
) -> Generator[tuple[Program, str]]:
    """`conveyor dev` on `<folder>/conveyor.db`, ready, and its URL."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    options = ["--port", str(port), "--orders-per-second", str(orders_per_second)]
    with running(name, "dev", *options, folder=folder) as program:
        until(f"{name} is ready", lambda: is_ready(url), 60, [program])
        yield program, url


def cli(folder: Path, url: str, *arguments: str) -> Any:
    """The JSON that a client command answers."""
    done = run(*arguments, "--url", url, "--output", "json", folder=folder)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_orders_complete_and_some_compensate(tmp_path: Path) -> None:
    """The made-up orders run by themselves; list, show and history tell what became of which."""
    with dev(tmp_path, orders_per_second=20) as (program, url):

        def ended(status: str) -> list[dict[str, Any]]:
            return cli(tmp_path, url, "workflow", "list", "--status", status)["items"]

        completed = until("a completed order", lambda: ended("COMPLETED"), 60, [program])
        [compensated, *_] = until(
            "a compensated order", lambda: ended("COMPENSATED"), 60, [program]
        )
        shown = cli(tmp_path, url, "workflow", "show", compensated["id"])
        history = cli(tmp_path, url, "workflow", "history", compensated["id"])["items"]
        table = run("workflow", "list", "--url", url, folder=tmp_path)
        exit_code = program.stop()

    assert {item["definition"] for item in completed} == {"order-fulfillment"}
    assert shown["status"] == "COMPENSATED"
    assert shown["compensatedSteps"] == UNDONE
    assert [step["stepId"] for step in shown["steps"] if step["error"]] == ["pick-items"]
    assert [event["version"] for event in history] == list(range(1, shown["version"] + 1))
    assert "COMPLETED" in table.stdout
    assert exit_code == 0
    assert "Traceback" not in program.log


def test_recovery_after_a_kill_in_the_middle_of_work(tmp_path: Path) -> None:
    """After kill -9 the same file goes on: every workflow ends, no step is done twice, no event is missing."""
    ids = [f"order-{number}" for number in range(200)]
    failing = set(ids[::10])
    file = tmp_path / "orders.jsonl"
    # The last ones are started last, and take so long that the kill comes in the middle of them.
    slow = set(ids[-5:])
    lines = [_line(each, each in failing, 4000 if each in slow else 200) for each in ids]
    file.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    with dev(tmp_path) as (program, url):
        cli(tmp_path, url, "workflow", "start", "order-fulfillment", "--file", str(file))
        until("some have ended", lambda: len(listed(url, ended=True)) > 10, 60, [program])
        ended_before = listed(url, ended=True)
        program.kill()

    with (
        dev(tmp_path, name="dev-again") as (program, url),
        httpx.Client(base_url=url, timeout=30) as http,
    ):
        until("all have ended", lambda: len(listed(url, ended=True)) == len(ids), 90, [program])
        statuses = listed(url, ended=True)
        histories = {each: history_of(http, each) for each in ids}
        exit_code = program.stop()

    assert slow.isdisjoint(ended_before)
    assert statuses == {each: "COMPENSATED" if each in failing else "COMPLETED" for each in ids}
    for workflow_id, events in histories.items():
        assert [event["version"] for event in events] == list(range(1, len(events) + 1))
        assert set(effects(events).values()) == {1}, workflow_id
    assert exit_code == 0


def test_stops_in_the_middle_of_work(tmp_path: Path) -> None:
    """SIGTERM ends the process at once and with 0; what was under way is done by the next one."""
    order_id = "slow-1"
    body = {
        "id": order_id,
        "definition": "order-fulfillment",
        "input": order(order_id, {"failStep": "pick-items", "times": 0, "latencyMs": 2000}),
    }
    with dev(tmp_path) as (program, url):
        started = httpx.post(f"{url}/api/v1/workflows", json=body, timeout=30)
        exit_code = program.stop()

    with dev(tmp_path, name="dev-again") as (program, url):
        until("the order ends", lambda: listed(url, ended=True), 60, [program])
        statuses = listed(url, ended=True)

    assert started.status_code == 201
    assert exit_code == 0
    assert statuses == {order_id: "COMPLETED"}


def test_one_process_per_file(tmp_path: Path) -> None:
    """A second process on the same file is refused with a sentence that says what to do."""
    with dev(tmp_path) as (program, url):
        second = run("dev", "--port", str(free_port()), folder=tmp_path)
        first_is_there = is_ready(url)
        pid = program.process.pid

    assert second.returncode == 2
    assert f"conveyor.db is in use by the Conveyor process {pid}" in second.stderr
    assert "--db FILE" in second.stderr
    assert "Traceback" not in second.stderr
    assert first_is_there


def _line(order_id: str, fails: bool, latency_ms: int) -> dict[str, Any]:
    simulate: dict[str, Any] = {"latencyMs": latency_ms}
    if fails:
        simulate["failStep"] = "pick-items"
    return {"id": order_id, "input": order(order_id, simulate)}


def listed(url: str, *, ended: bool) -> dict[str, str]:
    """Workflow id -> status."""
    parameters = {"active": not ended, "limit": 200}
    page = (
        httpx.get(f"{url}/api/v1/workflows", params=parameters, timeout=30)
        .raise_for_status()
        .json()
    )
    return {item["id"]: item["status"] for item in page["items"]}


def history_of(http: httpx.Client, workflow_id: str) -> list[dict[str, Any]]:
    answer = http.get(f"/api/v1/workflows/{workflow_id}/history").raise_for_status()
    events: list[dict[str, Any]] = answer.json()["items"]
    return events


def effects(events: list[dict[str, Any]]) -> Counter[tuple[str, str]]:
    """(event type, step) -> how often the history says that the step was done or undone."""
    done = ("WorkflowStepExecutedEvent", "WorkflowStepCompensatedEvent")
    return Counter(
        (event["eventType"], event["data"]["stepId"])
        for event in events
        if event["eventType"] in done
    )
