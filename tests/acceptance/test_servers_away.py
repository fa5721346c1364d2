"""Production mode: a server stops answering under load, and comes back."""

from __future__ import annotations

import signal
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from deploy.local_services import LocalService, start_kafka, start_mongo, start_redis
from tests.acceptance.programs import until
from tests.acceptance.sites import RunningSite, new_id, running_site

pytestmark = [pytest.mark.e2e, pytest.mark.kafka, pytest.mark.mongo, pytest.mark.redis]
pytestmark += [pytest.mark.slow, pytest.mark.timeout(240)]

ORDERS = 60
FORWARD = ("reserve", "charge", "assign", "pick", "pack")


@dataclass(frozen=True, slots=True)
class Servers:
    """Processes of this module's own, so that they can be frozen; by their names in the health document."""

    by_component: dict[str, LocalService]
    site: RunningSite


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    with ExitStack() as stack:
        kafka = stack.enter_context(start_kafka(is_short_lived=True))
        mongo = stack.enter_context(start_mongo(is_short_lived=True))
        redis = stack.enter_context(start_redis())
        folder = tmp_path_factory.mktemp("away")
        site = stack.enter_context(
            running_site(kafka.address, mongo.address, redis.address, folder)
        )
        yield Servers({"kafka": kafka, "eventStore": mongo, "redis": redis}, site)


@contextmanager
def frozen(server: LocalService) -> Generator[None]:
    """It keeps its connections and answers nothing."""
    server.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        server.process.send_signal(signal.SIGCONT)


@pytest.mark.parametrize(
    ("component", "overall", "status_code"),
    [("eventStore", "DOWN", 503), ("kafka", "DOWN", 503), ("redis", "DEGRADED", 200)],
)
def test_work_goes_on_afterwards(
    servers: Servers, component: str, overall: str, status_code: int
) -> None:
    """Health names the server that is away; when it is back everything begun is finished, nothing twice."""
    site = servers.site
    ids = [new_id("away") for _ in range(ORDERS)]
    for order_id in ids[: ORDERS // 2]:
        site.start(order_id, {"latencyMs": 150})
    site.flush()
    site.courses.until_event(ids[0], "step.executed")

    with frozen(servers.by_component[component]):
        for order_id in ids[ORDERS // 2 :]:
            site.start(order_id)
        told = until(
            f"health tells that {component} is away",
            lambda: _health(site, status_code, component),
            60,
            [site.engine],
        )
        site.courses.read()
        ended_meanwhile = site.courses.ended(ids)
    site.flush()
    site.courses.until_ended(ids, 90, [site.engine])

    assert told["status"] == overall
    assert told["components"][component]["detail"]
    assert ended_meanwhile < ORDERS
    assert {site.courses.end_of(each) for each in ids} == {"completed"}
    assert site.courses.gaps == []
    journal = site.journal()
    assert {each: journal[each] for each in journal if each[0] in ids} == {
        (order_id, operation): 1 for order_id in ids for operation in FORWARD
    }
    until("health is well again", lambda: _health(site, 200, None), 60, [site.engine])


def _health(site: RunningSite, status_code: int, away: str | None) -> dict[str, Any] | None:
    """The health document, once just this component is away."""
    answer = site.http.get("/api/v1/orchestration/health")
    document: dict[str, Any] = answer.json()
    probed = {
        name: document["components"][name]["status"] for name in ("kafka", "eventStore", "redis")
    }
    expected = {name: "DOWN" if name == away else "UP" for name in probed}
    return document if probed == expected and answer.status_code == status_code else None
