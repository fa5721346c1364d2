"""Finds which services' requests are read: by members of consumer groups, and by committed offsets."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence

from confluent_kafka import TopicPartition as Place
from conveyor.topics import step_requests

from adapters.kafka.cluster import Cluster, TopicLayout
from adapters.kafka.settings import KafkaSettings
from application.ports import ReadServices, Unavailable

_TIMEOUT_SECONDS = 2.0


class KafkaRequestReaders:
    """`RequestReaders`, from all consumer groups that this service may see.

    It makes one request per group, so call it rarely. A service that was read once is not checked again.
    """

    def __init__(self, settings: KafkaSettings, cluster: Cluster | None = None) -> None:
        self._settings = settings
        self._cluster = cluster or Cluster(settings)
        self._read: set[str] = set()

    async def ever_read(self, services: Sequence[str]) -> ReadServices:
        unread = [service for service in services if service not in self._read]
        doubts: Sequence[str] = ()
        if unread:
            read, doubts = await asyncio.to_thread(self._find, unread)
            self._read |= read
        return ReadServices(frozenset(self._read.intersection(services)), "; ".join(doubts) or None)

    def _find(self, services: Sequence[str]) -> tuple[set[str], Sequence[str]]:
        """Those that are read, and why others may be."""
        # Fails fast if no broker answers. The requests below wait longer, and would delay the end of the process.
        self._cluster.brokers(_TIMEOUT_SECONDS)
        topics = {self._settings.on_broker(step_requests(each)): each for each in services}
        layouts = self._cluster.layouts(list(topics))
        groups, unlisted = self._cluster.groups()
        doubts = [f"not every broker lists its groups: {each.detail}" for each in unlisted]
        read: set[str] = set()
        asked: list[str] = []
        for group, assigned in self._cluster.assigned_topics(groups).items():
            if isinstance(assigned, Unavailable):
                doubts.append(_doubt(group, assigned))
            else:
                read |= assigned & layouts.keys()
                asked.append(group)
        for group in asked:
            places = _places(layouts, layouts.keys() - read)
            if not places:
                break
            try:
                committed = self._cluster.committed(group, places)
            except Unavailable as fault:
                doubts.append(_doubt(group, fault))
            else:
                read |= {topic for (topic, _), offset in committed.items() if offset is not None}
        return {topics[topic] for topic in read}, doubts


def _doubt(group: str, why: Unavailable) -> str:
    return f"what the group {group} reads is not known: {why.detail}"


def _places(layouts: Mapping[str, TopicLayout], topics: Iterable[str]) -> list[Place]:
    return [
        Place(topic, partition)
        for topic in topics
        for partition in range(layouts[topic].partitions)
    ]
