"""Production mode: what is done is deleted from the inbox while work goes on, and no engine misses it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import cast

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._listoffsets import OffsetSpec

from tests.acceptance.courses import Courses
from tests.acceptance.programs import until
from tests.acceptance.sites import COMMANDS, EVENTS, PARTITIONS, REPLIES, Site, initialised

pytestmark = [pytest.mark.e2e, pytest.mark.kafka, pytest.mark.mongo, pytest.mark.redis]
pytestmark += [pytest.mark.timeout(240)]

SAGAS = 40
FORWARD = ("reserve", "charge", "assign", "pick", "pack")


@pytest.fixture
def site(kafka_bootstrap: str, mongo_uri: str, redis_url: str, tmp_path: Path) -> Iterator[Site]:
    with initialised(kafka_bootstrap, mongo_uri, redis_url, tmp_path) as site:
        site.settings["CONVEYOR_KAFKA__INBOX_TRIM_INTERVAL_SECONDS"] = "1"
        yield site


def test_engines_begin_where_the_inbox_begins(site: Site) -> None:
    """Killed under load beside one that trims, and started again on topics that are trimmed to their ends:
    every saga ends with each effect done once, and no engine raises an alarm."""
    before, under_load, afterwards = (
        [f"{name}-{number}" for number in range(SAGAS)] for name in ("before", "under", "after")
    )
    with ExitStack() as stack:
        stack.enter_context(site.warehouse())
        courses = Courses(stack.enter_context(closing(site.reader(EVENTS))))
        first, _ = stack.enter_context(site.serving("engine-1"))
        send(site, before)
        courses.until_ended(before, 60, [first])
        until("all is trimmed", lambda: is_trimmed(site), 30, [first])

        second, _ = stack.enter_context(site.serving("engine-2"))
        send(site, under_load)
        courses.until_some_ended(under_load, SAGAS // 4, 60, [first, second])
        first.kill()
        courses.until_ended(under_load, 60, [second])
        until("all is trimmed again", lambda: is_trimmed(site), 30, [second])
        second.kill()

        send(site, afterwards)
        third, _ = stack.enter_context(site.serving("engine-3"))
        courses.until_ended(afterwards, 60, [third])

        everything = [*before, *under_load, *afterwards]
        assert courses.gaps == []
        assert site.journal() == {(key, step): 1 for key in everything for step in FORWARD}
        assert not [each.name for each in (first, second, third) if "ALARM" in each.log]


def test_an_empty_store_begins_with_what_is_kept(site: Site) -> None:
    """`init` for another installation on trimmed topics: it works, instead of missing what was done long ago."""
    with ExitStack() as stack:
        stack.enter_context(site.warehouse())
        courses = Courses(stack.enter_context(closing(site.reader(EVENTS))))
        with site.serving("engine-1") as (first, _):
            send(site, ["before"])
            courses.until_ended(["before"], 60, [first])
            until("all is trimmed", lambda: is_trimmed(site), 30, [first])
            assert first.stop() == 0

        site.database.client.drop_database(site.database)
        site.settings["CONVEYOR_KAFKA__GROUP_ID"] = "another"
        site.initialise()
        second, _ = stack.enter_context(site.serving("engine-2"))
        send(site, ["after"])
        courses.until_ended(["after"], 60, [second])

        assert "ALARM" not in second.log


def send(site: Site, ids: list[str]) -> None:
    for workflow_id in ids:
        site.start(workflow_id, {"latencyMs": 50})
    site.flush()


def is_trimmed(site: Site) -> bool:
    """Both inbox topics held something and hold nothing now."""
    admin = AdminClient({"bootstrap.servers": site.kafka, "log_level": 0})
    names = [site.prefix + topic for topic in (COMMANDS, REPLIES)]
    places = [TopicPartition(name, number) for name in names for number in range(PARTITIONS)]
    begin, end = (
        {
            place: answer.result(20).offset
            for place, answer in admin.list_offsets(dict.fromkeys(places, which)).items()
        }
        for which in (
            cast(OffsetSpec, OffsetSpec.earliest()),
            cast(OffsetSpec, OffsetSpec.latest()),
        )
    )
    return begin == end and all(
        sum(offset for place, offset in end.items() if place.topic == name) for name in names
    )
