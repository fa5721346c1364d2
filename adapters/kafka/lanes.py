"""The brokers' view of the inbox lanes at the moment of an assignment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from confluent_kafka import Consumer, KafkaException, TopicPartition

from adapters.kafka.cluster import TIMEOUT_SECONDS, Cluster, TopicLayout
from adapters.kafka.errors import TopicMismatchError, unavailable
from adapters.kafka.settings import KafkaSettings
from application.ports import LaneState


def require_layout(settings: KafkaSettings, cluster: Cluster, partitions: int) -> None:
    """Raises `TopicMismatchError` unless both inbox topics have this number of partitions, and `Unavailable`."""
    for topic, layout in _inbox_layouts(settings, cluster).items():
        if layout.partitions != partitions:
            raise TopicMismatchError(
                f"topic {settings.on_broker(topic)} has {layout.partitions} partitions, but `conveyor init` made"
                f" {partitions}, on which the place of every workflow depends. Kafka cannot take partitions away:"
                " save the commands that were not decided, delete both inbox topics, run"
                f" `conveyor init --partitions {partitions}` and send the commands again"
                " (docs/operations/recovery.md)"
            )


def _inbox_layouts(settings: KafkaSettings, cluster: Cluster) -> Mapping[str, TopicLayout]:
    """Both inbox topics, by their names without the prefix. Raises `TopicMismatchError`, `Unavailable`."""
    names = {topic: settings.on_broker(topic) for topic in settings.inbox_topics}
    found = cluster.layouts(list(names.values()))
    absent = [name for name in names.values() if name not in found]
    if absent:
        raise TopicMismatchError(f"no topic {', '.join(absent)}; run `conveyor init` first")
    return {topic: found[name] for topic, name in names.items()}


def read_lanes(
    settings: KafkaSettings, cluster: Cluster, consumer: Consumer, partitions: Sequence[int]
) -> Sequence[LaneState]:
    """Both lanes of each partition: topic id, committed offset of the group, end. Blocks.

    Raises `TopicMismatchError` if a topic is gone, `Unavailable`.
    """
    layouts = _inbox_layouts(settings, cluster)
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
