"""The network between the service and its servers is cut, stalls and loses answers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest

from deploy.local_services.process import free_port
from tests.acceptance.programs import until
from tests.faults import servers
from tests.faults.plant import Plant, Servers, all_partitions, plant
from tests.faults.tally import Fault, Tally
from tests.faults.wire import Wire

pytestmark = [pytest.mark.faults, pytest.mark.timeout(400)]

WAVE = 50
#: How a document store says that a key is there already.
DUPLICATE_KEY = b"code\x00" + (11000).to_bytes(4, "little")


@dataclass(frozen=True, slots=True)
class Wired:
    """Servers, and what lies between them and every process of the service."""

    servers: Servers
    wires: dict[str, Wire]

    @property
    def settings(self) -> dict[str, str]:
        return {
            "CONVEYOR_KAFKA__BOOTSTRAP_SERVERS": self.wires["broker"].address,
            "CONVEYOR_MONGODB__URI": self.wires["document store"].address,
            "CONVEYOR_REDIS__URL": self.wires["redis"].address,
        }


@pytest.fixture(scope="module")
def wired(own_servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wired]:
    with ExitStack() as stack:
        port = free_port()
        # A broker of its own: it must send its clients on to the wire.
        broker = servers.kafka(tmp_path_factory.mktemp("wired"), advertised_port=port)
        stack.callback(broker.stop)
        wires = {
            "broker": Wire(broker.address, port),
            "document store": Wire(own_servers.mongo.address),
            "redis": Wire(own_servers.redis.address),
        }
        for wire in wires.values():
            stack.callback(wire.stop)
        yield Wired(Servers(broker, own_servers.mongo, own_servers.redis), wires)


@pytest.mark.parametrize("sort", ["cut", "refused", "stalled", "answers lost"])
def test_connections_break(
    wired: Wired, sort: str, tmp_path: Path, rng: Random, tally: Tally
) -> None:
    """Whether a request was carried out cannot be known by who sent it: everything is done once all the same."""
    with plant(wired.servers, tmp_path, rng, tally) as works:
        works.site.settings.update(wired.settings)
        works.warehouse()
        works.engine("engine-1")
        works.engine("engine-2")

        for name in rng.sample([*wired.wires, *wired.wires], 6):
            works.load.send(WAVE)
            works.load.until_a_random_moment(WAVE * 5)
            tally.add(Fault.CONNECTION, f"to {name} {sort}")
            _break(wired.wires[name], sort, works)
        works.load.until_ended(240)

        works.site.settings["CONVEYOR_MONGODB__URI"] = wired.servers.mongo.address
        works.expect_no_violations()


def _break(wire: Wire, sort: str, works: Plant) -> None:
    match sort:
        case "cut":
            for _ in range(works.rng.randint(1, 5)):
                wire.cut()
                works.load.watch(works.rng.uniform(0, 0.5))
        case "refused":
            with wire.closed():
                works.load.watch(works.rng.uniform(0.5, 3))
        case "stalled":
            wire.hold_requests()
            works.load.watch(works.rng.uniform(0.5, 6))
            wire.release()
        case _:
            with wire.deaf():
                works.load.watch(works.rng.uniform(0.5, 3))


def test_an_append_arrives_after_its_partition_has_gone(
    own_servers: Servers, tmp_path: Path, rng: Random, tally: Tally
) -> None:
    """Held on the way until another engine has decided the same messages, an append meets the fence."""
    with ExitStack() as stack, plant(own_servers, tmp_path, rng, tally) as works:
        wire = Wire(own_servers.mongo.address)
        stack.callback(wire.stop)
        works.warehouse()
        sleeper = works.engine("engine-1", CONVEYOR_MONGODB__URI=wire.address)
        heir = works.engine("engine-2")
        until("both work", lambda: sleeper.partitions() > 0 and heir.partitions() > 0)
        works.load.send(WAVE)
        works.load.until_a_random_moment(WAVE * 3)

        wire.hold_requests()
        works.load.send(WAVE)
        until("an append is on its way", lambda: _is_append(wire.held), 30)
        with works.frozen(sleeper):
            tally.add(Fault.CONNECTION, "append held")
            until("the other engine has it all", lambda: all_partitions(heir), 30)
            works.load.until_ended()
            wire.release()
            until("it arrives and is refused", lambda: DUPLICATE_KEY in wire.answered, 30)
        until("engine-1 is back", lambda: sleeper.partitions() > 0, 60)
        works.load.send(WAVE)
        works.load.until_ended()

        works.expect_no_violations()


def _is_append(sent: bytes | bytearray) -> bool:
    return b"insert\x00" in sent and b"workflow_events" in sent
