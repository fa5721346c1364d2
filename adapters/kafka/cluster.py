"""Requests to the brokers. They block, so call them in a thread.

Each returns or raises `Unavailable`. Topic names here are those of the broker.
"""
# The client's admin package has half-typed signatures and does not mark what it exports.
# pyright: reportPrivateImportUsage=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TypeVar, cast

from confluent_kafka import (
    ConsumerGroupTopicPartitions,
    IsolationLevel,
    KafkaError,
    KafkaException,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ConsumerGroupDescription,
    DeletedRecords,
    ListOffsetsResultInfo,
    NewTopic,
    OffsetSpec,
    ResourceType,
    TopicDescription,
)

from adapters.kafka.errors import LEADER_CHANGES, ClientErrors, error_of, unavailable
from adapters.kafka.settings import KafkaSettings
from application.ports import Unavailable

T = TypeVar("T")

#: How long one request may take.
TIMEOUT_SECONDS = 10.0
_RETRY_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class TopicLayout:
    """Identity and size of one topic."""

    id: str
    partitions: int
    replication_factor: int
    #: Partitions with fewer replicas in sync than assigned.
    under_replicated: int


def across_leader_changes(ask: Callable[[], T]) -> T:
    """Returns what `ask` returns; repeats it while a partition is between two leaders. Raises KafkaException."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while True:
        try:
            return ask()
        except KafkaException as error:
            if error_of(error).code() not in LEADER_CHANGES or time.monotonic() > deadline:
                raise
        time.sleep(_RETRY_SECONDS)


class Cluster:
    """The brokers behind one set of settings."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._errors = ClientErrors()
        # Its log is off: what matters is raised as an error, with the connection's error as the cause.
        self._admin = AdminClient({**settings.client(), "log_level": 0}, error_cb=self._errors)

    def layouts(self, topics: Sequence[str]) -> dict[str, TopicLayout]:
        """The layouts of those topics that exist."""
        answers: Mapping[str, Future[TopicDescription]]
        answers = self._admin.describe_topics(
            TopicCollection(list(topics)), request_timeout=TIMEOUT_SECONDS
        )
        found: dict[str, TopicLayout] = {}
        for topic, answer in answers.items():
            try:
                found[topic] = _layout(answer.result())
            except KafkaException as error:
                if error_of(error).code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                    raise self._unavailable(error) from error
        return found

    def ends(self, places: Sequence[TopicPartition]) -> dict[tuple[str, int], int]:
        """The offset after the last message of each partition, without messages of open transactions."""
        return self._offsets(places, OffsetSpec.latest())

    def log_starts(self, places: Sequence[TopicPartition]) -> dict[tuple[str, int], int]:
        """The offset of the oldest message that each partition keeps; its end if it keeps none."""
        return self._offsets(places, OffsetSpec.earliest())

    def _offsets(
        self, places: Sequence[TopicPartition], which: object
    ) -> dict[tuple[str, int], int]:
        try:
            return across_leader_changes(lambda: self._ask_offsets(places, cast(OffsetSpec, which)))
        except KafkaException as error:
            raise self._unavailable(error) from error

    def _ask_offsets(
        self, places: Sequence[TopicPartition], which: OffsetSpec
    ) -> dict[tuple[str, int], int]:
        answers: Mapping[TopicPartition, Future[ListOffsetsResultInfo]]
        answers = self._admin.list_offsets(
            dict.fromkeys(places, which),
            # A consumer sees only committed messages.
            isolation_level=IsolationLevel.READ_COMMITTED,
            request_timeout=TIMEOUT_SECONDS,
        )
        return {
            (place.topic, place.partition): answer.result().offset
            for place, answer in answers.items()
        }

    def committed(
        self, group: str, places: Sequence[TopicPartition]
    ) -> dict[tuple[str, int], int | None]:
        """The group's committed offset of each partition; None if there is none."""
        asked = ConsumerGroupTopicPartitions(group, list(places))
        answers: Mapping[str, Future[ConsumerGroupTopicPartitions]]
        try:
            answers = self._admin.list_consumer_group_offsets(
                [asked], request_timeout=TIMEOUT_SECONDS
            )
            found = answers[group].result().topic_partitions or []
        except KafkaException as error:
            raise self._unavailable(error) from error
        for place in found:
            if place.error is not None:
                raise unavailable(place.error)
        return {
            (place.topic, place.partition): place.offset if place.offset >= 0 else None
            for place in found
        }

    def groups(self) -> tuple[list[str], list[Unavailable]]:
        """Every consumer group that this client may see, and why brokers may have more."""
        try:
            found = self._admin.list_consumer_groups(request_timeout=TIMEOUT_SECONDS).result()
        except KafkaException as error:
            raise self._unavailable(error) from error
        groups = sorted(each.group_id for each in found.valid)
        return groups, [self._unavailable(error) for error in found.errors or ()]

    def assigned_topics(self, groups: Sequence[str]) -> dict[str, set[str] | Unavailable]:
        """Topics that the members of each group have partitions of, now, or why that is not known."""
        if not groups:
            return {}
        answers: Mapping[str, Future[ConsumerGroupDescription]]
        answers = self._admin.describe_consumer_groups(
            list(groups), request_timeout=TIMEOUT_SECONDS
        )
        outcomes: dict[str, set[str] | Unavailable] = {}
        for group, answer in answers.items():
            try:
                outcomes[group] = _assigned_topics(answer.result())
            except KafkaException as error:
                # It ended meanwhile.
                is_gone = error_of(error).code() == KafkaError.GROUP_ID_NOT_FOUND
                outcomes[group] = set() if is_gone else self._unavailable(error)
        return outcomes

    def delete_below(
        self, places: Sequence[TopicPartition]
    ) -> dict[tuple[str, int], int | Unavailable]:
        """Delete messages below each partition's offset. Returns where each partition begins now, or why nothing is
        known to be deleted there."""
        answers: Mapping[TopicPartition, Future[DeletedRecords]]
        answers = self._admin.delete_records(
            list(places), request_timeout=TIMEOUT_SECONDS, operation_timeout=TIMEOUT_SECONDS / 2
        )
        outcomes: dict[tuple[str, int], int | Unavailable] = {}
        for place, answer in answers.items():
            try:
                outcomes[place.topic, place.partition] = answer.result().low_watermark
            except KafkaException as error:
                outcomes[place.topic, place.partition] = self._unavailable(error)
        return outcomes

    def await_topics(self, topics: Sequence[str]) -> dict[str, TopicLayout]:
        """Wait until all of these new topics are known everywhere."""
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while len(found := self.layouts(topics)) < len(set(topics)):
            if time.monotonic() > deadline:
                absent = sorted(set(topics) - found.keys())
                raise Unavailable("kafka", f"no leader yet for {', '.join(absent)}")
            time.sleep(_RETRY_SECONDS)
        return found

    def create(self, topics: Sequence[NewTopic]) -> None:
        """Create the topics. One that was created concurrently is left as it is."""
        if not topics:
            return
        for answer in self._admin.create_topics(
            list(topics), request_timeout=TIMEOUT_SECONDS
        ).values():
            try:
                answer.result()
            except KafkaException as error:
                if error_of(error).code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise self._unavailable(error) from error

    def configure(self, configs: Mapping[str, Mapping[str, str]]) -> None:
        """Set these properties of existing topics, and leave all others unchanged."""
        if not configs:
            return
        resources = [
            ConfigResource(
                ResourceType.TOPIC,
                topic,
                incremental_configs=[
                    ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
                    for name, value in config.items()
                ],
            )
            for topic, config in configs.items()
        ]
        try:
            for answer in self._admin.incremental_alter_configs(
                resources, request_timeout=TIMEOUT_SECONDS
            ).values():
                answer.result()
        except KafkaException as error:
            raise self._unavailable(error) from error

    def topics(self) -> list[str]:
        """The names of all topics."""
        try:
            return list(self._admin.list_topics(timeout=TIMEOUT_SECONDS).topics)
        except KafkaException as error:
            raise self._unavailable(error) from error

    def brokers(self, timeout_seconds: float) -> int:
        """How many brokers the cluster has, now."""
        try:
            return len(self._admin.list_topics(timeout=timeout_seconds).brokers)
        except KafkaException as error:
            raise self._unavailable(error) from error

    def _unavailable(self, error: KafkaException) -> Unavailable:
        self._errors.forget()
        self._admin.poll(0)
        return self._errors.explain(error)


def _assigned_topics(group: ConsumerGroupDescription) -> set[str]:
    return {place.topic for member in group.members for place in member.assignment.topic_partitions}


def _layout(topic: TopicDescription) -> TopicLayout:
    partitions = topic.partitions
    return TopicLayout(
        id=str(topic.topic_id),
        partitions=len(partitions),
        replication_factor=len(partitions[0].replicas),
        under_replicated=sum(len(each.isr) < len(each.replicas) for each in partitions),
    )
