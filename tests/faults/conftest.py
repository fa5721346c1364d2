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
from tests.faults.tally import Tally, table

#: Draws the moments; the processes then run as they run, so it repeats a plan and not a run.
SEED = int(os.environ.get("FAULTS_SEED") or random.SystemRandom().randrange(1_000_000))

_ROWS = pytest.StashKey[list[Tally]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_ROWS] = []


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> random.Random:
    """Random numbers of this test."""
    return random.Random(f"{SEED} {request.node.name}")


@pytest.fixture
def tally(request: pytest.FixtureRequest) -> Tally:
    """This test's row of the table."""
    row = Tally(request.node.name.removeprefix("test_").replace("_", " "))
    request.config.stash[_ROWS].append(row)
    request.node.stash[_ROWS] = [row]
    return row


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.when == "call":
        for row in item.stash.get(_ROWS, []):
            row.outcome = report.outcome
    return report


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    rows = config.stash.get(_ROWS, [])
    if rows:
        terminalreporter.section(f"faults, drawn with FAULTS_SEED={SEED}")
        for line in table(rows):
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
