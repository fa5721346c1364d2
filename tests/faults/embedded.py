"""The embedded mode: a process on a file, and what the file holds when it is dead."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from deploy.local_services.process import free_port
from tests.acceptance.programs import Program, is_ready, running, until
from tests.faults.checks import folds, log_is_gapless, projection_is_a_prefix, published_is_log
from tests.faults.checks import violations as all_violations
from tests.faults.customers import Customers
from tests.faults.evidence import Evidence, of_file
from tests.faults.tally import Tally
from tests.faults.verification import LEFT_TO_PROJECT, findings


@contextmanager
def dev(folder: Path, file: Path, **settings: str) -> Generator[tuple[Program, str]]:
    """`conveyor dev` without orders of its own, ready, and its URL; the log is in the folder."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    options = ("--port", str(port), "--db", str(file), "--orders-per-second", "0")
    with running("dev", "dev", *options, folder=folder, settings=settings) as program:
        until("the embedded mode is ready", lambda: is_ready(url), 60, [program])
        yield program, url


def until_ended(url: str, customers: Customers, seconds: float = 120.0) -> None:
    """Until every order is answered and has ended."""

    def look() -> bool:
        return customers.all_answered and len(ended(url)) == len(customers.orders)

    until("all orders have ended", look, seconds)


def ended(url: str) -> dict[str, str]:
    """Workflow id -> status, over all pages of the list."""
    found: dict[str, str] = {}
    cursor: str | None = None
    while True:
        parameters = {"active": False, "limit": 200, **({"cursor": cursor} if cursor else {})}
        page: dict[str, Any] = httpx.get(
            f"{url}/api/v1/workflows", params=parameters, timeout=30
        ).json()
        found |= {item["id"]: item["status"] for item in page["items"]}
        cursor = page["nextCursor"]
        if cursor is None:
            return found


def left_by_a_death(file: Path, workshop: Path, customers: Customers) -> list[str]:
    """What is wrong with the file of a process that was killed."""
    evidence = of_file(file, workshop)
    return [
        *broken(evidence),
        *_forgotten(evidence, customers),
        *findings(workshop, file=file, apart_from=LEFT_TO_PROJECT),
    ]


def broken(evidence: Evidence) -> list[str]:
    """What must hold at any moment: whole transactions, and no part of one."""
    return list(log_is_gapless(evidence)) or [
        *published_is_log(evidence),
        *projection_is_a_prefix(evidence),
    ]


def _forgotten(evidence: Evidence, customers: Customers) -> Iterator[str]:
    for order_id in customers.answered.keys() - evidence.commits.keys():
        yield f"{order_id}: its start was acknowledged, and it is not there"


def expect_no_violations(file: Path, workshop: Path, customers: Customers, tally: Tally) -> None:
    """Count what the file of a stopped process holds; fail on any violation."""
    evidence = of_file(file, workshop)
    found = [*all_violations(evidence, customers.orders), *findings(workshop, file=file)]
    tally.violations += len(found)
    for instance in folds(evidence).values():
        tally.ends[str(instance.status)] += 1
        tally.events += instance.version
    tally.effects += len(evidence.effects)
    assert found == []
