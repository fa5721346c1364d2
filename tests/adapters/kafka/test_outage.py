"""A broker that freezes or dies, and comes back: one of its own, since all tests share the other."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conveyor import topics
from conveyor.cloudevents import decode

from adapters.kafka.inbox import KafkaInbox
from adapters.kafka.publisher import KafkaPublisher
from adapters.kafka.settings import KafkaSettings
from adapters.kafka.topics import init_topics
from adapters.partitioner import partition_for
from application.ports import Unavailable
from deploy.local_services.kafka import start_kafka
from deploy.local_services.process import LocalService
from domain.aggregate.position import TopicPartition
from tests.adapters.kafka.conftest import PARTITIONS, Topics, unique_settings
from tests.contracts.inbox_contract import RecordingListener, assigned, command, ids, take_exactly
from tests.contracts.publisher_contract import event

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(120)]


class Broker:
    """A broker that can be frozen, killed and started again at the same address."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._service = start_kafka(folder)

    @property
    def address(self) -> str:
        return self._service.address

    def freeze(self) -> None:
        """Returns when every thread stands still; the signal alone leaves time for an answer."""
        self._service.process.send_signal(signal.SIGSTOP)
        deadline = time.monotonic() + 30
        while any(state != "T" for state in self._thread_states()):
            assert time.monotonic() < deadline

    def _thread_states(self) -> list[str]:
        threads = Path(f"/proc/{self._service.process.pid}/task").iterdir()
        return [(each / "stat").read_text().rpartition(") ")[2][0] for each in threads]

    def thaw(self) -> None:
        self._service.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        self._service.kill()

    def start_again(self) -> None:
        port = int(self.address.rpartition(":")[2])
        self._service.stop()
        self._service: LocalService = start_kafka(self._folder, port)

    def stop(self) -> None:
        self.thaw()
        self._service.stop()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    broker = Broker(tmp_path / "kafka")
    yield broker
    broker.stop()


@pytest.fixture
async def settings(broker: Broker) -> KafkaSettings:
    settings = unique_settings(broker.address)
    await init_topics(settings, partitions=PARTITIONS)
    return settings


async def test_publishing_waits_for_a_frozen_broker(
    broker: Broker, settings: KafkaSettings
) -> None:
    """Nothing is given up: when the broker thaws, every message is there once, in order."""
    publisher = KafkaPublisher(settings)
    await publisher.publish([event(0)])

    broker.freeze()
    publishing = asyncio.create_task(publisher.publish([event(n) for n in range(1, 50)]))
    waiting = asyncio.create_task(publisher.publish([event(50)]))
    done, _ = await asyncio.wait([publishing, waiting], timeout=3)
    assert not done
    broker.thaw()
    await asyncio.wait_for(asyncio.gather(publishing, waiting), 60)

    written = await Topics(settings).written(topics.EVENTS, 51)
    assert [decode(record).id for record in written] == [f"wf-1:{n}" for n in range(51)]
    await publisher.close()


async def test_everything_goes_on_after_the_broker_was_killed(
    broker: Broker, settings: KafkaSettings
) -> None:
    """The inbox says `Unavailable` while it is away; nothing has to be started again afterwards."""
    publisher, inbox, listener = (
        KafkaPublisher(settings),
        KafkaInbox(settings, PARTITIONS),
        RecordingListener(),
    )
    await inbox.start(listener)
    await assigned(inbox, listener)
    place = TopicPartition(topics.COMMANDS, partition_for(b"wf-1", PARTITIONS))

    broker.kill()
    with pytest.raises(Unavailable) as away:
        await take_exactly(inbox, 1)
    assert away.value.component == "kafka"
    assert inbox.problem is not None
    with pytest.raises(Unavailable):
        await inbox.commit({place: 0})
    publishing = asyncio.create_task(publisher.publish([command(1), command(2)]))
    broker.start_again()
    await asyncio.wait_for(publishing, 60)

    taken = []
    async with asyncio.timeout(60):
        while len(taken) < 2:
            try:
                taken += await inbox.take(100, 0.5)
            except Unavailable:
                continue
    assert ids(taken) == ["cmd-1", "cmd-2"]
    assert inbox.problem is None
    await inbox.commit({place: 2})
    await publisher.close()
    await inbox.close()
