"""One inbox partition that this engine owns, as far as it is in memory."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from datetime import datetime

from application.engine.hot import Hot
from application.engine.watchers import Watcher
from domain.inbox import inbox_id


class Partition:
    """The aggregates in memory, what is behind in the stores, and how far the inbox is done."""

    def __init__(self, number: int, watchers: Sequence[Watcher] = ()) -> None:
        self.number = number
        self.watchers = tuple(watchers)
        #: By id, least recently used first.
        self.states: dict[str, Hot] = {}
        #: What starts were accepted on: registered when the partition was claimed last.
        self.bases: set[Hashable] = set()
        #: Aggregates whose projection is behind: changed since the last round of projecting, and before it.
        #: A round writes the older ones, in their newest state, so that most short workflows are written once.
        self.dirty: set[str] = set()
        self.aging: set[str] = set()
        #: topic -> offset of the next message to decide, and what it was when `aging` was closed.
        self.decided: dict[str, int] = {}
        self.aging_offsets: dict[str, int] = {}
        #: When that was; None at first.
        self.aged_at: datetime | None = None
        #: What was last written of how far the projections are, if anything.
        self.mark: datetime | None = None
        self.is_marked = False
        #: What was last written as the start: topic -> offset.
        self.committed: dict[str, int] = {}
        self.topic_ids: dict[str, str] = {}
        #: Timers wait until the replies that lay here at the assignment are decided (PROTOCOL rule 13).
        self.replies_end: int = 0
        #: Up to when the projection's timers were read.
        self.timers_read_until: datetime | None = None

    @property
    def inbox(self) -> Hot | None:
        """The partition's own aggregate, from the first claim on."""
        return self.states.get(inbox_id(self.number))

    @property
    def claim(self) -> int:
        """Grows with each claim: that of the next owner is higher."""
        return self.inbox.version if self.inbox is not None else 0

    def is_behind(self) -> bool:
        """Something is not projected or not committed yet."""
        return bool(self.dirty or self.aging or self.decided != self.committed)

    def changed(self, aggregate_id: str) -> None:
        """Its projection is behind. One that the next round writes anyway is not noted for another one."""
        if aggregate_id not in self.aging:
            self.dirty.add(aggregate_id)

    def complete_until(self, now: datetime) -> datetime | None:
        """The next round writes everything that was decided before this moment. None until the first round, when
        only the last owner knows.
        """
        has_changed = self.dirty or self.decided != self.aging_offsets
        return self.aged_at if has_changed else now

    def age(self, now: datetime) -> None:
        """What changed until now is written by the next round."""
        self.aging, self.dirty = self.dirty, set()
        self.aging_offsets = dict(self.decided)
        self.aged_at = now

    def touch(self, aggregate_id: str) -> Hot | None:
        """The aggregate, marked as most recently used."""
        hot = self.states.pop(aggregate_id, None)
        if hot is not None:
            self.states[aggregate_id] = hot
        return hot

    def forget(self, aggregate_id: str) -> None:
        """Drop an aggregate that turned out not to be the newest; it is read again."""
        self._drop(aggregate_id)
        self.dirty.discard(aggregate_id)
        self.aging.discard(aggregate_id)

    def put(self, hot: Hot) -> None:
        """Keep an aggregate; what it waits for is watched."""
        self.states[hot.id] = hot
        for watcher in self.watchers:
            watcher.put(hot)

    def put_back(self, hot: Hot) -> None:
        """Keep an aggregate that was read from the stores; what its projection lacks is written soon."""
        self.put(hot)
        if hot.version > hot.projected:
            self.changed(hot.id)

    def projected(self, aggregate_id: str, version: int) -> None:
        """The projection has this version; what is done then leaves the memory."""
        hot = self.states.get(aggregate_id)
        if hot is None:
            return
        hot.projected = max(hot.projected, version)
        if hot.version == version:
            self.dirty.discard(aggregate_id)
            self.aging.discard(aggregate_id)
            if hot.aggregate.kind.is_done(hot.state):
                self._drop(aggregate_id)

    def evict(self, limit: int, timers_after: datetime) -> None:
        """Forget the least recently used over the limit that are projected and wait for nothing soon."""
        excess = len(self.states) - limit
        if excess <= 0:
            return
        evicted: list[str] = []
        for aggregate_id, hot in self.states.items():
            if self._may_leave(aggregate_id, hot, timers_after):
                evicted.append(aggregate_id)
                if len(evicted) == excess:
                    break
        for aggregate_id in evicted:
            self._drop(aggregate_id)

    def _may_leave(self, aggregate_id: str, hot: Hot, timers_after: datetime) -> bool:
        if hot.aggregate.is_coordinator or aggregate_id in self.dirty or aggregate_id in self.aging:
            return False
        return not any(watcher.needs(aggregate_id, timers_after) for watcher in self.watchers)

    def _drop(self, aggregate_id: str) -> None:
        self.states.pop(aggregate_id, None)
        for watcher in self.watchers:
            watcher.forget(aggregate_id)
