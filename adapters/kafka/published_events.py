"""The events topic from its oldest record to its end, for `conveyor verify`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence

from confluent_kafka import Consumer, KafkaException
from confluent_kafka import TopicPartition as Place
from conveyor.kafka_records import read

from adapters.kafka.cluster import TIMEOUT_SECONDS, Cluster, across_leader_changes
from adapters.kafka.errors import (
    END_OF_PARTITION,
    ClientErrors,
    TopicMismatchError,
    unavailable,
)
from adapters.kafka.received import BrokerMessage, time_of
from adapters.kafka.settings import CLIENT_LOG, KafkaSettings
from application.ports import Published, PublishedRange

_BATCH = 1_000
_WAIT_SECONDS = 0.5
#: A broker that delivers nothing for this long is away.
_SILENCE_SECONDS = 30.0


class KafkaPublishedEvents:
    """`PublishedEvents` on Kafka: a consumer without a group, which leaves no trace on the broker."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._topic = settings.on_broker(settings.events_topic)

    async def ranges(self) -> Sequence[PublishedRange]:
        """Raises `TopicMismatchError` before `init` ran."""
        return await asyncio.to_thread(self._ranges)

    async def read(self, ranges: Sequence[PublishedRange]) -> AsyncIterator[Published]:
        ends = {each.partition: each.end for each in ranges if each.start < each.end}
        starts = [Place(self._topic, each.partition, each.start) for each in ranges]
        errors = ClientErrors()
        consumer = self._consumer(errors)
        try:
            consumer.assign([place for place in starts if place.partition in ends])
            heard_at = time.monotonic()
            while ends:
                batch = await asyncio.to_thread(consumer.consume, _BATCH, _WAIT_SECONDS)
                for message in batch:
                    partition, offset = message.partition() or 0, message.offset() or 0
                    if _is_record(message) and offset < ends.get(partition, 0):
                        yield self._published(message, partition, offset)
                        offset += 1
                    if offset >= ends.get(partition, 0):
                        ends.pop(partition, None)
                if batch:
                    heard_at = time.monotonic()
                elif time.monotonic() - heard_at > _SILENCE_SECONDS:
                    raise errors.explain()
        finally:
            await asyncio.to_thread(consumer.close)

    def _ranges(self) -> Sequence[PublishedRange]:
        layout = Cluster(self._settings).layouts([self._topic]).get(self._topic)
        if layout is None:
            raise TopicMismatchError(f"no topic {self._topic}; run `conveyor init` first")
        consumer = self._consumer(ClientErrors())
        try:
            return [self._range(consumer, number) for number in range(layout.partitions)]
        finally:
            consumer.close()

    def _range(self, consumer: Consumer, partition: int) -> PublishedRange:
        place = Place(self._topic, partition)
        try:
            kept = across_leader_changes(
                lambda: consumer.get_watermark_offsets(place, TIMEOUT_SECONDS)
            )
        except KafkaException as error:
            raise unavailable(error) from error
        return PublishedRange(partition, *kept)

    def _consumer(self, errors: ClientErrors) -> Consumer:
        return Consumer(
            {
                # The client requires a name; without a subscription or commit it creates no group.
                "group.id": f"{self._settings.group_id}-verify",
                "enable.auto.commit": False,
                # Retention may delete what was to be read first.
                "auto.offset.reset": "earliest",
                # The end comes as an error event, because the last offset may hold no record.
                "enable.partition.eof": True,
                "error_cb": errors,
                **self._settings.client(),
            },
            logger=CLIENT_LOG,
        )

    def _published(self, message: BrokerMessage, partition: int, offset: int) -> Published:
        _, decoded = read(message, self._settings.events_topic)
        return Published(partition, offset, time_of(message), decoded)


def _is_record(message: BrokerMessage) -> bool:
    """False at the end of a partition. Raises `Unavailable`."""
    error = message.error()
    if error is not None and error.code() != END_OF_PARTITION:
        raise unavailable(error)
    return error is None
