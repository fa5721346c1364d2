"""A topic that refuses messages holds up nothing else, and nothing that belongs to it is lost (ADR 24)."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from conveyor import topics
from conveyor.messages import Message, Record

from adapters.memory.broker import MemoryBroker
from adapters.memory.publisher import MemoryPublisher
from application.ports import Refused, Unavailable
from tests.application.installation import DEFINITION, Engine, Installation
from tests.waiting import until

REQUESTS = topics.step_requests("a-service")


class Refusing(MemoryPublisher):
    """Some topics refuse everything; as a repair it mends what it may."""

    def __init__(self, broker: MemoryBroker, *refusing: str) -> None:
        super().__init__(broker)
        self.refusing = set(refusing)
        self.may_mend = False
        self.attempts = 0

    async def publish(self, messages: Sequence[Message | Record]) -> None:
        for message in messages:
            if message.topic in self.refusing:
                raise Refused("kafka", message.topic, "no such topic")
            await super().publish([message])

    async def try_again(self, topic: str, sample: Message | Record) -> None:
        self.attempts += 1
        if not self.may_mend:
            raise Unavailable("kafka", "may not create it")
        self.refusing.discard(topic)
        await self.publish([sample])


class Site:
    """One partition, one engine after another."""

    def __init__(self, *refusing: str) -> None:
        self.installation = Installation(partitions=1)
        self.installation.registered = DEFINITION
        self.publisher = Refusing(self.installation.broker, *refusing)

    async def engine(self) -> Engine:
        await self.installation.initialise()
        return self.installation.engine("engine", publisher=self.publisher, repair=self.publisher)

    def written(self, topic: str) -> int:
        return self.installation.broker.topic(topic).logs[0].end

    async def decided(self, message_id: str) -> None:
        await until(lambda: self.installation.outcomes(message_id))


async def stop(engine: Engine) -> None:
    engine.processor.stop()
    await engine.task


@pytest.fixture
def site() -> Site:
    return Site(REQUESTS)


async def test_everything_else_goes_on_and_nothing_is_committed(site: Site) -> None:
    """Commands are decided and their events published; health names the topic, and why and what to do."""
    engine = await site.engine()

    for number in range(3):
        site.installation.start_workflow(f"m{number}", f"wf-{number}")
        await site.decided(f"m{number}")
    await until(lambda: site.publisher.attempts)

    held = engine.processor.health.held_topics
    assert list(held) == [REQUESTS]
    assert "conveyor init" in held[REQUESTS]
    await until(lambda: "may not create it" in held[REQUESTS])
    assert not engine.processor.health.troubles
    await stop(engine)
    assert not site.installation.is_done(1, partition=0)


async def test_what_was_held_back_goes_out_when_the_topic_is_mended(site: Site) -> None:
    """Every request, in order, and only then the offsets are committed."""
    engine = await site.engine()
    for number in range(3):
        site.installation.start_workflow(f"m{number}", f"wf-{number}")
        await site.decided(f"m{number}")

    site.publisher.may_mend = True
    await until(lambda: site.installation.is_done(3, partition=0))

    log = site.installation.broker.topic(REQUESTS).logs[0]
    asked = [each.message.key for each in log.read(0, log.end) if isinstance(each.message, Message)]
    assert set(asked) == {"wf-0", "wf-1", "wf-2"}
    assert not engine.processor.health.held_topics
    await stop(engine)


async def test_what_was_held_back_outlives_its_engine(site: Site) -> None:
    """The next engine finds it behind the committed offset."""
    engine = await site.engine()
    site.installation.start_workflow("m1")
    await site.decided("m1")
    await stop(engine)
    assert site.written(REQUESTS) == 0

    site.publisher.refusing.clear()
    engine = await site.engine()
    await until(lambda: site.installation.is_done(1, partition=0))

    assert site.written(REQUESTS) >= 1
    await stop(engine)


async def test_dead_letters_are_held_back_too() -> None:
    """A message without a topic for its dead letter is not passed over: it stays in the inbox."""
    site = Site(topics.DEAD_LETTER)
    engine = await site.engine()
    site.installation.broker.append(Record(topic=topics.COMMANDS, key=b"k", value=b"?"))
    site.installation.start_workflow("m1")
    await site.decided("m1")
    assert not site.installation.is_done(2, partition=0)

    site.publisher.may_mend = True
    await until(lambda: site.installation.is_done(2, partition=0))

    assert site.written(topics.DEAD_LETTER) >= 1
    await stop(engine)


async def test_events_are_published_in_order_when_their_topic_is_mended() -> None:
    """The message that tries the topic is the first one that was left out, however large others are."""
    site = Site(topics.EVENTS)
    engine = await site.engine()
    for number in range(3):
        site.installation.start_workflow(f"m{number}", f"wf-{number}")
    await until(lambda: site.publisher.attempts)

    site.publisher.may_mend = True
    await until(lambda: site.installation.is_done(3, partition=0))

    log = site.installation.broker.topic(topics.EVENTS).logs[0]
    read = (each.message for each in log.read(0, log.end))
    published = [message.id for message in read if isinstance(message, Message)]
    for number in range(3):
        ids = dict.fromkeys(id for id in published if id.startswith(f"wf-{number}:"))
        assert list(ids) == [f"wf-{number}:{version}" for version in range(1, len(ids) + 1)]
    await stop(engine)
