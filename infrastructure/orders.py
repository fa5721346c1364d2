"""Simulated orders for trying the service: an endless stream with the same mix every time."""

from __future__ import annotations

import itertools
import random
import uuid
from collections.abc import Iterator
from typing import Any

_SKUS = ("LAMP-01", "MUG-02", "CHAIR-03", "RUG-04", "FRAME-05", "CLOCK-06")
#: One order in this many fails at pick-items; the first of them is among the first twenty.
FAILS_EVERY = 12


def order_stream() -> Iterator[tuple[str, dict[str, Any]]]:
    """Workflow id and start data of one order after another."""
    rng = random.Random()  # noqa: S311 - makes up orders
    run = uuid.uuid4().hex[:8]
    for number in itertools.count(1):
        order_id = f"ord-{run}-{number}"
        yield (
            order_id,
            {
                "definition": "order-fulfillment",
                "input": order(order_id, rng, fails=number % FAILS_EVERY == 0),
                "correlationId": order_id,
                "triggeredBy": "demo",
            },
        )


def order(order_id: str, rng: random.Random, *, fails: bool) -> dict[str, Any]:
    lines = [
        {"sku": sku, "quantity": rng.randint(1, 6)} for sku in rng.sample(_SKUS, rng.randint(1, 3))
    ]
    document: dict[str, Any] = {"orderId": order_id, "lines": lines}
    if fails:
        document["simulate"] = {"failStep": "pick-items", "retryable": False}
    return document
