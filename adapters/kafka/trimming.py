"""Deletes finished messages from the inbox topics (PROTOCOL rule 16)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from confluent_kafka import OFFSET_INVALID
from confluent_kafka import TopicPartition as Place

from adapters.kafka.cluster import Cluster
from adapters.kafka.settings import KafkaSettings
from application.ports import InboxStart, Trimmed, Unavailable
from domain.aggregate.position import TopicPartition


class KafkaInboxTrimmer:
    """`InboxTrimmer` on Kafka. It keeps no connection between two rounds."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings

    async def trim(self, starts: Sequence[InboxStart]) -> Trimmed:
        return await asyncio.to_thread(self._trim, starts)

    def _trim(self, starts: Sequence[InboxStart]) -> Trimmed:
        cluster = Cluster(self._settings)
        names = {topic: self._settings.on_broker(topic) for topic in self._settings.inbox_topics}
        layouts = cluster.layouts(list(names.values()))
        ids = {topic: layouts[name].id for topic, name in names.items() if name in layouts}
        known = [
            self._place(TopicPartition(s.topic, s.partition)) for s in starts if s.topic in ids
        ]
        if not known:
            return Trimmed(messages=0, failures={})
        # Read after the starts: both only grow, so stale values delete less.
        group = cluster.committed(self._settings.group_id, known)
        committed = {self._named(place): offset for place, offset in group.items()}
        bounds = deletable(starts, ids, committed)
        return self._delete(cluster, bounds)

    def _delete(self, cluster: Cluster, bounds: Mapping[TopicPartition, int]) -> Trimmed:
        kept_from = cluster.log_starts([self._place(lane) for lane in bounds]) if bounds else {}
        # By name: the broker cannot delete by topic id. If the topic is recreated at this very moment, the bound is
        # beyond its end, which the broker refuses.
        due = [
            self._place(lane, bound)
            for lane, bound in bounds.items()
            if bound > kept_from[self._settings.on_broker(lane.topic), lane.partition]
        ]
        messages = 0
        failures: dict[TopicPartition, str] = {}
        for place, outcome in (cluster.delete_below(due) if due else {}).items():
            if isinstance(outcome, Unavailable):
                failures[self._named(place)] = outcome.detail
            else:
                messages += outcome - kept_from[place]
        return Trimmed(messages=messages, failures=failures)

    def _place(self, lane: TopicPartition, offset: int = OFFSET_INVALID) -> Place:
        name = self._settings.on_broker(lane.topic)
        return Place(name, lane.partition, offset)

    def _named(self, place: tuple[str, int]) -> TopicPartition:
        return TopicPartition(place[0].removeprefix(self._settings.topic_prefix), place[1])


def deletable(
    starts: Sequence[InboxStart],
    topic_ids: Mapping[str, str],
    committed: Mapping[TopicPartition, int | None],
) -> Mapping[TopicPartition, int]:
    """The offset below which each partition's messages may be deleted; absent if none may.

    Both the store and the group must be past a message. An engine that lost the partition could advance the store's
    start alone, while its successor still begins at an older one; the group refuses that engine's commit. The owner of
    the partition is at or above the group's committed offset, and so is every later owner, which begins at the higher
    of the two.
    """
    bounds: dict[TopicPartition, int] = {}
    for start in starts:
        lane = TopicPartition(start.topic, start.partition)
        group = committed.get(lane)
        # Positions compare only within one topic id (PROTOCOL rule 11).
        if group is not None and topic_ids.get(start.topic) == start.topic_id:
            bounds[lane] = min(start.offset, group)
    return bounds
