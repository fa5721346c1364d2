"""Input that stops at one bad message, and bad messages that vanish: neither happens."""

from __future__ import annotations

from contextlib import closing

import pytest

from tests.acceptance.courses import TopicReader
from tests.acceptance.programs import until
from tests.acceptance.sites import COMMANDS, DEAD_LETTERS, REPLIES
from tests.faults.plant import Plant
from tests.faults.poison import Place, Poison
from tests.faults.tally import Fault

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

WAVE = 40
REQUESTS = "orchestration.step.requests.inventory-service"


def test_poison_among_the_messages(works: Plant) -> None:
    """Bad records stop no input and none goes without a trace: each is a dead letter, also over a kill -9."""
    works.warehouse()
    engines = [works.engine("engine-1"), works.engine("engine-2")]
    poison = Poison(works.site, works.rng)

    with closing(works.site.reader(DEAD_LETTERS)) as letters:
        for round in range(6):
            works.load.send(WAVE)
            poison.pour(COMMANDS, 50)
            poison.pour(REPLIES, 50)
            works.load.until_a_random_moment(WAVE * 4)
            if round % 2:
                victim = works.rng.choice(engines)
                works.kill(victim)
                works.again(victim)
        works.load.until_ended()
        until("a dead letter for each", lambda: poison.places <= _places(letters))

        works.tally.add(Fault.POISON, "records", len(poison.places))
        assert _places(letters) == poison.places
        assert all(letter.headers["dlq-reason"] for letter in letters.records)
    works.expect_no_violations()


def _places(letters: TopicReader) -> set[Place]:
    """Where the refused records had come from."""
    letters.poll()
    return {
        (
            each.headers["dlq-topic"],
            int(each.headers["dlq-partition"]),
            int(each.headers["dlq-offset"]),
        )
        for each in letters.records
    }


def test_poison_for_a_participant(works: Plant) -> None:
    """A participant's requests are not stopped by a bad record either, and it is not lost."""
    works.engine("engine-1")
    warehouse = works.warehouse()
    poison = Poison(works.site, works.rng)

    with closing(works.site.reader(DEAD_LETTERS)) as letters:
        for _ in range(2):
            works.load.send(WAVE)
            poison.pour(REQUESTS, 50)
            works.load.until_a_random_moment(WAVE * 4)
            works.kill(warehouse)
            works.again(warehouse)
        works.load.until_ended()
        until("a dead letter for each", lambda: poison.places <= _places(letters))

        works.tally.add(Fault.POISON, "records", len(poison.places))
        assert _places(letters) == poison.places
    works.expect_no_violations()
