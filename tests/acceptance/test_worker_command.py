"""`conveyor-worker` and `conveyor dev --worker`, as a developer runs his own code."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from deploy.local_services.process import free_port
from tests.acceptance.killing import Point, expect_one_effect_each, write_project
from tests.acceptance.programs import Program, is_ready, run, running, until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

WORKER = str(Path(sys.executable).with_name("conveyor-worker"))

APP = """
import json, time
from pathlib import Path
from conveyor import Participant, Worker
from conveyor.errors import TerminalError
from conveyor.handlers import StepContext

hotel = Participant("hotel")

def note(what: str, key: str) -> None:
    journal = Path("journal")
    done = journal.read_text().splitlines() if journal.exists() else []
    if f"{what} {key}" not in done:
        with journal.open("a") as file:
            file.write(f"{what} {key}\\n")

@hotel.step("hotel-service", "book")
def book(data: dict, context: StepContext) -> dict:
    Path(f"begun-{context.workflow_id}").touch()
    time.sleep(data.get("seconds") or 0)
    note("book", context.idempotency_key)
    return {"room": 7}

@book.compensation("cancel")
def cancel(context: StepContext) -> None:
    note("cancel", context.idempotency_key)

@hotel.step("money-service", "charge")
def charge(data: dict) -> None:
    if data.get("poor"):
        raise TerminalError("POOR", "no money")

@charge.compensation("refund")
def refund() -> None: ...

worker = Worker(hotel)
"""

DEFINITION = """
name: booking
version: 1
type: BOOKING
steps:
  - id: book
    service: hotel-service
    operation: book
    timeoutMs: 60000
    input: {seconds: input.seconds}
    compensation: {operation: cancel}
  - id: charge
    service: money-service
    operation: charge
    input: {poor: input.poor}
    compensation: {operation: refund}
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder of a user's own, with code and a definition."""
    (tmp_path / "app.py").write_text(APP)
    (tmp_path / "definitions").mkdir()
    (tmp_path / "definitions" / "booking.yaml").write_text(DEFINITION)
    return tmp_path


@contextmanager
def dev(project: Path, *options: str, port: int | None = None) -> Generator[tuple[Program, str]]:
    port = port or free_port()
    url = f"http://127.0.0.1:{port}"
    arguments = ["--port", str(port), "--no-warehouse"]
    arguments += ["--definitions", "definitions", *options]
    with running("dev", "dev", *arguments, folder=project) as program:
        until("dev is ready", lambda: is_ready(url), 60, [program])
        yield program, url


def start(url: str, workflow_id: str, **input: Any) -> None:
    body = {"id": workflow_id, "definition": "booking", "input": input}
    httpx.post(f"{url}/api/v1/workflows", json=body, timeout=30).raise_for_status()


def ends(url: str, workflow_id: str, status: str) -> bool:
    found = httpx.get(f"{url}/api/v1/workflows/{workflow_id}", timeout=30).json()
    return bool(found["status"] == status)


def listed(url: str) -> set[str]:
    items = httpx.get(f"{url}/api/v1/workflows", timeout=30).json()["items"]
    return {each["id"] for each in items}


def journal(project: Path) -> Counter[str]:
    file = project / "journal"
    return Counter(file.read_text().splitlines() if file.exists() else ())


def test_one_terminal(project: Path) -> None:
    """`dev` runs the worker and registers its definitions, also one that changes."""
    with dev(project, "--worker", "app:worker") as (program, url):
        start(url, "rich")
        start(url, "poor", poor=True)
        until("the end", lambda: ends(url, "rich", "COMPLETED"), 60, [program])
        until("the way back", lambda: ends(url, "poor", "COMPENSATED"), 60, [program])

        file = project / "definitions" / "booking.yaml"
        file.write_text(DEFINITION.replace("version: 1", "version: 2"))
        until("both are listed", lambda: {"rich", "poor"} <= listed(url), 30, [program])
        # Without a warehouse nobody orders anything.
        assert listed(url) == {"rich", "poor"}
        second = f"{url}/api/v1/definitions/booking/2"
        until("version 2", lambda: httpx.get(second).is_success, 30, [program])
        assert program.stop() == 0

    done = journal(project)
    assert done == Counter(["book rich/book/1", "book poor/book/1", "cancel poor/book/1/undo"])
    assert "Traceback" not in program.log


