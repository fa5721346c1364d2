"""The embedded mode under load: a process on a file, and clients that order over REST."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from infrastructure.services.process import free_port
from tests.acceptance.programs import Program, is_ready, running, until
from tests.acceptance.sites import order as order_input
from tests.faults.checks import folds, log_is_gapless, projection_is_a_prefix, published_is_log
from tests.faults.checks import violations as all_violations
from tests.faults.evidence import Evidence, of_file
from tests.faults.load import Order
from tests.faults.tally import Tally
from tests.faults.verification import LEFT_TO_PROJECT, findings

_CLIENTS = 6
_AGAIN_SECONDS = 0.1
_STARTED = (200, 201)


@contextmanager
def dev(folder: Path, file: Path, **settings: str) -> Generator[tuple[Program, str]]:
    """`conveyor dev` without orders of its own, ready, and its URL; the log is in the folder."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    options = ("--port", str(port), "--db", str(file), "--orders-per-second", "0")
    with running("dev", "dev", *options, folder=folder, settings=settings) as program:
        until("the embedded mode is ready", lambda: is_ready(url), 60, [program])
        yield program, url


class Customers:
    """Some clients that share a list of orders, and send one again until it is answered."""

    def __init__(self, orders: Sequence[Order]) -> None:
        self.orders = orders
        self._waiting = deque(orders)
        #: Orders of which the service said that they are started.
        self.answered: dict[str, Order] = {}
        #: What else it said: status code -> how often.
        self.refused: Counter[int] = Counter()
        self._leaving = threading.Event()

    @property
    def all_answered(self) -> bool:
        return len(self.answered) == len(self.orders)

    @contextmanager
    def ordering(self, url: str) -> Generator[None]:
        """They order while this lasts."""
        self._leaving.clear()
        clients = [threading.Thread(target=self._order, args=[url]) for _ in range(_CLIENTS)]
        for client in clients:
            client.start()
        try:
            yield
        finally:
            self._leaving.set()
            for client in clients:
                client.join()

    def _order(self, url: str) -> None:
        with httpx.Client(base_url=url, timeout=30) as http:
            while not self._leaving.is_set():
                try:
                    order = self._waiting.popleft()
                except IndexError:
                    return
                if not self._is_started(http, order):
                    self._waiting.append(order)
                    self._leaving.wait(_AGAIN_SECONDS)

    def _is_started(self, http: httpx.Client, order: Order) -> bool:
        body = {
            "id": order.id,
            "definition": "order-fulfillment",
            "input": order_input(order.id, order.simulate),
        }
        try:
            answer = http.post(
                "/api/v1/workflows", json=body, headers={"Idempotency-Key": order.id}
            )
        except httpx.TransportError:
            return False
        if answer.status_code in _STARTED:
            self.answered[order.id] = order
            return True
        self.refused[answer.status_code] += 1
        return False

    def until_a_random_moment(self, draw: Callable[[int, int], int], most: int) -> None:
        """Until a number of answers drawn from 1 to `most` has come, or all have."""
        wanted = len(self.answered) + draw(1, most)
        until(f"{wanted} answers", lambda: len(self.answered) >= wanted or self.all_answered, 60)

    def until_ended(self, url: str, seconds: float = 120.0) -> None:
        """Until every order is answered and has ended."""

        def look() -> bool:
            return self.all_answered and len(ended(url)) == len(self.orders)

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


def conclude(file: Path, workshop: Path, customers: Customers, tally: Tally) -> None:
    """Count what the file of a stopped process holds; fail on any violation."""
    evidence = of_file(file, workshop)
    found = [*all_violations(evidence, customers.orders), *findings(workshop, file=file)]
    tally.violations += len(found)
    for instance in folds(evidence).values():
        tally.ends[str(instance.status)] += 1
        tally.events += instance.version
    assert found == []
