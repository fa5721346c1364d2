"""Production mode: two engines share the work; one is killed in the middle of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import httpx
import pytest

from tests.acceptance.courses import Courses
from tests.acceptance.programs import until
from tests.acceptance.sites import EVENTS, Site, initialised

pytestmark = [pytest.mark.e2e, pytest.mark.kafka, pytest.mark.mongo, pytest.mark.redis]
pytestmark += [pytest.mark.timeout(240)]

SAGAS = 500
FORWARD = ("reserve", "charge", "assign", "pick", "pack")
UNDO = {"reserve": "release", "charge": "refund", "assign": "unassign"}
ENDED = {"COMPLETED", "COMPENSATED"}


@pytest.fixture
def site(kafka_bootstrap: str, mongo_uri: str, redis_url: str, tmp_path: Path) -> Iterator[Site]:
    with initialised(kafka_bootstrap, mongo_uri, redis_url, tmp_path) as site:
        yield site


def test_recovery_when_one_is_killed_under_load(site: Site) -> None:
    """After kill -9 of one engine every saga ends, each effect is done once, no event is missing or early."""
    ids = [f"saga-{number}" for number in range(SAGAS)]
    failing = set(ids[::10])
    with ExitStack() as stack:
        stack.enter_context(site.warehouse())
        first, _ = stack.enter_context(site.serving("engine-1"))
        second, url = stack.enter_context(site.serving("engine-2"))
        courses = Courses(stack.enter_context(closing(site.reader(EVENTS))))
        until("engine-2 has partitions", lambda: partitions(url) == 2, 30, [first, second])
        for workflow_id in ids:
            delay = {"latencyMs": 100}
            site.start(
                workflow_id,
                {**delay, "failStep": "pick-items"} if workflow_id in failing else delay,
            )
        site.flush()

        courses.until_some_ended(ids, SAGAS // 10, 60, [first, second])
        first.kill()
        ended_before = courses.ended(ids)
        courses.until_ended(ids, 60, [second])

        assert ended_before < SAGAS
        assert courses.gaps == []
        assert_effects_match(site, ids, failing)
        until("the lists agree", lambda: listed(url) == statuses(ids, failing))


def partitions(url: str) -> int:
    health = httpx.get(f"{url}/health/workflow", timeout=30).json()
    count: int = health["components"]["engine"]["partitions"]
    return count


def assert_effects_match(site: Site, ids: list[str], failing: set[str]) -> None:
    """The warehouse did each step once, and undid once what had to be undone."""
    expected = {
        (workflow_id, operation): 1
        for workflow_id in ids
        for operation in ([*UNDO.keys(), *UNDO.values()] if workflow_id in failing else FORWARD)
    }
    assert site.journal() == expected


def statuses(ids: list[str], failing: set[str]) -> dict[str, str]:
    return {each: "COMPENSATED" if each in failing else "COMPLETED" for each in ids}


def listed(url: str) -> dict[str, str]:
    """Workflow id -> status, over all pages of the list."""
    found: dict[str, str] = {}
    cursor: str | None = None
    while True:
        parameters = {"limit": 200, **({"cursor": cursor} if cursor else {})}
        page = (
            httpx.get(f"{url}/api/v1/workflows", params=parameters, timeout=30)
            .raise_for_status()
            .json()
        )
        found |= {item["id"]: item["status"] for item in page["items"]}
        cursor = page["nextCursor"]
        if cursor is None:
            return found
