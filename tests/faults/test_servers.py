"""Kafka, the document store and Redis are killed, frozen and started again under load."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from random import Random

import pytest

from tests.faults import servers
from tests.faults.mongod import real_mongod
from tests.faults.plant import Plant, Servers, plant
from tests.faults.servers import Server
from tests.faults.tally import Fault, Tally

pytestmark = [pytest.mark.faults, pytest.mark.timeout(400)]

WAVE = 50
#: Sessions last 6 s here, claims of participants 10 s, requests to servers and steps less than this.
LONG_SECONDS = 25


@pytest.mark.parametrize("fault", [Fault.KILL, Fault.RESTART])
def test_the_broker_goes_and_comes_back(works: Plant, own_servers: Servers, fault: Fault) -> None:
    """After kill -9 or SIGTERM of the only broker, and a start on its folder, nothing acknowledged is missing."""
    _staffed(works)
    end = own_servers.kafka.kill if fault is Fault.KILL else own_servers.kafka.stop

    for _ in range(3):
        works.load.send(WAVE)
        works.load.until_a_random_moment(WAVE * 8)
        works.tally.add(fault, "broker")
        end()
        works.load.send(WAVE // 2, flush=False)
        own_servers.kafka.start()
    works.load.until_ended(240)

    works.expect_no_violations()


def test_redis_is_killed_and_comes_back(works: Plant, own_servers: Servers) -> None:
    """Engines go on without Redis, participants wait for their keys: no effect is done twice."""
    _staffed(works)

    for _ in range(4):
        works.load.send(WAVE)
        works.load.until_a_random_moment(WAVE * 8)
        works.tally.add(Fault.KILL, "redis")
        own_servers.redis.kill()
        works.load.send(WAVE // 2)
        works.load.watch(works.rng.uniform(0.2, 2))
        own_servers.redis.start()
    works.load.until_ended(240)

    works.expect_no_violations()


def test_servers_are_frozen_in_turns(works: Plant, own_servers: Servers) -> None:
    """Broker, document store and Redis stop answering for drawn times, in a drawn order, and go on."""
    _staffed(works)
    named = own_servers.named

    for name in works.rng.sample([*named, *named], 6):
        works.load.send(WAVE)
        works.load.until_a_random_moment(WAVE * 5)
        works.tally.add(Fault.FREEZE, name)
        with named[name].frozen():
            works.load.watch(works.rng.uniform(0.5, 4))
    works.load.until_ended(240)

    works.expect_no_violations()


@pytest.mark.parametrize("name", ["broker", "document store", "redis"])
def test_a_server_is_frozen_longer_than_all_patience(
    works: Plant, own_servers: Servers, name: str
) -> None:
    """One that is away for longer than sessions, requests, steps and claims may take: the work goes on."""
    _staffed(works)
    # When claims have run out, there must be somebody to take them.
    works.warehouse("warehouse-2")
    works.load.send(WAVE)
    works.load.until_a_random_moment(WAVE * 5)

    works.tally.add(Fault.FREEZE, f"{name} for {LONG_SECONDS} s")
    with own_servers.named[name].frozen():
        works.load.send(WAVE, flush=False)
        works.load.watch(LONG_SECONDS)
    works.load.send(WAVE)
    works.load.until_ended(240)

    works.expect_no_violations()


def test_a_document_store_on_file_is_restarted(tmp_path: Path, rng: Random, tally: Tally) -> None:
    """The stand-in with a file is stopped (it writes in the background, so never killed) and comes back."""
    with ExitStack() as stack:
        store = servers.mongo_standin(tmp_path / "mongo", keeps_documents=True)
        own = Servers.started(stack, tmp_path, store)
        with plant(own, tmp_path, rng, tally) as works:
            _staffed(works)
            for _ in range(2):
                works.load.send(WAVE)
                works.load.until_a_random_moment(WAVE * 8)
                tally.add(Fault.RESTART, "document store")
                store.stop()
                works.load.send(WAVE // 2)
                works.load.watch(works.rng.uniform(0.2, 2))
                store.start()
            works.load.until_ended(240)

            works.expect_no_violations()


@pytest.fixture
def mongod(tmp_path: Path) -> Iterator[Server]:
    """A real MongoDB, where there is one; where not, the report says so."""
    store = real_mongod(tmp_path / "mongod")
    if store is None:
        pytest.skip(
            "neither a mongod is installed nor its image there: kill -9 of a real MongoDB was not shown"
        )
    yield store
    store.remove()


def test_a_real_mongod_is_killed(mongod: Server, tmp_path: Path, rng: Random, tally: Tally) -> None:
    """What a MongoDB with journal has acknowledged survives its kill -9."""
    with (
        ExitStack() as stack,
        plant(Servers.started(stack, tmp_path, mongod), tmp_path, rng, tally) as works,
    ):
        _staffed(works)
        for _ in range(4):
            works.load.send(WAVE)
            works.load.until_a_random_moment(WAVE * 8)
            tally.add(Fault.KILL, "mongod")
            mongod.kill()
            works.load.send(WAVE // 2)
            mongod.start()
        works.load.until_ended(240)

        works.expect_no_violations()


def _staffed(works: Plant) -> None:
    """Two engines and a warehouse."""
    works.warehouse()
    works.engine("engine-1")
    works.engine("engine-2")
