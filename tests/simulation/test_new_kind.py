"""A kind of aggregate that the simulator does not know, among workflows and every fault."""

from __future__ import annotations

from collections import Counter

import pytest

from application.codec.internal import signed_with
from tests.batons import BATON, BatonPassed, start_gun
from tests.simulation import simulation
from tests.simulation.clock import virtual_now
from tests.simulation.world import SECRET, Parts, World

pytestmark = pytest.mark.simulation

LAPS = 12


def _fire(world: World) -> None:
    world.broker.append(start_gun(signed_with(SECRET), LAPS, virtual_now()))


@pytest.mark.parametrize("seed", range(4))
def test_every_lap_is_run_once(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """While engines die, freeze, write late and publish twice, no baton is lost and none is doubled."""
    laps: Counter[int] = Counter()

    def count(world: World) -> list[str]:
        laps.update(
            event.data["laps"]
            for commit in world.log.stored.in_order()
            for entry in commit.entries
            for event in entry.events
            if event.type == BatonPassed.TYPE
        )
        return []

    monkeypatch.setattr(simulation, "violations", count)

    outcome = simulation.simulate(seed, parts=Parts(kinds=(BATON,), begin=_fire))

    assert outcome.violations == []
    assert laps == dict.fromkeys(range(1, LAPS + 1), 1)
