"""The checks of this folder find what they are for: evidence of a sound run, spoilt in one way each."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from tests.faults.checks import violations
from tests.faults.customers import Customers
from tests.faults.embedded import dev, until_ended
from tests.faults.evidence import Evidence, Published, of_file
from tests.faults.load import COMPENSATED, Order, orders

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

ORDERS = orders(Random(1), "order", 10)
COMPLETES, COMPENSATES = "order-1", "order-0"


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    """What ten orders leave."""
    folder: Path = tmp_path_factory.mktemp("sound")
    file = folder / "conveyor.db"
    customers = Customers(ORDERS)
    with dev(folder, file) as (program, url), customers.ordering(url):
        until_ended(url, customers)
        program.stop()
    return of_file(file, folder / "copy")


def test_a_sound_run_has_no_violations(sound: Evidence) -> None:
    """Nothing is found where nothing is wrong; copies of events are no fault."""
    with_copies = replace(sound, published=[*sound.published, *sound.published[:20]])

    assert violations(sound, ORDERS) == []
    assert violations(with_copies, ORDERS) == []


def _without_a_commit(evidence: Evidence) -> Evidence:
    commits = evidence.commits[COMPLETES]
    return replace(evidence, commits={**evidence.commits, COMPLETES: [*commits[:3], *commits[4:]]})


def _not_ended(evidence: Evidence) -> Evidence:
    commits = evidence.commits[COMPLETES][:-1]
    return replace(evidence, commits={**evidence.commits, COMPLETES: commits})


def _lost(evidence: Evidence) -> Evidence:
    commits = {key: found for key, found in evidence.commits.items() if key != COMPLETES}
    return replace(evidence, commits=commits)


def _unpublished(evidence: Evidence) -> Evidence:
    kept = [each for each in evidence.published if each.id != f"{COMPLETES}:5"]
    return replace(evidence, published=kept)


def _published_early(evidence: Evidence) -> Evidence:
    [early] = [each for each in evidence.published if each.id == f"{COMPLETES}:5"]
    return replace(evidence, published=[early, *evidence.published])


def _published_otherwise(evidence: Evidence) -> Evidence:
    other = Published(COMPLETES, f"{COMPLETES}:5", b"{}")
    return replace(evidence, published=[*evidence.published, other])


def _published_without_a_log(evidence: Evidence) -> Evidence:
    other = Published("nobody", "nobody:1", b"{}")
    return replace(evidence, published=[*evidence.published, other])


def _projected_late(evidence: Evidence) -> Evidence:
    document = {**evidence.projections[COMPLETES], "version": 3}
    return replace(evidence, projections={**evidence.projections, COMPLETES: document})


def _projected_wrongly(evidence: Evidence) -> Evidence:
    document = copy.deepcopy(evidence.projections[COMPLETES])
    document["steps"][0]["attempt"] += 1
    return replace(evidence, projections={**evidence.projections, COMPLETES: document})


def _effect_twice(evidence: Evidence) -> Evidence:
    return replace(evidence, effects=[*evidence.effects, f"{COMPLETES}/pick-items/1"])


def _effect_without_a_saga(evidence: Evidence) -> Evidence:
    return replace(evidence, effects=[*evidence.effects, "nobody/pick-items/1"])


def _effect_missing(evidence: Evidence) -> Evidence:
    gone = f"{COMPLETES}/pack-items/1"
    return replace(evidence, effects=[key for key in evidence.effects if key != gone])


def _undone_forwards(evidence: Evidence) -> Evidence:
    undos = [
        key
        for key in evidence.effects
        if key.startswith(f"{COMPENSATES}/") and key.endswith("/undo")
    ]
    others = [key for key in evidence.effects if key not in undos]
    return replace(evidence, effects=[*others, *reversed(undos)])


def _never_undone(evidence: Evidence) -> Evidence:
    kept = [
        key
        for key in evidence.effects
        if not (key.startswith(f"{COMPENSATES}/") and key.endswith("/undo"))
    ]
    return replace(evidence, effects=kept)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (_without_a_commit, f"{COMPLETES}: the log has the versions"),
        (_not_ended, f"{COMPLETES}: EXECUTING, not COMPLETED"),
        (_lost, f"{COMPLETES}: lost"),
        (_unpublished, f"{COMPLETES}: published"),
        (_published_early, f"{COMPLETES}: published"),
        (_published_otherwise, f"{COMPLETES}: {COMPLETES}:5 was published with two contents"),
        (_published_without_a_log, "nobody: events were published that are not in the log"),
        (_projected_late, f"{COMPLETES}: projected at 3"),
        (_projected_wrongly, f"{COMPLETES}: the projection is not the fold"),
        (_effect_twice, "the effect happened 2 times"),
        (_effect_without_a_saga, "nobody: effects of a workflow that is not in the log"),
        (_effect_missing, f"{COMPLETES}: COMPLETED, performed"),
        (_undone_forwards, f"{COMPENSATES}: COMPENSATED, performed"),
        (_never_undone, f"{COMPENSATES}: COMPENSATED, performed"),
    ],
)
def test_each_sort_of_violation_is_found(
    sound: Evidence, spoil: Callable[[Evidence], Evidence], told: str
) -> None:
    """One thing wrong in the stores, one sentence about it."""
    found = violations(spoil(sound), ORDERS)

    assert any(told in sentence for sentence in found), found


def test_an_end_that_nobody_asked_for_is_found(sound: Evidence) -> None:
    """A workflow of no order, and one that went back without a time-out."""
    other = [Order(COMPLETES, {}, COMPENSATED), *ORDERS[2:]]

    found = violations(sound, other)

    assert f"{COMPLETES}: COMPLETED, not COMPENSATED" in found
    assert f"{COMPENSATES}: nobody started it" in found
