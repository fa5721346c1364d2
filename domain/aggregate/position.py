"""The place of a message in an inbox. Every change of state records its cause this way (PROTOCOL rules 5, 8, 11)."""

from __future__ import annotations

from typing import NamedTuple

from domain.values import Value


class TopicPartition(NamedTuple):
    """One partition of one topic, by name."""

    topic: str
    partition: int


class Position(Value, kw_only=False):
    """The place of one message.

    `topic_id` distinguishes a recreated topic, or another cluster, from the old one. `leader_epoch`
    distinguishes an offset from the same offset before the log was truncated (PROTOCOL rule 11).
    """

    topic_id: str
    topic: str
    partition: int
    leader_epoch: int
    offset: int

    @property
    def lane(self) -> tuple[str, int]:
        """Positions are comparable only within one lane."""
        return (self.topic_id, self.partition)

    @property
    def order(self) -> tuple[int, int]:
        """The place within the lane."""
        return (self.leader_epoch, self.offset)
