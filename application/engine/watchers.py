"""Watchers see every state of a partition, and determine which messages to send, and when."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol

from conveyor.messages import Message

from application.codec.internal import Sign, timer_message
from application.engine.hot import Hot
from domain.aggregate.timer import Firing, Timer

#: The longest wait before a timer is sent again, as a multiple of the first.
RESENDS_MAX_FACTOR = 64
#: Stale entries that the timer heap may have before it is rebuilt.
_STALE_ENTRIES_KEPT = 1000


class Watcher(Protocol):
    """Sees every state that is loaded into memory or changes there."""

    def put(self, hot: Hot) -> None: ...

    def forget(self, aggregate_id: str) -> None:
        """The aggregate left the memory."""
        ...

    def needs(self, aggregate_id: str, until: datetime) -> bool:
        """Whether something is due before then, so that the aggregate should stay in memory."""
        ...

    def next_due(self) -> datetime | None:
        """When `due` should be called next; None while nothing is expected."""
        ...

    def due(self, now: datetime) -> list[Message]:
        """The messages to send to the inbox now."""
        ...


class _Sent(NamedTuple):
    """A timer whose message was sent and is not applied yet."""

    again_at: datetime
    wait: timedelta


@dataclass(slots=True)
class _Watched:
    hot: Hot
    #: The valid entry in the heap. Stale ones remain there until they are due or too many.
    armed: datetime | None = None
    #: Timers that were sent to the inbox and are not applied yet.
    sent: dict[Firing, _Sent] = field(default_factory=dict[Firing, _Sent])

    def next_send(self) -> datetime | None:
        """When its next timer is due or, if already sent, due to be sent again; None without timers."""
        kind, state = self.hot.aggregate.kind, self.hot.state
        if not self.sent:
            return kind.next_due(state)
        timers = kind.timers(state)
        self.sent = {t.firing: self.sent[t.firing] for t in timers if t.firing in self.sent}
        return min((self._moment(timer) for timer in timers), default=None)

    def send_due(self, now: datetime, resend_after: timedelta) -> list[Firing]:
        """The timers to be sent now.

        Each is sent again until it is applied, after twice the previous wait, so that copies do not flood a slow
        engine.
        """
        firings: list[Firing] = []
        for timer in self.hot.aggregate.kind.timers(self.hot.state):
            if self._moment(timer) <= now:
                before = self.sent.get(timer.firing)
                wait = (
                    min(before.wait * 2, RESENDS_MAX_FACTOR * resend_after)
                    if before
                    else resend_after
                )
                self.sent[timer.firing] = _Sent(now + wait, wait)
                firings.append(timer.firing)
        return firings

    def _moment(self, timer: Timer) -> datetime:
        sent = self.sent.get(timer.firing)
        return timer.due_at if sent is None else sent.again_at


class TimerHeap:
    """The timers of a partition. Due ones are sent to the inbox again until they are applied (PROTOCOL rule 13)."""

    def __init__(self, sign: Sign, resend_after: timedelta) -> None:
        """The first copy of a timer follows after `resend_after`, later ones after increasing waits."""
        self._sign = sign
        self._resend_after = resend_after
        self._watched: dict[str, _Watched] = {}
        self._heap: list[tuple[datetime, str]] = []

    def put(self, hot: Hot) -> None:
        watched = self._watched.get(hot.id)
        if watched is None:
            due = hot.aggregate.kind.next_due(hot.state)
            if due is not None:
                self._watched[hot.id] = watched = _Watched(hot)
                self._push(due, watched)
            return
        watched.hot = hot
        self._arm(watched)

    def forget(self, aggregate_id: str) -> None:
        self._watched.pop(aggregate_id, None)

    def needs(self, aggregate_id: str, until: datetime) -> bool:
        watched = self._watched.get(aggregate_id)
        if watched is None:
            return False
        # An evicted instance would resend its timers at once.
        return bool(watched.sent) or (watched.armed is not None and watched.armed < until)

    def next_due(self) -> datetime | None:
        return self._heap[0][0] if self._heap else None

    def due(self, now: datetime) -> list[Message]:
        messages: list[Message] = []
        while self._heap and self._heap[0][0] <= now:
            due_at, aggregate_id = heapq.heappop(self._heap)
            watched = self._watched.get(aggregate_id)
            if watched is None or watched.armed != due_at:
                continue
            watched.armed = None
            firings = watched.send_due(now, self._resend_after)
            messages.extend(timer_message(self._sign, aggregate_id, each) for each in firings)
            self._arm(watched)
        return messages

    def _arm(self, watched: _Watched) -> None:
        """Ensure that the heap has an entry no later than the aggregate's next timer."""
        due = watched.next_send()
        if due is not None:
            if watched.armed is None or due < watched.armed:
                self._push(due, watched)
        elif watched.armed is None:
            del self._watched[watched.hot.id]

    def _push(self, due: datetime, watched: _Watched) -> None:
        watched.armed = due
        heapq.heappush(self._heap, (due, watched.hot.id))
        if len(self._heap) > 2 * len(self._watched) + _STALE_ENTRIES_KEPT:
            self._heap = [
                (each.armed, id_) for id_, each in self._watched.items() if each.armed is not None
            ]
            heapq.heapify(self._heap)
