"""Topics that refuse messages: how the publisher says so, and what an engine can mend itself."""
# The client's admin package does not mark what it exports.
# pyright: reportPrivateImportUsage=false

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)
from conveyor import topics
from conveyor.messages import Message, Record

from adapters.kafka.cluster import Cluster
from adapters.kafka.publisher import KafkaPublisher
from adapters.kafka.settings import KafkaSettings
from adapters.kafka.topic_repair import KafkaTopicRepair
from adapters.kafka.topics import describe, ensure_request_topic, init_topics
from application.ports import Refused, Unavailable
from deploy.local_services.kafka import start_kafka
from tests.adapters.kafka.conftest import PARTITIONS, Topics, delete_topics, unique_settings
from tests.contracts.publisher_contract import event

pytestmark = pytest.mark.kafka

REQUESTS = topics.step_requests("inventory-service")


@pytest.fixture
async def publisher(settings: KafkaSettings) -> AsyncIterator[KafkaPublisher]:
    publisher = KafkaPublisher(settings)
    yield publisher
    await publisher.close()


def record(topic: str, value: bytes = b"x", key: bytes | None = b"wf-1") -> Record:
    return Record(topic=topic, key=key, value=value, headers=(("ce_id", b"1"),))


def limit(topic: str, size: int) -> Callable[[KafkaSettings], None]:
    return configured(topic, {"max.message.bytes": str(size)})


def configured(topic: str, config: dict[str, str]) -> Callable[[KafkaSettings], None]:
    def change(settings: KafkaSettings) -> None:
        Cluster(settings).configure({settings.on_broker(topic): config})

    return change


def deleted(topic: str) -> Callable[[KafkaSettings], None]:
    return lambda settings: delete_topics(settings, [topic])


async def refusal(publisher: KafkaPublisher, *messages: Message | Record) -> Refused:
    """A topic that is being changed may still take some messages."""
    async with asyncio.timeout(60):
        while True:
            try:
                await publisher.publish(messages)
            except Refused as refused:
                return refused
            except Unavailable:
                # The client may lose its connection over the change, which is passing: the engine begins again.
                continue


CHANGES = {
    "missing": (deleted(REQUESTS), record(REQUESTS)),
    "events-missing": (deleted(topics.EVENTS), record(topics.EVENTS)),
    "dead-letters-missing": (deleted(topics.DEAD_LETTER), record(topics.DEAD_LETTER, key=None)),
    "limit-lowered": (limit(topics.EVENTS, 1_000), record(topics.EVENTS, b"x" * 10_000)),
    "compacted": (
        configured(topics.DEAD_LETTER, {"cleanup.policy": "compact"}),
        record(topics.DEAD_LETTER, key=None),
    ),
}


@pytest.mark.parametrize("case", CHANGES)
async def test_a_topic_that_an_operator_changed_is_mended(
    case: str, settings: KafkaSettings, publisher: KafkaPublisher, broker_topics: Topics
) -> None:
    """The publisher names the topic; the repair makes it as `init` does, and the message is written."""
    change, refused = CHANGES[case]
    await ensure_request_topic(settings, "inventory-service")
    # Both topics are known to the producer when one changes.
    await publisher.publish([event(1), record(REQUESTS), record(topics.DEAD_LETTER)])
    await asyncio.to_thread(change, settings)

    failure = await refusal(publisher, record(topics.REPLIES), refused, record(topics.REPLIES))

    assert failure.topic == refused.topic
    await publisher.publish([record(topics.REPLIES)])

    await KafkaTopicRepair(settings).try_again(refused.topic, refused)

    await publisher.publish([refused])
    found = await broker_topics.written(refused.topic, 2)
    assert refused.value in {each.value for each in found}
    assert (await describe(settings))[refused.topic].partitions in (PARTITIONS, 1)
    if refused.topic == REQUESTS:
        delete_topics(settings, [REQUESTS])


async def test_an_inbox_topic_is_never_made_anew(settings: KafkaSettings) -> None:
    """Its messages would be missing; only `conveyor init` creates it."""
    delete_topics(settings, [topics.REPLIES])

    with pytest.raises(Unavailable):
        await KafkaTopicRepair(settings).try_again(topics.REPLIES, record(topics.REPLIES))

    assert topics.REPLIES not in await describe(settings)
    await init_topics(settings, partitions=PARTITIONS)


async def test_a_name_that_is_none_is_refused(publisher: KafkaPublisher) -> None:
    """It holds up that topic only, whoever let it pass."""
    with pytest.raises(Refused) as failure:
        await publisher.publish([record(topics.step_requests("no service"))])

    assert failure.value.topic == topics.step_requests("no service")


# -- permissions -----------------------------------------------------------------------------------


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[KafkaSettings]:
    """A broker with an authorizer, which permits everything that no rule forbids."""
    properties = {
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "allow.everyone.if.no.acl.found": "true",
    }
    with start_kafka(tmp_path / "broker", properties=properties, is_short_lived=True) as broker:
        yield unique_settings(broker.address)


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_a_forbidden_topic_holds_up_no_other(guarded: KafkaSettings) -> None:
    """It is tried in vain until the permission is there; the reason is the broker's."""
    await init_topics(guarded, partitions=1, services=["inventory-service"])
    admin, rule = AdminClient(guarded.client()), forbidden(guarded.on_broker(REQUESTS))
    [imposed] = admin.create_acls([AclBinding(*rule)]).values()
    imposed.result()
    publisher, repair = KafkaPublisher(guarded), KafkaTopicRepair(guarded)

    failure = await refusal(publisher, event(1), record(REQUESTS))
    assert failure.topic == REQUESTS
    with pytest.raises(Unavailable, match="uthorization"):
        await repair.try_again(REQUESTS, record(REQUESTS))
    await publisher.publish([event(2)])

    [lifted] = admin.delete_acls([AclBindingFilter(*rule)]).values()
    lifted.result()
    await written(repair, record(REQUESTS))
    await publisher.close()


async def written(repair: KafkaTopicRepair, sample: Message | Record) -> None:
    """A rule that is gone may be known for a moment."""
    async with asyncio.timeout(30):
        while True:
            try:
                return await repair.try_again(sample.topic, sample)
            except Unavailable:
                continue


_Rule = tuple[ResourceType, str, ResourcePatternType, str, str, AclOperation, AclPermissionType]


def forbidden(topic: str) -> _Rule:
    """Nobody may write to the topic."""
    return (
        ResourceType.TOPIC,
        topic,
        ResourcePatternType.LITERAL,
        "User:ANONYMOUS",
        "*",
        AclOperation.WRITE,
        AclPermissionType.DENY,
    )
