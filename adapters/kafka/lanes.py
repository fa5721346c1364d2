"""The brokers' view of the inbox lanes at the moment of an assignment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from confluent_kafka import Consumer, KafkaException, TopicPartition

from adapters.kafka.cluster import TIMEOUT_SECONDS, Cluster, TopicLayout
from adapters.kafka.errors import TopicMismatchError, unavailable
from adapters.kafka.settings import KafkaSettings
from application.ports import LaneState


def inbox_layouts(settings: KafkaSettings, cluster: Cluster) -> Mapping[str, TopicLayout]:
    """Both inbox topics, by their names without the prefix.

    Raises `TopicMismatchError` unless both exist with the same number of partitions, `Unavailable`.
    """
    names = {topic: settings.on_broker(topic) for topic in settings.inbox_topics}
    found = cluster.layouts(list(names.values()))
    absent = [name for name in names.values() if name not in found]
    if absent:
        raise TopicMismatchError(f"no topic {', '.join(absent)}; run `conveyor init` first")
    layouts = {topic: found[name] for topic, name in names.items()}
    if len({layout.partitions for layout in layouts.values()}) > 1:
        counts = ", ".join(f"{topic} has {each.partitions}" for topic, each in layouts.items())
        raise TopicMismatchError(f"the inbox topics differ in their partition counts: {counts}")
    return layouts


def read_lanes(
    settings: KafkaSettings, cluster: Cluster, consumer: Consumer, partitions: Sequence[int]
) -> Sequence[LaneState]:
    """Both lanes of each partition: topic id, committed offset of the group, end. Blocks.

    Raises as `inbox_layouts` does.
    """
    layouts = inbox_layouts(settings, cluster)
    lanes = [(topic, partition) for topic in layouts for partition in partitions]
    places = [TopicPartition(settings.on_broker(topic), partition) for topic, partition in lanes]
    try:
        committed = consumer.committed(places, timeout=TIMEOUT_SECONDS)
    except KafkaException as error:
        raise unavailable(error) from error
    ends = cluster.ends(places)
    return [
        LaneState(
            topic=topic,
            partition=partition,
            topic_id=layouts[topic].id,
            committed=group.offset if group.offset >= 0 else None,
            end=ends[group.topic, group.partition],
        )
        for (topic, partition), group in zip(lanes, committed, strict=True)
    ]
