"""The write-ahead log of the embedded file loses its end at random places."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random

import pytest

from application.codec.internal import signed_with
from application.outputs import outputs
from application.ports import Commit
from tests.faults.customers import Customers
from tests.faults.embedded import broken, dev, expect_no_violations, until_ended
from tests.faults.evidence import Evidence, copied, of_file
from tests.faults.load import Order, orders
from tests.faults.tally import Fault, Tally

pytestmark = [pytest.mark.timeout(120)]

ORDERS = 60
CUTS = 60
RESUMED = 2


def test_a_write_ahead_log_is_cut(tmp_path: Path, rng: Random, tally: Tally) -> None:
    """Wherever it ends, or turns into something else, there are whole transactions and a prefix of each workflow."""
    file, workshop = tmp_path / "conveyor.db", tmp_path / "copy"
    customers = Customers(orders(rng, "order", ORDERS))
    with dev(tmp_path, file) as (program, url), customers.ordering(url):
        customers.until_a_random_moment(rng.randint, ORDERS)
        program.kill()
    whole = of_file(file, workshop)
    size = _log_of(file).stat().st_size

    lengths: list[int] = []
    for number, length in enumerate(rng.randint(0, size) for _ in range(CUTS)):
        copy = copied(file, tmp_path / "cut")
        _spoil(_log_of(copy), length, rng if number % 2 else None)
        tally.add(Fault.LOG, "overwritten" if number % 2 else "cut")
        evidence = of_file(copy, workshop)
        found = [*broken(evidence), *_not_a_prefix(evidence, whole)]
        tally.violations += len(found)
        assert found == []
        lengths.append(sum(map(len, evidence.commits.values())))

    everything = sum(map(len, whole.commits.values()))
    assert any(0 < length < everything for length in lengths)  # not all or nothing
    for _ in range(RESUMED):
        _expect_recovery(file, tmp_path, customers.orders, rng, tally)


def _expect_recovery(
    file: Path, folder: Path, ordered: Sequence[Order], rng: Random, tally: Tally
) -> None:
    """A service on a file that was cut: customers ask again for what was lost, and all ends well."""
    copy = copied(file, folder / "cut")
    _spoil(_log_of(copy), rng.randint(0, _log_of(copy).stat().st_size), None)
    tally.add(Fault.LOG, "cut")
    again = Customers(ordered)
    with dev(folder, copy) as (program, url), again.ordering(url):
        until_ended(url, again)
        assert program.stop() == 0

    expect_no_violations(copy, folder / "copy", again, tally)


def _log_of(file: Path) -> Path:
    return file.with_name(f"{file.name}-wal")


def _spoil(log: Path, length: int, rng: Random | None) -> None:
    """Cut it there, or fill the rest with random bytes."""
    with log.open("r+b") as content:
        rest = log.stat().st_size - length
        content.truncate(length)
        if rng is not None:
            content.seek(length)
            content.write(rng.randbytes(rest))


def _not_a_prefix(evidence: Evidence, whole: Evidence) -> list[str]:
    return [
        f"{workflow_id}: not a prefix of what was written"
        for workflow_id, commits in evidence.commits.items()
        if _said(commits) != _said(whole.commits[workflow_id])[: len(_said(commits))]
    ]


def _said(commits: Sequence[Commit]) -> list[Mapping[str, object]]:
    return [
        json.loads(message.data)
        for commit in commits
        for message in outputs(commit, signed_with(b""))
    ]
