"""Under load and over deaths, an interface shows what it answered, and nothing that it took is lost."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from random import Random

import httpx
import pytest

from tests.acceptance.programs import until
from tests.acceptance.sites import order as order_input
from tests.faults.customers import Customers
from tests.faults.load import COMPENSATED, Order, orders
from tests.faults.plant import Plant, Process

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

ORDERS = 32
#: Of others' orders, which customers send all at once.
WAVE = 20
DEATHS = 4
WORKFLOWS = "/api/v1/workflows"


def test_what_was_answered_is_shown_at_once(works: Plant) -> None:
    """PUT is answered, GET on this and the other API shows it at once; while others order, and engines and APIs die."""
    works.warehouse()
    engines = [works.engine("engine-1"), works.engine("engine-2")]
    apis = [works.api("api-1"), works.api("api-2")]
    customers = Customers()
    answered = 0
    with ExitStack() as stack:
        clients = [stack.enter_context(_client(api)) for api in apis]
        stack.enter_context(customers.ordering(*(str(api.url) for api in apis)))
        for number in range(ORDERS):
            if number % 4 == 0:
                _want(works, customers, f"wave-{number}", WAVE)
            is_cancelled = number % 2 == 0
            late = {"failStep": "pick-items", "times": 0, "latencyMs": 1500 * is_cancelled}
            order = Order(f"order-{number}", late, COMPENSATED)
            works.load.orders.append(order)
            _post(clients, works.rng, order)
            wanted, action = (1, "cancel") if is_cancelled else (5, "compensate")
            until(
                f"{wanted} steps of {order.id}",
                lambda order=order, wanted=wanted: _steps(clients, order.id) >= wanted,
            )
            if number % 6 == 5:
                with works.frozen(engines[0]):
                    answered += _put_and_look(works.rng, clients, order.id, action)
            else:
                answered += _put_and_look(works.rng, clients, order.id, action)
            if number % 8 == 7:
                victim = works.rng.choice(apis if number % 16 == 7 else engines)
                works.kill(victim)
                works.again(victim)
        customers.until_answered()
    works.load.until_ended()

    works.expect_no_violations()
    assert answered > ORDERS // 2


def _want(works: Plant, customers: Customers, prefix: str, count: int) -> None:
    """One more wave of orders at the APIs."""
    wave = orders(works.rng, prefix, count)
    works.load.orders += wave
    customers.want(wave)


def _client(api: Process) -> httpx.Client:
    return httpx.Client(base_url=str(api.url), timeout=30)


def _steps(clients: list[httpx.Client], order_id: str) -> int:
    """How many are executed."""
    document = clients[0].get(f"{WORKFLOWS}/{order_id}").raise_for_status().json()
    return len(document["executedSteps"])


def _post(clients: list[httpx.Client], rng: Random, order: Order) -> None:
    """Until one API answers that the workflow is there."""
    headers = {"Idempotency-Key": order.id}
    body = {
        "id": order.id,
        "definition": "order-fulfillment",
        "input": order_input(order.id, order.simulate),
    }

    def look() -> bool:
        try:
            answer = rng.choice(clients).post(WORKFLOWS, json=body, headers=headers)
        except httpx.TransportError:
            return False
        return answer.status_code in (200, 201)

    until(f"{order.id} is started", look, 60)


def _put_and_look(rng: Random, clients: list[httpx.Client], order_id: str, action: str) -> int:
    """Send a control; where it was carried out every API must show it. Answers how many were."""
    answer = rng.choice(clients).put(f"{WORKFLOWS}/{order_id}/{action}", json={"reason": "a test"})
    if answer.status_code != 200:
        assert answer.status_code == 202, answer.text  # not known within two seconds
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
    customers = Customers()

    with customers.ordering(*(str(api.url) for api in apis)):
        for number in range(DEATHS):
            _want(works, customers, f"wave-{number}", 3 * WAVE)
            customers.until_a_random_moment(works.rng.randint, 2 * WAVE)
            victim, survivor = works.rng.sample(apis, 2)
            works.kill(victim)
            known = [*customers.answered]
            _assert_known(survivor, works.rng.sample(known, min(len(known), 10)))
            works.again(victim)
            customers.until_a_random_moment(works.rng.randint, WAVE)
            with works.frozen(works.rng.choice(apis)):
                works.load.watch(works.rng.uniform(0.2, 1))
        customers.until_answered()
    works.load.until_ended()

    works.expect_no_violations()


def _assert_known(api: Process, order_ids: Sequence[str]) -> None:
    """Nothing of what any API had answered is lost with it."""
    with _client(api) as client:
        found = {each: client.get(f"{WORKFLOWS}/{each}").status_code for each in order_ids}
    assert found == dict.fromkeys(order_ids, 200)
