"""The in-memory state of one inbox partition that this engine owns."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from datetime import datetime

from application.engine.hot import Hot
from application.engine.watchers import Watcher
from domain.inbox import inbox_id


class Partition:
    """The aggregates in memory, what the stores still lack, and the progress of the inbox."""

    def __init__(self, number: int, watchers: Sequence[Watcher] = ()) -> None:
        self.number = number
        self.watchers = tuple(watchers)
        #: By id, least recently used first.
        self.states: dict[str, Hot] = {}
        #: The definitions that starts were accepted on. All of them were registered at the last claim.
        self.bases: set[Hashable] = set()
        #: Aggregates whose projection is out of date: changed since the last round of projecting, and before it.
        #: A round writes the older ones, in their newest state, so that most short workflows are written once.
        self.dirty: set[str] = set()
        self.aging: set[str] = set()
        #: topic -> offset of the next message to decide: now, and when `aging` was closed.
        self.decided: dict[str, int] = {}
        self.aging_offsets: dict[str, int] = {}
        #: When `aging` was closed; None at first.
        self.aged_at: datetime | None = None
        #: The last mark written, which says how far the projections are.
        self.mark: datetime | None = None
        self.is_marked = False
        #: The last start written: topic -> offset.
        self.committed: dict[str, int] = {}
        self.topic_ids: dict[str, str] = {}
        #: Timers wait until the replies that were here at the assignment are decided (PROTOCOL rule 13).
        self.replies_end: int = 0
        #: The time up to which the projection's timers were read.
        self.timers_read_until: datetime | None = None

    @property
    def inbox(self) -> Hot | None:
        """The partition's own aggregate, from the first claim on."""
        return self.states.get(inbox_id(self.number))

    @property
    def claim(self) -> int:
        """The number of the claim; the next owner's is higher."""
        return self.inbox.version if self.inbox is not None else 0

    def is_behind(self) -> bool:
        """Whether something is not projected or not committed yet."""
        return bool(self.dirty or self.aging or self.decided != self.committed)

    def changed(self, aggregate_id: str) -> None:
        """Note that the aggregate's projection is out of date, unless the next round writes it anyway."""
        if aggregate_id not in self.aging:
            self.dirty.add(aggregate_id)

    def complete_until(self, now: datetime) -> datetime | None:
        """The next round writes everything decided before this moment. None until the first round: only the last owner
        knows.
        """
        has_changed = self.dirty or self.decided != self.aging_offsets
        return self.aged_at if has_changed else now

    def age(self, now: datetime) -> None:
        """Let the next round write everything that has changed so far."""
        self.aging, self.dirty = self.dirty, set()
        self.aging_offsets = dict(self.decided)
        self.aged_at = now

    def touch(self, aggregate_id: str) -> Hot | None:
        """Return the aggregate, and mark it as most recently used."""
        hot = self.states.pop(aggregate_id, None)
        if hot is not None:
            self.states[aggregate_id] = hot
        return hot

    def forget(self, aggregate_id: str) -> None:
        """Drop an aggregate that turned out to be stale; it will be read again."""
        self._drop(aggregate_id)
        self.dirty.discard(aggregate_id)
        self.aging.discard(aggregate_id)

    def put(self, hot: Hot) -> None:
        """Keep an aggregate in memory, and watch its timers."""
        self.states[hot.id] = hot
        for watcher in self.watchers:
            watcher.put(hot)

    def put_back(self, hot: Hot) -> None:
        """Keep an aggregate that was read from the stores, and project in the next round what its projection lacks.

        Its changes may be older than the last round, even if it was forgotten since.
        """
        self.put(hot)
        if hot.version > hot.projected:
            self.aging.add(hot.id)

    def projected(self, aggregate_id: str, version: int) -> None:
        """The projection has this version. A finished aggregate then leaves the memory."""
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
        """Above the limit, drop the least recently used aggregates that are projected and have no timer soon."""
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