def test_everything_is_killed(project: Path) -> None:
    """A worker, then `dev` with its worker, in the middle of a step: the same end, one effect."""
    port = free_port()
    with dev(project, port=port) as (program, url):
        arguments = ["app:worker", "--url", url]
        with running("worker", *arguments, folder=project, program=[WORKER]) as first:
            start(url, "wf-1", seconds=3)
            until("begun", (project / "begun-wf-1").exists, 30, [program, first])
            first.kill()
        with running("worker", *arguments, folder=project, program=[WORKER]) as second:
            until("the end", lambda: ends(url, "wf-1", "COMPLETED"), 90, [program, second])
            start(url, "wf-2", seconds=3)
            until("begun", (project / "begun-wf-2").exists, 30, [program, second])
            program.kill()
            with dev(project, port=port) as (again, _):
                until("the end", lambda: ends(url, "wf-2", "COMPLETED"), 90, [again, second])
                assert again.stop() == 0
            assert second.stop() == 0

    assert journal(project) == Counter(["book wf-1/book/1", "book wf-2/book/1"])


def test_a_change_of_code(project: Path) -> None:
    """`--reload`: what runs is finished, a fault is reported, and then the new code runs."""
    app = project / "app.py"
    with dev(project, "--worker", "app:worker", "--reload") as (program, url):
        start(url, "old", seconds=2)
        until("begun", (project / "begun-old").exists, 60, [program])
        app.write_text(APP.replace('note("book"', 'note("late"'))
        until("a new start", lambda: "app.py changed" in program.log, 30, [program])
        until("the end", lambda: ends(url, "old", "COMPLETED"), 60, [program])

        app.write_text(APP + "\nraise RuntimeError('half a thought')\n")
        fault = "app cannot be imported: RuntimeError: half a thought"
        until("its sentence", lambda: fault in program.log, 30, [program])

        app.write_text(APP.replace('note("book"', 'note("hold"'))
        start(url, "new")
        until("the new end", lambda: ends(url, "new", "COMPLETED"), 60, [program])
        assert program.stop() == 0

    assert journal(project) == Counter(["book old/book/1", "hold new/book/1"])
    assert "Traceback" not in program.log
    assert program.log.count(fault) == 1


def test_metrics_of_a_worker(project: Path) -> None:
    """Prometheus reads them at the port that is given."""
    metrics = free_port()
    with dev(project) as (program, url):
        arguments = ["app:worker", "--url", url, "--metrics-port", str(metrics)]
        with running("worker", *arguments, folder=project, program=[WORKER]) as worker:
            start(url, "poor", poor=True)
            until("the way back", lambda: ends(url, "poor", "COMPENSATED"), 60, [program, worker])
            text = httpx.get(f"http://127.0.0.1:{metrics}/metrics", timeout=30).text
            assert worker.stop() == 0

    count = "conveyor_worker_handler_seconds_count"
    for service, operation, outcome in (
        ("hotel-service", "book", "performed"),
        ("hotel-service", "cancel", "performed"),
        ("money-service", "charge", "failed"),
    ):
        labels = f'operation="{operation}",outcome="{outcome}",service="{service}"'
        assert f"{count}{{{labels}}} 1.0" in text
    assert "poor" not in text


def test_a_reloading_worker_ends_with_its_parent(project: Path) -> None:
    """A `dev` that is killed leaves neither of its two processes behind."""
    with dev(project, "--worker", "app:worker", "--reload") as (program, url):
        start(url, "wf-1")
        until("the end", lambda: ends(url, "wf-1", "COMPLETED"), 60, [program])
        assert len(working_in(project)) == 3
        program.kill()
        until("no worker", lambda: not working_in(project), 30)


def working_in(folder: Path) -> list[int]:
    """The processes of this folder that name the worker: `dev`, the one that watches, and the worker."""
    found: list[int] = []
    for each in Path("/proc").glob("[0-9]*"):
        try:
            command = (each / "cmdline").read_bytes()
            if (each / "cwd").readlink() == folder and b"app:worker" in command:
                found.append(int(each.name))
        except OSError:
            continue
    return found


