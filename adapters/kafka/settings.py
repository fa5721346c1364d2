"""How this service reaches Kafka, and the names of its topics and group."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from conveyor import topics

#: librdkafka's own lines (connections refused, rebalances, ...).
CLIENT_LOG = logging.getLogger("librdkafka")


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaSettings:
    """Everything outside this package speaks of topics without the prefix."""

    #: `host:port`, several separated by commas.
    bootstrap_servers: str
    #: Prefix of every topic name on the broker, so that a trial run has its own topics.
    topic_prefix: str = ""
    commands_topic: str = topics.COMMANDS
    replies_topic: str = topics.REPLIES
    events_topic: str = topics.EVENTS
    group_id: str = "conveyor-engine"
    #: Static membership: a restart within the session time-out keeps the partitions.
    instance_id: str | None = None
    #: `consumer` (brokers from 4.0) rebalances incrementally; the broker sets its session time-out.
    group_protocol: Literal["classic", "consumer"] = "classic"
    #: After this silence a member's partitions go to others (classic protocol only).
    session_timeout_ms: int = 10_000
    #: How long a rebalance waits for the inbox's listener before its partitions count as lost.
    rebalance_timeout_seconds: float = 60.0
    #: CloudEvents sources whose `ce_actor` is believed.
    actor_sources: frozenset[str] = frozenset()
    #: librdkafka properties for every client: `security.protocol`, `sasl.*`, `ssl.*`, ...
    properties: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def inbox_topics(self) -> tuple[str, str]:
        """The two co-partitioned inbox topics, without the prefix."""
        return (self.commands_topic, self.replies_topic)

    def on_broker(self, topic: str) -> str:
        """The broker's name of a topic."""
        return self.topic_prefix + topic

    def client(self) -> dict[str, Any]:
        """The configuration of every client."""
        return {
            "bootstrap.servers": self.bootstrap_servers,
            "client.id": self.instance_id or "conveyor",
            **self.properties,
        }

    def group_member(self) -> dict[str, Any]:
        """The configuration of the inbox consumer."""
        properties: dict[str, Any] = {
            "group.id": self.group_id,
            "group.protocol": self.group_protocol,
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
            # Detect a record that was damaged on the broker's disk, instead of applying it.
            "check.crcs": True,
            # The end may come after offsets without a message: markers of a participant's transactions.
            "enable.partition.eof": True,
            # Detect a frozen broker within this time.
            "socket.timeout.ms": 10_000,
            # A newly read partition waits for the current fetch.
            "fetch.wait.max.ms": 100,
            # Added partitions are noticed within this time.
            "topic.metadata.refresh.interval.ms": 10_000,
        }
        if self.group_protocol == "classic":
            properties["partition.assignment.strategy"] = "range"
            properties["session.timeout.ms"] = self.session_timeout_ms
            # Members learn about a rebalance through their heartbeat.
            properties["heartbeat.interval.ms"] = self.session_timeout_ms // 10
        else:
            properties["group.remote.assignor"] = "range"
        if self.instance_id is not None:
            properties["group.instance.id"] = self.instance_id
        return properties | self.client()
