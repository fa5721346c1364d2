"""An aggregate's memory of its inbox, so that no message is applied twice (PROTOCOL rules 8 to 11)."""

from __future__ import annotations

from collections.abc import Mapping

from application.ports import Document
from domain.aggregate.position import Position
from domain.values import Value, field

#: How many command ids an aggregate keeps, newest first. Older ones are found in the log (PROTOCOL rule 9).
COMMAND_IDS_KEPT = 1000

#: Topic id and partition.
Lane = tuple[str, int]
#: Leader epoch and offset.
Order = tuple[int, int]


class Memory(Value, kw_only=False):
    """The highest applied position per lane, and command ids with their times (milliseconds since 1970), oldest
    first."""

    applied: Mapping[Lane, Order] = field(default_factory=dict[Lane, Order])
    command_ids: Mapping[str, int] = field(default_factory=dict[str, int])
    #: Bytes of events so far: an upper bound of the document's size.
    size: int = 0

    def has_applied(self, position: Position) -> bool:
        order = self.applied.get(position.lane)
        return order is not None and position.order <= order

    def after(self, position: Position, command_id: str | None, at_ms: int, size: int) -> Memory:
        """The memory after a message is applied. Replies and timers leave no command id."""
        command_ids = self.command_ids
        if command_id is not None:
            command_ids = {**command_ids, command_id: at_ms}
            if len(command_ids) > COMMAND_IDS_KEPT:
                del command_ids[next(iter(command_ids))]
        lane, order = position.lane, position.order
        applied = {**self.applied, lane: max(order, self.applied.get(lane, order))}
        return Memory(applied, command_ids, self.size + size)

    @property
    def is_full(self) -> bool:
        """Some command ids may have left the window."""
        return len(self.command_ids) >= COMMAND_IDS_KEPT

    def may_forget(self, messages: int) -> bool:
        """Whether some command ids will have left the window after this many more messages."""
        return len(self.command_ids) + messages > COMMAND_IDS_KEPT

    def document(self) -> Document:
        return {
            "applied": [
                {
                    "topicId": lane[0],
                    "partition": lane[1],
                    "leaderEpoch": order[0],
                    "offset": order[1],
                }
                for lane, order in self.applied.items()
            ],
            "commandIds": [[command_id, at] for command_id, at in self.command_ids.items()],
            "size": self.size,
        }

    @staticmethod
    def from_document(document: Document) -> Memory:
        applied = {
            (place["topicId"], place["partition"]): (place["leaderEpoch"], place["offset"])
            for place in document["applied"]
        }
        command_ids = dict(document["commandIds"])
        return Memory(applied, command_ids, document["size"])