def test_the_worker_of_dev_is_killed(tmp_path: Path) -> None:
    """`dev` starts another one, and takes it along when it is killed itself."""
    write_project(tmp_path)
    point = Point("charge", "after")
    with dev(tmp_path, "--worker", "app:worker") as (program, url):
        body = {"id": point.name, "definition": "order", "input": point.input("worker.pid")}
        httpx.post(f"{url}/api/v1/workflows", json=body, timeout=30).raise_for_status()
        until("the end", lambda: ends(url, point.name, "COMPLETED"), 90, [program])
        worker = int((tmp_path / "worker.pid").read_text())
        program.kill()
        until("no orphan", lambda: not Path(f"/proc/{worker}").exists(), 30)

    expect_one_effect_each(tmp_path, [point])


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--reload"], "name it with --worker"),
        (["--worker", "nowhere:worker"], "there is no module nowhere"),
        (["--worker", "app:absent"], "app has no absent"),
        (["--definitions", "nowhere"], "there is no such folder"),
    ],
)
def test_wrong_starts_of_dev(project: Path, options: list[str], sentence: str) -> None:
    """`dev` ends with the sentence."""
    done = run("dev", "--port", str(free_port()), *options, folder=project)

    assert done.returncode == 2
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_a_bad_definition_ends_dev(project: Path) -> None:
    """With the file and what is wrong in it."""
    (project / "definitions" / "bad.yaml").write_text("name: bad\nversion: 0\n")
    done = run("dev", "--port", str(free_port()), "--definitions", "definitions", folder=project)

    assert done.returncode == 2
    assert "bad.yaml" in done.stderr
    assert "type: is required" in done.stderr


def test_a_link_to_nowhere_ends_dev(project: Path) -> None:
    """It would be a definition that is silently missing."""
    (project / "definitions" / "lost.yaml").symlink_to(project / "nowhere.yaml")
    done = run("dev", "--port", str(free_port()), "--definitions", "definitions", folder=project)

    assert done.returncode == 2
    assert "lost.yaml: No such file" in done.stderr


def test_a_worker_before_its_service(project: Path) -> None:
    """It says what it waits for, and that it serves only when it does."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    ready = f"conveyor-worker serves hotel-service, money-service of {url}"
    with running("worker", "app:worker", "--url", url, folder=project, program=[WORKER]) as worker:
        waits = f"conveyor-worker waits for {url}"
        until("its sentence", lambda: waits in worker.log, 30, [worker])
        assert ready not in worker.log
        with dev(project, port=port) as (program, _):
            until("ready", lambda: ready in worker.log, 30, [worker, program])
            start(url, "wf-1")
            until("the end", lambda: ends(url, "wf-1", "COMPLETED"), 60, [worker, program])
            assert worker.stop() == 0

    assert worker.log.count("Cannot take requests") < 10
    assert worker.log.count(ready) == 1
    assert "Traceback" not in worker.log


def test_a_handler_that_never_returns(project: Path) -> None:
    """It holds up a stop for the grace time only, and another worker performs its step."""
    limits = "worker = Worker(hotel, grace_seconds=0.5)"
    (project / "app.py").write_text(APP.replace("worker = Worker(hotel)", limits))
    with dev(project) as (program, url):
        arguments = ["app:worker", "--url", url]
        with running("worker", *arguments, folder=project, program=[WORKER]) as worker:
            start(url, "wf-1", seconds=100_000)
            until("begun", (project / "begun-wf-1").exists, 30, [program, worker])
            assert worker.stop() == 0
        assert "Handlers still run after the grace time" in worker.log

        (project / "app.py").write_text(APP.replace("time.sleep", "abs"))
        with running("worker", *arguments, folder=project, program=[WORKER]) as worker:
            until("the end", lambda: ends(url, "wf-1", "COMPLETED"), 90, [program, worker])
            assert worker.stop() == 0

    assert journal(project) == Counter(["book wf-1/book/1"])
