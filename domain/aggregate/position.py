"""Where a message stands in an inbox: the cause of every change of state (PROTOCOL rules 5, 8, 11)."""

from __future__ import annotations

from typing import NamedTuple

from domain.values import Value


class TopicPartition(NamedTuple):
    """One partition of one topic, by name."""

    topic: str
    partition: int


class Position(Value, kw_only=False):
    """The place of one message.

    `topic_id` keeps a recreated topic or another cluster apart from the old one, `leader_epoch`
    keeps an offset apart from the same offset before the log was cut (PROTOCOL rule 11).
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
