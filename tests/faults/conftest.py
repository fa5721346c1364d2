"""The seed that fault moments are drawn from, the table of counts, and servers that may be broken."""

from __future__ import annotations

import os
import random
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.faults import servers
from tests.faults.plant import Plant, Servers, plant
from tests.faults.report import Run
from tests.faults.tally import Tally

#: Draws the moments; the processes then run as they run, so it repeats a plan and not a run.
SEED = int(os.environ.get("FAULTS_SEED") or random.SystemRandom().randrange(1_000_000))

_RUN = pytest.StashKey[Run]()
_ROW = pytest.StashKey[Tally]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_RUN] = Run(SEED)


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> random.Random:
    """Random numbers of this test."""
    return random.Random(f"{SEED} {request.node.name}")


@pytest.fixture
def tally(request: pytest.FixtureRequest) -> Tally:
    """This test's row of the table."""
    row = Tally(request.node.name.removeprefix("test_").replace("_", " "))
    request.config.stash[_RUN].rows.append(row)
    request.node.stash[_ROW] = row
    return row


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    row = item.stash.get(_ROW, None)
    if report.when == "call" and row is not None:
        row.outcome = report.outcome
        item.config.stash[_RUN].loads.append(os.getloadavg()[0])
    return report


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    run = config.stash[_RUN]
    if not run.rows:
        return
    stats = terminalreporter.stats
    outcomes = {
        name: len(stats[name]) for name in ("passed", "failed", "error", "skipped") if name in stats
    }
    reasons = {report.longrepr[2].removeprefix("Skipped: ") for report in stats.get("skipped", [])}
    terminalreporter.section("faults: the last run, for docs/maintainers/faults.md")
    for line in run.report(outcomes, reasons):
        terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def own_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """Kafka, the stand-in and Redis for the tests of this folder alone."""
    folder: Path = tmp_path_factory.mktemp("servers")
    with ExitStack() as stack:
        yield Servers.started(stack, folder, servers.mongo_standin(folder / "mongo"))


@pytest.fixture
def works(
    own_servers: Servers, tmp_path: Path, rng: random.Random, tally: Tally
) -> Iterator[Plant]:
    """A site without processes yet."""
    with plant(own_servers, tmp_path, rng, tally) as works:
        yield works
