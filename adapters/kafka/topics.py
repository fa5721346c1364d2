"""Creating and describing the topics of the contract.

Properties that a guarantee depends on are also set on existing topics. The rest are defaults for new ones.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from confluent_kafka import TopicPartition as Place
from confluent_kafka.cimpl import NewTopic
from conveyor import topics

from adapters.kafka.cluster import TIMEOUT_SECONDS, Cluster, TopicLayout
from adapters.kafka.errors import TopicMismatchError
from adapters.kafka.settings import KafkaSettings
from domain.aggregate.position import TopicPartition

_MIB = 1024 * 1024
_DAY_MS = 24 * 3600 * 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class _TopicSpec:
    """A topic by its name without the prefix."""

    name: str
    partitions: int
    #: Properties that a guarantee depends on.
    required: Mapping[str, str]
    defaults: Mapping[str, str] = field(default_factory=dict[str, str])


async def init_topics(
    settings: KafkaSettings,
    *,
    partitions: int = 12,
    replication_factor: int | None = None,
    services: Sequence[str] = (),
) -> Mapping[str, str]:
    """Create missing topics, including the request topics of the services. May be repeated.

    Without a replication factor it is 3, or the number of brokers if there are fewer. Returns the
    topic id of every topic by name. Raises `TopicMismatchError` if an inbox topic exists with
    another number of partitions (and changes nothing then), `Unavailable`.
    """
    specs = _contract_topics(settings, partitions, services)
    return await asyncio.to_thread(_create, settings, specs, replication_factor)


async def ensure_request_topic(settings: KafkaSettings, service: str) -> None:
    """Create the request topic of a service, sized as the inbox, if it is missing.

    Raises `TopicMismatchError` before `init` ran, `Unavailable`.
    """
    await restore_topic(settings, topics.step_requests(service))


async def restore_topic(settings: KafkaSettings, topic: str) -> None:
    """Create a topic of the contract as `init` does, or reset the properties that a guarantee depends on.

    Never touches an inbox topic: a new one would lack accepted messages. Raises
    `TopicMismatchError` before `init` ran, `Unavailable`.
    """
    cluster = Cluster(settings)
    commands = settings.on_broker(settings.commands_topic)
    layout = (await asyncio.to_thread(cluster.layouts, [commands])).get(commands)
    if layout is None:
        raise TopicMismatchError(f"no topic {commands}; run `conveyor init` first")
    requests = topics.step_requests("")
    services = [topic.removeprefix(requests)] if topic.startswith(requests) else []
    specs = [
        spec
        for spec in _contract_topics(settings, layout.partitions, services)
        if spec.name == topic and topic not in settings.inbox_topics
    ]
    await asyncio.to_thread(_create, settings, specs, layout.replication_factor)


async def inbox_kept_from(settings: KafkaSettings, partitions: int) -> Mapping[TopicPartition, int]:
    """The offset of the oldest message in each partition of both inbox topics; the end of an empty one.

    Raises `Unavailable`.
    """
    names = {settings.on_broker(topic): topic for topic in settings.inbox_topics}
    places = [Place(name, number) for name in names for number in range(partitions)]
    found = await asyncio.to_thread(Cluster(settings).log_starts, places)
    return {TopicPartition(names[name], number): offset for (name, number), offset in found.items()}


async def names_of(settings: KafkaSettings, ids: Collection[str]) -> Mapping[str, str]:
    """Topic id -> the broker's name of that topic, of those that exist. Raises `Unavailable`."""

    def ask() -> dict[str, str]:
        cluster = Cluster(settings)
        topics = cluster.topics()
        found = cluster.layouts(topics) if topics else {}
        return {layout.id: name for name, layout in found.items() if layout.id in ids}

    return await asyncio.to_thread(ask)


