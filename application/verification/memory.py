"""The memory of its inbox that an aggregate must have according to its log: the field `engine` of projections."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from conveyor import topics

from application.codec.internal import is_own
from application.engine.memory import COMMAND_IDS_KEPT
from application.ports import Document, Entry


@dataclass(slots=True)
class ExpectedMemory:
    """Takes the entries of one log in order.

    Command ids carry rule 9: without one, a copy of its command would be applied again. Replies' ids may
    stand among them, since loading an instance keeps those of the tail too; the engine's own messages leave none.
    """

    #: Lane -> the highest order.
    _applied: dict[tuple[str, int], tuple[int, int]] = field(
        default_factory=dict[tuple[str, int], tuple[int, int]]
    )
    #: The newest, oldest first.
    _command_ids: deque[str] = field(default_factory=lambda: deque[str](maxlen=COMMAND_IDS_KEPT))
    _commands: int = 0
    _other_ids: set[str] = field(default_factory=set[str])

    def add(self, entry: Entry) -> None:
        cause = entry.cause
        self._applied[cause.lane] = max(cause.order, self._applied.get(cause.lane, cause.order))
        if cause.topic != topics.COMMANDS:
            self._other_ids.add(entry.message_id)
        elif not is_own(entry.message_id):
            self._commands += 1
            self._command_ids.append(entry.message_id)

    def differences(self, engine: Document) -> Iterator[str]:
        """The fields that differ from the expected ones. May raise any error for a value of another form."""
        if _applied(engine) != self._applied:
            yield "engine.applied"
        if not self._has_command_ids([str(id) for id, _ in engine["commandIds"]]):
            yield "engine.commandIds"

    def _has_command_ids(self, kept: list[str]) -> bool:
        """All of them; of more than are kept the newest, as many as the others have left room for."""
        commands = [id for id in kept if id not in self._other_ids]
        newest = list(self._command_ids)[-len(commands) :] if commands else []
        is_whole = len(commands) == self._commands or len(kept) == COMMAND_IDS_KEPT
        return commands == newest and is_whole


def _applied(engine: Document) -> dict[tuple[str, int], tuple[int, int]]:
    places: list[dict[str, Any]] = engine["applied"]
    return {
        (place["topicId"], place["partition"]): (place["leaderEpoch"], place["offset"])
        for place in places
    }
