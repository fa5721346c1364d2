"""Creating the topics of the contract on a real broker."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import ConfigResource
from confluent_kafka.admin._resource import ResourceType
from confluent_kafka.cimpl import NewTopic
from conveyor import topics

from adapters.kafka.errors import TopicMismatchError
from adapters.kafka.health import KafkaProbe
from adapters.kafka.inbox import KafkaInbox
from adapters.kafka.settings import KafkaSettings
from adapters.kafka.topics import describe, ensure_request_topic, init_topics
from tests.adapters.kafka.conftest import DEADLINE_SECONDS, delete_topics, unique_settings
from tests.contracts.inbox_contract import RecordingListener
from tests.waiting import eventually

pytestmark = pytest.mark.kafka


@pytest.fixture
def fresh(kafka_bootstrap: str) -> Iterator[KafkaSettings]:
    """Settings under whose prefix there is no topic yet."""
    settings = unique_settings(kafka_bootstrap)
    yield settings
    if left := asyncio.run(describe(settings)):
        delete_topics(settings, list(left))


async def config_of(settings: KafkaSettings, topic: str) -> Mapping[str, str]:
    client = AdminClient(settings.client())
    resource = ConfigResource(ResourceType.TOPIC, settings.on_broker(topic))
    entries = await asyncio.to_thread(client.describe_configs([resource])[resource].result)
    return {name: entry.value for name, entry in entries.items()}


async def create(settings: KafkaSettings, counts: Mapping[str, int]) -> None:
    client = AdminClient(settings.client())
    new = [NewTopic(settings.on_broker(name), count, 1) for name, count in counts.items()]
    for answer in client.create_topics(new).values():
        await asyncio.to_thread(answer.result)
    # The controller has them; the broker that answers everybody hears of it a moment later.
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not counts.keys() <= (await describe(settings)).keys():
            pass


async def test_init_creates_every_topic_of_the_contract(fresh: KafkaSettings) -> None:
    """All topics exist afterwards, with request topics and the ids that `init` answers."""
    ids = await init_topics(fresh, partitions=3, services=["inventory-service", "payment-service"])

    found = await describe(fresh)
    assert {name: layout.id for name, layout in found.items()} == dict(ids)
    assert {name: layout.partitions for name, layout in found.items()} == {
        topics.COMMANDS: 3,
        topics.REPLIES: 3,
        topics.EVENTS: 3,
        topics.step_requests("inventory-service"): 3,
        topics.step_requests("payment-service"): 3,
        topics.SYSTEM_COMMANDS: 1,
        topics.LOAD_SAMPLES: 3,
        topics.LOAD: 3,
        topics.DEAD_LETTER: 1,
    }
    assert {layout.replication_factor for layout in found.values()} == {1}
    assert {layout.under_replicated for layout in found.values()} == {0}


@pytest.mark.parametrize(
    ("topic", "expected"),
    [
        (topics.COMMANDS, {"retention.ms": "-1", "max.message.bytes": "2097152"}),
        (topics.REPLIES, {"retention.ms": "-1", "max.message.bytes": "2097152"}),
        (topics.DEAD_LETTER, {"max.message.bytes": "4194304"}),
        (topics.EVENTS, {"cleanup.policy": "delete"}),
        (topics.LOAD, {"cleanup.policy": "compact"}),
        (topics.COMMANDS, {"unclean.leader.election.enable": "false"}),
        (topics.REPLIES, {"message.timestamp.type": "LogAppendTime"}),
    ],
)
async def test_init_configures_what_guarantees_depend_on(
    settings: KafkaSettings, topic: str, expected: Mapping[str, str]
) -> None:
    """Inbox messages are kept, events are never compacted, large messages fit where they must."""
    config = await config_of(settings, topic)

    assert {name: config[name] for name in expected} == expected


async def test_init_may_be_repeated(settings: KafkaSettings) -> None:
    """A second run changes nothing and answers the same ids."""
    first = await init_topics(settings, partitions=4)
    second = await init_topics(settings, partitions=4)

    assert first == second


async def test_init_repairs_topics_that_were_there_before(fresh: KafkaSettings) -> None:
    """An inbox topic made by somebody else gets the configuration that the guarantees need."""
    await create(fresh, {topics.COMMANDS: 2, topics.REPLIES: 2})

    await init_topics(fresh, partitions=2)

    async def keeps_all() -> bool:
        return (await config_of(fresh, topics.COMMANDS))["retention.ms"] == "-1"

    assert await eventually(keeps_all)


@pytest.mark.parametrize("counts", [(2, 2), (4, 2)])
async def test_init_refuses_another_number_of_partitions(
    fresh: KafkaSettings, counts: Sequence[int]
) -> None:
    """Inbox topics that differ from what is asked or from each other are left alone."""
    await create(fresh, dict(zip(fresh.inbox_topics, counts, strict=True)))

    with pytest.raises(TopicMismatchError, match="has 2 partitions, not 4"):
        await init_topics(fresh, partitions=4)

    assert set(await describe(fresh)) == set(fresh.inbox_topics)


@pytest.mark.parametrize(
    ("counts", "text"),
    [
        ({topics.COMMANDS: 2}, "run `conveyor init` first"),
        (
            {topics.COMMANDS: 2, topics.REPLIES: 3},
            r"replies has 3 .* `conveyor init --partitions 2`",
        ),
        (
            {topics.COMMANDS: 3, topics.REPLIES: 3},
            r"commands has 3 .* `conveyor init --partitions 2`",
        ),
        (
            {topics.COMMANDS: 2, topics.REPLIES: 1},
            r"replies has 1 .* `conveyor init --partitions 2`",
        ),
    ],
)
async def test_an_inbox_does_not_start_on_other_topics(
    fresh: KafkaSettings, counts: Mapping[str, int], text: str
) -> None:
    """Missing topics and another number of partitions are refused at the start, with what to do."""
    await create(fresh, counts)
    inbox = KafkaInbox(fresh, 2)

    with pytest.raises(TopicMismatchError, match=text):
        await inbox.start(RecordingListener())

    await inbox.close()


async def test_a_new_service_gets_its_request_topic(settings: KafkaSettings) -> None:
    """It has as many partitions as the inbox; asking again is fine."""
    await ensure_request_topic(settings, "labelling-service")
    await ensure_request_topic(settings, "labelling-service")

    name = topics.step_requests("labelling-service")
    assert (await describe(settings))[name].partitions == 4
    delete_topics(settings, [name])


async def test_the_probe_finds_the_broker(settings: KafkaSettings) -> None:
    """No problem while the broker answers."""
    assert await KafkaProbe(settings).problem() is None


async def test_the_probe_says_why_nothing_answers() -> None:
    """A wrong address is named with the connection's error."""
    nowhere = KafkaSettings(bootstrap_servers="127.0.0.1:1")

    assert "127.0.0.1:1" in (await KafkaProbe(nowhere).problem() or "")
