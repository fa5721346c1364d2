"""Production mode during a rolling upgrade: an engine meets what only a newer version knows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from adapters.partitioner import partition_for
from application.codec.internal import MAC_HEADER, send_message, signed_with
from tests.acceptance.courses import Courses
from tests.acceptance.programs import until
from tests.acceptance.sites import DEAD_LETTERS, EVENTS, PARTITIONS, Site, initialised, new_id

pytestmark = [pytest.mark.e2e, pytest.mark.kafka, pytest.mark.mongo, pytest.mark.redis]
pytestmark += [pytest.mark.timeout(180)]

LOCK = "lock:cart-1"
STUCK = partition_for(LOCK.encode(), PARTITIONS)


@pytest.fixture
def site(kafka_bootstrap: str, mongo_uri: str, redis_url: str, tmp_path: Path) -> Iterator[Site]:
    with initialised(kafka_bootstrap, mongo_uri, redis_url, tmp_path) as site:
        yield site


def test_only_its_partition_stands_still(site: Site) -> None:
    """Log and health name it; workflows of the others complete; nothing of it is committed."""
    write_what_a_newer_version_sends(site)
    ids = [new_id("order") for _ in range(12)]
    others = [each for each in ids if partition_for(each.encode(), PARTITIONS) != STUCK]
    with (
        site.warehouse(),
        site.serving() as (engine, url),
        closing(site.reader(EVENTS)) as events,
        closing(site.reader(DEAD_LETTERS)) as dead_letters,
    ):
        health = until("the partition stands still", lambda: _degraded(url), 60, [engine])
        for each in ids:
            site.start(each)
        site.flush()
        courses = Courses(events)
        courses.until_ended(others)

        assert {courses.end_of(each) for each in others} == {"completed"}
        detail = health["components"]["engine"]["detail"]
        assert f"partition {STUCK}: " in detail
        assert "upgrade" in detail
        assert health["components"]["engine"]["partitions"] == PARTITIONS - 1
        alarm = next(json.loads(line) for line in engine.log.splitlines() if "ALARM" in line)
        assert (alarm["level"], alarm["partition"]) == ("error", STUCK)
        assert engine.stop() == 0
        assert dead_letters.poll() == []


def write_what_a_newer_version_sends(site: Site) -> None:
    """A lock is asked for; the message is signed as engines sign."""
    layout = site.database["inbox_positions"].find_one({"_id": "layout"})
    assert layout is not None
    sign = signed_with(layout["secret"])
    message = send_message(sign, {"to": LOCK, "type": "lock-wanted", "data": {}}, "newer")
    headers = {"ce_specversion": "1.0", "ce_id": "newer", "ce_source": message.source}
    headers |= {"ce_type": message.type, "ce_subject": LOCK, "content-type": "application/json"}
    headers[MAC_HEADER] = message.headers[MAC_HEADER].decode()
    site.write(LOCK, message.data, headers)
    site.flush()


def _degraded(url: str) -> dict[str, Any] | None:
    health = httpx.get(f"{url}/health/workflow", timeout=10).json()
    return health if health["status"] == "DEGRADED" else None
