"""Clients that order over REST while things break, and ask again until they are answered."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from itertools import cycle

import httpx

from tests.acceptance.programs import until
from tests.acceptance.sites import order as order_input
from tests.faults.load import Order

_CLIENTS = 6
_AGAIN_SECONDS = 0.1
_STARTED = (200, 201)


class Customers:
    """Some clients that share a list of orders, and send one again until it is answered."""

    def __init__(self, orders: Sequence[Order] = ()) -> None:
        self.orders = list(orders)
        self._waiting = deque(orders)
        #: Orders of which the service said that they are started.
        self.answered: dict[str, Order] = {}
        #: What else it said: status code -> how often.
        self.refused: Counter[int] = Counter()
        self._leaving = threading.Event()

    @property
    def all_answered(self) -> bool:
        return len(self.answered) == len(self.orders)

    def want(self, orders: Sequence[Order]) -> None:
        """They have these to order as well."""
        self.orders += orders
        self._waiting += orders

    @contextmanager
    def ordering(self, *urls: str) -> Generator[None]:
        """They order while this lasts, at the next of these places when one does not answer."""
        self._leaving.clear()
        starts = [number % len(urls) for number in range(_CLIENTS)]
        clients = [
            threading.Thread(target=self._order, args=[[*urls[start:], *urls[:start]]])
            for start in starts
        ]
        for client in clients:
            client.start()
        try:
            yield
        finally:
            self._leaving.set()
            for client in clients:
                client.join()

    def _order(self, urls: Sequence[str]) -> None:
        places = cycle(urls)
        url = next(places)
        with httpx.Client(timeout=30) as http:
            while not self._leaving.is_set():
                try:
                    order = self._waiting.popleft()
                except IndexError:
                    self._leaving.wait(_AGAIN_SECONDS)
                    continue
                if not self._is_started(http, url, order):
                    self._waiting.append(order)
                    url = next(places)
                    self._leaving.wait(_AGAIN_SECONDS)

    def _is_started(self, http: httpx.Client, url: str, order: Order) -> bool:
        body = {
            "id": order.id,
            "definition": "order-fulfillment",
            "input": order_input(order.id, order.simulate),
        }
        try:
            answer = http.post(
                f"{url}/api/v1/workflows", json=body, headers={"Idempotency-Key": order.id}
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

    def until_answered(self) -> None:
        """Until every order is."""
        until("an answer to each order", lambda: self.all_answered, 60)
