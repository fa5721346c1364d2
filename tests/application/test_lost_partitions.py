"""A partition is lost alone: what concerns the partitions that are kept must not go with it."""

from __future__ import annotations

from collections.abc import Sequence

from conveyor import topics
from conveyor.messages import Message, Record

from adapters.memory.broker import MemoryBroker
from adapters.memory.inbox import MemoryInbox
from adapters.memory.publisher import MemoryPublisher
from adapters.partitioner import partition_for
from application.ports import Received, Unavailable
from tests.application.installation import DEFINITION, GROUP, Installation
from tests.waiting import until

LOST = 1 - partition_for(b"wf-1", 2)


class FailingOnce(MemoryPublisher):
    """The first request to a service does not get out."""

    has_failed = False

    async def publish(self, messages: Sequence[Message | Record]) -> None:
        if not self.has_failed and any(m.topic == REQUESTS for m in messages):
            self.has_failed = True
            raise Unavailable("kafka", "the producer has failed")
        await super().publish(messages)


class LosingOne(MemoryInbox):
    """Tells that a partition is lost when the publication has failed, as one whose next message is gone."""

    def __init__(self, broker: MemoryBroker, publisher: FailingOnce) -> None:
        super().__init__(broker, GROUP, member="engine")
        self._publisher = publisher
        self.has_lost = False

    async def take(self, limit: int, wait_seconds: float) -> Sequence[Received]:
        if self._publisher.has_failed and not self.has_lost:
            self.has_lost = True
            await self._lose({LOST})
        return await super().take(limit, wait_seconds)


REQUESTS = topics.step_requests("a-service")


async def test_a_failed_publication_is_not_forgotten_with_a_lost_partition() -> None:
    """Else the offset would be committed behind a step request that nobody sends any more (PROTOCOL rule 6)."""
    installation = Installation(partitions=2)
    await installation.initialise()
    installation.registered = DEFINITION
    publisher = FailingOnce(installation.broker)
    inbox = LosingOne(installation.broker, publisher)
    # The next round of projecting, which would notice the failure, comes after the partition is lost.
    engine = installation.engine(
        "engine", inbox=inbox, publisher=publisher, projection_interval_ms=500
    )
    partitions = engine.processor.partitions
    await until(lambda: sum(each.inbox is not None for each in partitions.values()) == 2)

    installation.start_workflow("m1")
    await until(lambda: installation.is_done(1, partition=1 - LOST))

    engine.processor.stop()
    await engine.task
    assert inbox.has_lost
    assert installation.broker.topic(REQUESTS).logs[1 - LOST].end == 1
