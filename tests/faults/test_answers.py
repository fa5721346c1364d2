"""An interface never shows an older state than one that a command was answered with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from random import Random
from typing import Any

import httpx
import pytest

from tests.acceptance.programs import until
from tests.acceptance.sites import order as order_input
from tests.faults.load import COMPENSATED, COMPLETED, Order
from tests.faults.plant import Plant, Servers, plant
from tests.faults.tally import Tally

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

ORDERS = 40
WORKFLOWS = "/api/v1/workflows"


@pytest.fixture
def works(own_servers: Servers, tmp_path: Path, rng: Random, tally: Tally) -> Iterator[Plant]:
    with plant(own_servers, tmp_path, rng, tally) as works:
        yield works


def test_what_was_answered_is_shown_at_once(works: Plant) -> None:
    """PUT is answered, GET on this and the other API shows it; while engines and APIs die."""
    works.warehouse()
    engines = [works.engine("engine-1"), works.engine("engine-2")]
    apis = [works.api("api-1"), works.api("api-2")]
    answered = 0
    with ExitStack() as stack:
        clients = [
            stack.enter_context(httpx.Client(base_url=str(api.url), timeout=30)) for api in apis
        ]
        for number in range(ORDERS):
            order_id = f"order-{number}"
            fails = {"failStep": "pick-items", "times": 0, "latencyMs": 1500}
            body = {
                "id": order_id,
                "definition": "order-fulfillment",
                "input": order_input(order_id, fails),
            }
            is_cancelled = number % 2 == 0
            works.load.orders.append(
                Order(order_id, fails, COMPENSATED if is_cancelled else COMPLETED)
            )
            _post(clients, works.rng, body)
            for action in ["pause", "resume", *(["cancel"] if is_cancelled else [])]:
                answered += _put_and_look(works.rng, clients, order_id, action)
            if number % 8 == 7:
                victim = works.rng.choice([*engines, *apis])
                works.kill(victim)
                works.again(victim)
        works.load.until_ended()

    works.conclude()
    assert answered > ORDERS


def _post(clients: list[httpx.Client], rng: Random, body: dict[str, Any]) -> None:
    """Until one API answers that the workflow is there."""
    headers = {"Idempotency-Key": body["id"]}

    def look() -> bool:
        try:
            answer = rng.choice(clients).post(WORKFLOWS, json=body, headers=headers)
        except httpx.TransportError:
            return False
        return answer.status_code in (200, 201)

    until(f"{body['id']} is started", look, 60)


def _put_and_look(rng: Random, clients: list[httpx.Client], order_id: str, action: str) -> int:
    """Send a control; where it was carried out every API must show it. Answers how many were."""
    answer = rng.choice(clients).put(f"{WORKFLOWS}/{order_id}/{action}", json={"reason": "a test"})
    if answer.status_code != 200:
        # Not known within two seconds, or too late for this workflow.
        assert answer.status_code in (202, 409), answer.text
        return 0
    told = answer.json()
    for client in clients:
        for path in ("", "/status"):
            shown = client.get(f"{WORKFLOWS}/{order_id}{path}").raise_for_status().json()
            assert shown["version"] >= told["version"]
            if shown["version"] == told["version"]:
                assert shown["status"] == told["status"]
        history = client.get(f"{WORKFLOWS}/{order_id}/history").raise_for_status().json()
        assert history["items"][-1]["version"] >= told["version"]
    return 1


def test_an_api_dies_after_it_took_an_order(works: Plant) -> None:
    """Customers who ask again with their key, at the other API, get the workflow that they had ordered."""
    works.warehouse()
    works.engine("engine-1")
    apis = [works.api("api-1"), works.api("api-2")]
    orders = [Order(f"order-{number}", {}, COMPLETED) for number in range(200)]
    works.load.orders += orders

    with ExitStack() as stack:
        clients = [
            stack.enter_context(httpx.Client(base_url=str(api.url), timeout=30)) for api in apis
        ]
        for number, order in enumerate(orders):
            body = {
                "id": order.id,
                "definition": "order-fulfillment",
                "input": order_input(order.id),
            }
            _post(clients, works.rng, body)
            if number % 40 == 20:
                victim = works.rng.choice(apis)
                works.kill(victim)
                # Nothing of what the dead one had answered is lost.
                for known in orders[: number + 1]:
                    _post(
                        clients, works.rng, {**body, "id": known.id, "input": order_input(known.id)}
                    )
                works.again(victim)
            if number % 40 == 35:
                with works.frozen(works.rng.choice(apis)) as _:
                    works.load.watch(works.rng.uniform(0.2, 1))
    works.load.until_ended()

    works.conclude()