async def describe(settings: KafkaSettings) -> Mapping[str, TopicLayout]:
    """The topics of the contract that exist, request topics included. Raises `Unavailable`."""

    def ask() -> dict[str, TopicLayout]:
        cluster = Cluster(settings)
        names = {settings.on_broker(each.name) for each in _contract_topics(settings, 1, ())}
        requests = settings.on_broker(topics.step_requests(""))
        found = cluster.layouts(
            [name for name in cluster.topics() if name in names or name.startswith(requests)]
        )
        return {name.removeprefix(settings.topic_prefix): found[name] for name in sorted(found)}

    return await asyncio.to_thread(ask)


def _contract_topics(
    settings: KafkaSettings, partitions: int, services: Sequence[str]
) -> list[_TopicSpec]:
    inbox = {
        # Kept until `KafkaInboxTrimmer` deletes them behind the committed offset (PROTOCOL rule 16).
        "retention.ms": "-1",
        "cleanup.policy": "delete",
        "max.message.bytes": str(2 * _MIB),
        # A record without a CloudEvent time gets the broker's time, not the producer's.
        "message.timestamp.type": "LogAppendTime",
    }
    log = {"cleanup.policy": "delete", "max.message.bytes": str(2 * _MIB)}
    week = {"retention.ms": str(7 * _DAY_MS)}
    return [
        *(
            _TopicSpec(name=name, partitions=partitions, required=inbox)
            for name in settings.inbox_topics
        ),
        _TopicSpec(name=settings.events_topic, partitions=partitions, required=log, defaults=week),
        *(_requests(service, partitions) for service in services),
        _TopicSpec(name=topics.SYSTEM_COMMANDS, partitions=1, required=log, defaults=week),
        _TopicSpec(
            name=topics.LOAD_SAMPLES,
            partitions=partitions,
            required={},
            defaults={"retention.ms": str(_DAY_MS)},
        ),
        _TopicSpec(name=topics.LOAD, partitions=partitions, required={"cleanup.policy": "compact"}),
        _TopicSpec(
            name=topics.DEAD_LETTER,
            partitions=1,
            required={"cleanup.policy": "delete", "max.message.bytes": str(4 * _MIB)},
            defaults={"retention.ms": str(30 * _DAY_MS)},
        ),
    ]


def _requests(service: str, partitions: int) -> _TopicSpec:
    # PROTOCOL rule 2: a participant remembers a key for longer than its request can be delivered again.
    return _TopicSpec(
        name=topics.step_requests(service),
        partitions=partitions,
        required={"cleanup.policy": "delete", "max.message.bytes": str(2 * _MIB)},
        defaults={"retention.ms": str(7 * _DAY_MS)},
    )


def _create(
    settings: KafkaSettings, specs: Sequence[_TopicSpec], replication_factor: int | None
) -> Mapping[str, str]:
    cluster = Cluster(settings)
    replication_factor = replication_factor or min(3, cluster.brokers(TIMEOUT_SECONDS))
    durability = {"unclean.leader.election.enable": "false"}
    if replication_factor >= 3:
        durability["min.insync.replicas"] = "2"
    wanted = {settings.on_broker(spec.name): spec for spec in specs}
    found = cluster.layouts(list(wanted))
    _check_inbox(settings, wanted, found)
    cluster.create(
        [
            NewTopic(
                name,
                num_partitions=spec.partitions,
                replication_factor=replication_factor,
                config={**spec.defaults, **spec.required, **durability},
            )
            for name, spec in wanted.items()
            if name not in found
        ]
    )
    cluster.configure({name: {**wanted[name].required, **durability} for name in found})
    created = cluster.await_topics(list(wanted))
    # Check again, in case a concurrent `init` used another number.
    _check_inbox(settings, wanted, created)
    return {spec.name: created[name].id for name, spec in wanted.items()}


def _check_inbox(
    settings: KafkaSettings,
    wanted: Mapping[str, _TopicSpec],
    found: Mapping[str, TopicLayout],
) -> None:
    for name, layout in found.items():
        asked = wanted[name].partitions
        if wanted[name].name in settings.inbox_topics and layout.partitions != asked:
            raise TopicMismatchError(
                f"topic {name} has {layout.partitions} partitions, not {asked}; the number is fixed"
                " at init, because keys and positions belong to a partition. Ask for"
                f" {layout.partitions}, or begin with new topics"
            )
