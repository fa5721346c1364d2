"""The partitions that the group assigned to this consumer, and those that it reads.

The client assigns automatically unless the rebalance callbacks call assign or unassign. It has two sets of calls: in
the classic protocol an assignment is complete, in the new one it is a difference.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from confluent_kafka import Consumer
from confluent_kafka import TopicPartition as Place

from adapters.kafka.settings import KafkaSettings


@dataclass(slots=True)
class Lane:
    """One partition of one inbox topic while it is read."""

    topic: str
    partition: int
    topic_id: str
    #: The offset after the last message handed on.
    next_offset: int
    #: The end of the lane when the client last reached it. Transaction markers take offsets too, but are never handed
    #: on.
    end_seen: int = 0
    #: The end of the lane when its last messages came. There may be more by now.
    end: int = 0

    @property
    def read_to(self) -> int:
        """All messages below this offset were read."""
        return max(self.next_offset, self.end_seen)


class Assignment:
    """The partitions of this consumer. Only complete ones, which are held in both inbox topics, are read."""

    def __init__(self, settings: KafkaSettings, consumer: Consumer) -> None:
        self._topics = [settings.on_broker(topic) for topic in settings.inbox_topics]
        self._incremental = settings.group_protocol == "consumer"
        self._consumer = consumer
        self._held: set[tuple[str, int]] = set()
        #: The lanes that are read, by the broker's topic name and partition.
        self.lanes: Mapping[tuple[str, int], Lane] = {}

    def complete(self) -> set[int]:
        """Partitions held in both topics."""
        return set[int].intersection(
            *(
                {partition for held, partition in self._held if held == topic}
                for topic in self._topics
            )
        )

    def held(self) -> set[int]:
        """Partitions held in one topic or both."""
        return {partition for _, partition in self._held}

    def open(self) -> set[int]:
        """Partitions that are read."""
        return {lane.partition for lane in self.lanes.values()}

    def given(self, places: Iterable[Place]) -> None:
        """Call this on every assignment of the group. Nothing of it is read yet."""
        self._held |= {(place.topic, place.partition) for place in places}
        if self._incremental:
            self._consumer.incremental_assign([])
        else:
            self._consumer.assign([])

    def withdrawn(self, places: Iterable[Place]) -> None:
        """Call this when the group revokes partitions. A partition lost in one topic is read in neither."""
        gone = {(place.topic, place.partition) for place in places}
        self._held -= gone
        closed = self._forget({partition for _, partition in gone})
        if self._incremental:
            self._consumer.incremental_unassign(closed)
        else:
            self._consumer.unassign()

    def begin(self, lanes: Mapping[tuple[str, int], Lane]) -> None:
        """Begin to read these lanes, each from its `next_offset`."""
        self.lanes = {**self.lanes, **lanes}
        if self._incremental:
            self._consumer.incremental_assign(_places(lanes))
        else:
            self._consumer.assign(_places(self.lanes))

    def stop(self, partitions: Collection[int]) -> None:
        """Stop reading these lanes, although they are held. The others continue."""
        closed = self._forget(partitions)
        if self._incremental:
            self._consumer.incremental_unassign(closed)
        else:
            self._consumer.assign(_places(self.lanes))

    def _forget(self, partitions: Collection[int]) -> list[Place]:
        closed = [place for place in self.lanes if place[1] in partitions]
        self.lanes = {place: lane for place, lane in self.lanes.items() if place not in closed}
        return [Place(topic, partition) for topic, partition in closed]


def _places(lanes: Mapping[tuple[str, int], Lane]) -> list[Place]:
    return [Place(topic, partition, lane.next_offset) for (topic, partition), lane in lanes.items()]
