"""Engines, APIs and participants are killed and frozen while hundreds of sagas run."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest

from tests.acceptance.programs import until
from tests.acceptance.sites import Site
from tests.faults.plant import Plant, Process, all_partitions

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

WAVE = 60
#: What the names of participants' key records begin with in Redis.
KEYS = "workflow:idempotency:"


def test_engines_are_killed_again_and_again(works: Plant) -> None:
    """Either of two engines dies at random moments and comes back: every saga ends, once."""
    works.warehouse()
    engines = [works.engine("engine-1"), works.engine("engine-2")]

    for _ in range(5):
        works.load.send(WAVE)
        works.load.until_a_random_moment(WAVE * 10)
        victim = works.rng.choice(engines)
        works.kill(victim)
        works.again(victim)
    works.load.until_ended()

    works.expect_no_violations()


def test_an_engine_sleeps_longer_than_its_session(works: Plant) -> None:
    """A frozen engine loses its partitions; awake again it changes nothing that the other decided."""
    works.warehouse()
    first, second = works.engine("engine-1"), works.engine("engine-2")

    for sleeper, other in [(first, second), (second, first), (first, second)]:
        works.load.send(WAVE)
        works.load.until_a_random_moment(WAVE * 5)
        with works.frozen(sleeper):
            works.load.send(WAVE)
            until(f"{other.name} has it all", lambda other=other: all_partitions(other), 30)
            works.load.until_a_random_moment(WAVE * 5)
        until(f"{sleeper.name} is back", lambda sleeper=sleeper: sleeper.partitions() > 0, 30)
    works.load.until_ended()

    works.expect_no_violations()


def test_participants_are_killed_again_and_again(works: Plant) -> None:
    """One of two warehouses dies between taking requests and answering them: no effect twice, none lost."""
    works.engine("engine-1")
    warehouses = [works.warehouse("warehouse-1"), works.warehouse("warehouse-2")]

    for _ in range(5):
        works.load.send(WAVE)
        works.load.until_a_random_moment(WAVE * 8)
        victim = works.rng.choice(warehouses)
        works.kill(victim)
        works.load.until_a_random_moment(WAVE)
        works.again(victim)
    works.load.until_ended_with_an_operator(180)

    works.expect_no_violations()


def test_all_participants_are_away_longer_than_every_attempt(works: Plant) -> None:
    """Steps time out and are undone; an undo without answer waits for an operator, who has it tried again."""
    works.engine("engine-1")
    warehouse = works.warehouse("warehouse-1")
    works.load.send(WAVE)
    until("undos", works.load.are_undoing, 60)

    works.kill(warehouse)
    until("undos without answer", works.load.stuck, 120)
    works.again(warehouse)
    works.load.until_ended_with_an_operator(180)

    works.expect_no_violations()


def test_a_participant_sleeps_longer_than_its_claims(works: Plant) -> None:
    """What a frozen warehouse had claimed is done by another; awake again it repeats no effect."""
    works.engine("engine-1")
    sleeper = works.warehouse("warehouse-1")
    works.load.send(WAVE)
    [owner] = until("claims", lambda: set(_claims(works.site).values()))

    for round in range(2):
        works.load.send(WAVE)
        works.load.until_a_random_moment(WAVE * 5)
        claimed = until("claims at a stop", lambda: _stopped_with_claims(works, sleeper, owner), 60)
        with works.frozen(sleeper):
            if round == 0:
                works.warehouse("warehouse-2")
            works.load.send(WAVE)
            works.load.until_ended(180)
            # Who sleeps cannot have let them go: another took them.
            until("takers", lambda claimed=claimed: claimed.isdisjoint(_claimed_by(works, owner)))
    works.load.send(WAVE)
    works.load.until_ended()

    works.expect_no_violations()


def _stopped_with_claims(works: Plant, sleeper: Process, owner: str) -> set[str] | None:
    """Keys that it holds and, stopped as it is now, cannot let go; None: there are none, and it goes on."""
    sleeper.freeze()
    held = _claimed_by(works, owner)
    # What it had sent before it was stopped has been carried out now.
    held &= _claimed_by(works, owner)
    if held and not _is_locked(works.site.journal_file):
        return held
    sleeper.thaw()
    works.courses.read()
    if works.load.have_ended():
        works.load.send(WAVE)
    return None


def _is_locked(journal: Path) -> bool:
    """Whether somebody is about to write there: asleep it would keep every other warehouse from its effects."""
    with journal.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _claimed_by(works: Plant, owner: str) -> set[str]:
    return {key for key, holder in _claims(works.site).items() if holder == owner}


def _claims(site: Site) -> dict[str, str]:
    """Idempotency keys that are held -> by which process."""
    holders: dict[str, str] = {}
    for key in site.redis.scan_iter(f"{KEYS}*", count=10_000):
        holder, _, _ = str(site.redis.get(key) or "").partition("|")
        if holder:
            holders[key] = holder
    return holders
