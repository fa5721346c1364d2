"""The embedded mode is killed at random moments, again and again, on one file."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from deploy.local_services.process import free_port
from tests.acceptance.programs import running
from tests.faults.customers import Customers
from tests.faults.embedded import dev, expect_no_violations, left_by_a_death, until_ended
from tests.faults.load import orders
from tests.faults.moments import pass_by
from tests.faults.tally import Fault, Tally

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

KILLS = 8
ORDERS = 400


def test_the_embedded_mode_is_killed_at_random_moments(
    tmp_path: Path, rng: Random, tally: Tally
) -> None:
    """Each death leaves whole transactions with everything acknowledged; in the end every saga has ended."""
    file = tmp_path / "conveyor.db"
    customers = Customers(orders(rng, "order", ORDERS))

    for _ in range(KILLS):
        with dev(tmp_path, file) as (program, url), customers.ordering(url):
            customers.until_a_random_moment(rng.randint, 2 * ORDERS // KILLS)
            program.kill()
            tally.add(Fault.KILL, "embedded")
        found = left_by_a_death(file, tmp_path / "copy", customers)
        tally.violations += len(found)
        assert found == []
        _die_while_starting(tmp_path, file, rng.uniform(0, 1))
        tally.add(Fault.KILL, "embedded while starting")
    with dev(tmp_path, file) as (program, url), customers.ordering(url):
        until_ended(url, customers)
        assert program.stop() == 0

    expect_no_violations(file, tmp_path / "copy", customers, tally)


def _die_while_starting(folder: Path, file: Path, seconds: float) -> None:
    """Kill a process that has only begun to open the file."""
    options = ("--port", str(free_port()), "--db", str(file), "--orders-per-second", "0")
    with running("dying", "dev", *options, folder=folder) as program:
        pass_by(seconds)
        program.kill()
