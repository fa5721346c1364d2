"""Production mode: the machine's clock is set while engine, API and participants run."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from deploy.local_services.process import free_port
from tests.acceptance.courses import Courses
from tests.acceptance.programs import Program, is_ready, running, until
from tests.acceptance.sites import EVENTS, Site, initialised, new_id

pytestmark = [pytest.mark.e2e, pytest.mark.kafka, pytest.mark.mongo, pytest.mark.redis]
pytestmark += [pytest.mark.slow, pytest.mark.timeout(180)]

FORWARD = ("reserve", "charge", "assign", "pick", "pack")
#: `conveyor` on a machine whose clock is off by the seconds in a file.
PROGRAM = """
import datetime, pathlib, sys
from conveyor import runner
from infrastructure import clock
from infrastructure.cli import main

class Set(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return super().now(tz) + datetime.timedelta(seconds=float(pathlib.Path("clock").read_text()))

runner.datetime = clock.datetime = Set
sys.exit(main())
"""


@dataclass(frozen=True, slots=True)
class Machine:
    """Engine, API and warehouse under one clock; the servers are elsewhere."""

    site: Site
    url: str
    engine: Program
    warehouse: Program

    def set_clock(self, ahead: timedelta) -> None:
        file = self.site.folder / "clock"
        new = file.with_suffix(".new")
        new.write_text(str(ahead.total_seconds()))
        new.replace(file)

    def listed(self, ids: list[str]) -> bool:
        """Whether the list shows that all have completed."""
        page = httpx.get(f"{self.url}/api/v1/workflows?limit=100", timeout=30).json()
        ended = {each["id"] for each in page["items"] if each["status"] == "COMPLETED"}
        return ended >= set(ids)

    def as_of(self) -> datetime:
        page = httpx.get(f"{self.url}/api/v1/workflows?limit=1", timeout=30).json()
        return datetime.fromisoformat(page["asOf"])


@pytest.fixture
def machine(
    kafka_bootstrap: str, mongo_uri: str, redis_url: str, tmp_path: Path
) -> Iterator[Machine]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    program = (sys.executable, "-c", PROGRAM)
    (tmp_path / "clock").write_text("0")
    with ExitStack() as stack:
        site = stack.enter_context(initialised(kafka_bootstrap, mongo_uri, redis_url, tmp_path))
        engine, warehouse = (
            stack.enter_context(
                running(
                    arguments[0],
                    *arguments,
                    folder=tmp_path,
                    settings=site.settings,
                    program=program,
                )
            )
            for arguments in (
                ("serve", "--roles", "engine,api", "--port", str(port)),
                ("warehouse", "--journal", str(site.journal_file)),
            )
        )
        until("the API is ready", lambda: is_ready(url), 60, [engine])
        yield Machine(site, url, engine, warehouse)


@pytest.mark.parametrize("hours", [-1, 1])
def test_everything_goes_on_and_ends(machine: Machine, hours: int) -> None:
    """Orders complete, lists show them at once, and SIGTERM ends both processes."""
    site, programs = machine.site, (machine.engine, machine.warehouse)
    with closing(site.reader(EVENTS)) as events:
        courses = Courses(events)
        _complete(site, courses, programs)

        machine.set_clock(timedelta(hours=hours))
        begun = datetime.now(UTC) + timedelta(hours=hours)
        ids = _complete(site, courses, programs)

        until("the list shows them", lambda: machine.listed(ids), 10, programs)
        until("the list says so", lambda: machine.as_of() > begun, 10, programs)
        assert courses.gaps == []
        journal = site.journal()
        assert {each: n for each, n in journal.items() if each[0] in ids} == {
            (order_id, operation): 1 for order_id in ids for operation in FORWARD
        }
    assert [program.stop() for program in programs] == [0, 0]


def _complete(site: Site, courses: Courses, programs: tuple[Program, ...]) -> list[str]:
    """Orders of which every other one needs a retry."""
    ids = [new_id("order") for _ in range(8)]
    for number, each in enumerate(ids):
        retried = {"failStep": "charge-payment", "times": 1, "retryable": True}
        site.start(each, retried if number % 2 else None)
    site.flush()
    courses.until_ended(ids, 60, programs)
    assert {courses.end_of(each) for each in ids} == {"completed"}
    return ids
