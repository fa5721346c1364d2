"""The readers of services' requests: members of consumer groups, and what groups have committed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from confluent_kafka import TopicPartition as Place
from conveyor.topics import step_requests

from adapters.kafka.cluster import Cluster
from adapters.kafka.settings import KafkaSettings

_TIMEOUT_SECONDS = 2.0


class KafkaRequestReaders:
    """`RequestReaders` by all groups that this service may see.

    Asks once per group, so the caller should do it seldom. A service that was read is never asked about again.
    """

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._cluster = Cluster(settings)
        self._read: set[str] = set()

    async def ever_read(self, services: Sequence[str]) -> frozenset[str]:
        unread = [service for service in services if service not in self._read]
        if unread:
            self._read |= await asyncio.to_thread(self._find, unread)
        return frozenset(self._read.intersection(services))

    def _find(self, services: Sequence[str]) -> set[str]:
        # Fails soon if no broker answers. The questions below wait longer, and the end of the process waits for them.
        self._cluster.brokers(_TIMEOUT_SECONDS)
        topics = {self._settings.on_broker(step_requests(each)): each for each in services}
        layouts = self._cluster.layouts(list(topics))
        groups = self._cluster.groups()
        read = self._cluster.assigned_topics(groups) & layouts.keys()
        for group in groups:
            places = [
                Place(topic, partition)
                for topic in layouts.keys() - read
                for partition in range(layouts[topic].partitions)
            ]
            if not places:
                break
            committed = self._cluster.committed(group, places)
            read |= {topic for (topic, _), offset in committed.items() if offset is not None}
        return {topics[topic] for topic in read}
