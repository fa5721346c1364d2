"""Requests of one service, lent to workers: each to one worker at a time, until it answers or its lease ends."""

from __future__ import annotations

import asyncio
import heapq
import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from conveyor.exchange import StepRequest
from conveyor.messages import Message
from conveyor.requests import Request
from conveyor.transport import Taken

from application.ports import Unavailable
from application.workers import answers
from application.workers.answers import Answer

#: Leases that ended without an answer and are remembered, since a late success still counts.
_REMEMBERED = 1_000
#: How long an answer may wait until it is durable.
_DURABLE_SECONDS = 20.0


class Lent(NamedTuple):
    """A request in the hands of a worker."""

    lease: str
    message: Message
    #: An earlier lease of it ended without an answer: its effect may be there.
    is_recovered: bool
    #: Of a seal: the data of the request whose outcome is in question.
    asks_about: bytes | None


@dataclass(slots=True, eq=False)
class _Offer:
    """A request from its first offer to its answer."""

    number: int
    request: Request
    settled: asyncio.Future[None]
    #: Its outcome is durable.
    finished: asyncio.Future[None]
    #: Some worker had it, in this process or in an earlier one.
    was_lent: bool
    lease: str | None = None
    #: What its worker said, if that stays true whatever other workers do.
    success: tuple[Answer, str | None] | None = None
    #: Ends the lease or, before the first one, the wait for a worker.
    timer: asyncio.TimerHandle | None = field(default=None)

    def __lt__(self, other: _Offer) -> bool:
        return self.number < other.number


class Leases:
    """The requests that one service's runner waits for, and who has them.

    `perform` is given to a `ParticipantRunner`, which keeps the key records and replies. Everything here is in
    memory: after a restart the requests are delivered again, and earlier leases are lost.
    """

    def __init__(
        self,
        now: Callable[[], datetime],
        reply_late: Callable[[Request, Answer, str | None], Awaitable[None]],
    ) -> None:
        """`reply_late` sends the success of a request that was given up before."""
        self._now = now
        self._reply_late = reply_late
        self._is_closed = False
        self._count = 0
        self._free: list[_Offer] = []
        self._lent: dict[str, _Offer] = {}
        self._lost: OrderedDict[str, _Offer] = OrderedDict()
        self._offers: dict[tuple[int, int], _Offer] = {}
        #: In the order in which they came; a dict, since a set has none.
        self._takers: dict[asyncio.Future[None], None] = {}

    # -- the runner's side -----------------------------------------------------------------------

    def perform(self, request: Request) -> Awaitable[None] | None:
        """Lend the request, and decide it by the answer. None: it is decided without a worker."""
        before = self._offers.get(_place(request.taken))
        if before is not None:
            # It was answered, and its key's record not written: another process held the key by then.
            if before.success is not None:
                answers.settle(request, *before.success)
                return None
            before.finished.cancel()
        was_lent = request.repeats is not None or request.records[request.key].claimed > 0
        if self._seconds_left(request) == 0:
            self._give_up(request, was_lent)
            return None
        loop = asyncio.get_running_loop()
        self._count += 1
        offer = _Offer(
            self._count, request, loop.create_future(), loop.create_future(), was_lent=was_lent
        )
        self._offers[_place(request.taken)] = offer
        self._put_back(offer)
        return offer.settled

    def finished(self, done: Sequence[Taken]) -> None:
        """The outcomes of these requests are durable."""
        for taken in done:
            offer = self._offers.pop(_place(taken), None)
            if offer is not None and not offer.finished.done():
                offer.finished.set_result(None)

    def close(self) -> None:
        """The runner has ended: nobody decides these requests here any more."""
        self._is_closed = True
        for offer in self._offers.values():
            _stop(offer)
            offer.settled.cancel()
            offer.finished.cancel()
        self._offers.clear()
        self._free.clear()
        self._lent.clear()
        self._lost.clear()
        self._wake()

    # -- the workers' side -----------------------------------------------------------------------

    @property
    def is_idle(self) -> bool:
        """No worker waits, and none has a request."""
        return not (self._takers or self._lent)

    async def until_free(self, seconds: float) -> bool:
        """Whether a request is free, waiting for one at most so long."""
        if self._free or self._is_closed or seconds <= 0:
            return bool(self._free)
        taker: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._takers[taker] = None
        try:
            await asyncio.wait({taker}, timeout=seconds)
        finally:
            del self._takers[taker]
        return bool(self._free)

    def lend(self, limit: int, seconds: float) -> list[Lent]:
        """At most `limit` requests, the oldest first, for so many seconds."""
        lent: list[Lent] = []
        while self._free and len(lent) < limit:
            offer = heapq.heappop(self._free)
            _stop(offer)
            offer.lease = secrets.token_urlsafe(18)
            self._lent[offer.lease] = offer
            self._start(offer, seconds, self._lease_ended)
            request = offer.request
            record = request.records[request.key]
            lent.append(
                Lent(
                    offer.lease,
                    request.taken.message,
                    offer.was_lent,
                    record.request if request.kind == "seal" else None,
                )
            )
            offer.was_lent = True
        return lent

    def extend(self, leases: Sequence[str], seconds: float) -> tuple[list[str], list[str]]:
        """Let these leases end so many seconds from now: those that still run, and those that are lost."""
        extended = [lease for lease in leases if lease in self._lent]
        for lease in extended:
            offer = self._lent[lease]
            _stop(offer)
            self._start(offer, seconds, self._lease_ended)
        return extended, [lease for lease in leases if lease not in self._lent]

    async def answer(self, lease: str, event: Mapping[str, Any]) -> bool:
        """Take an answer. Returns when it is durable: whether the lease still ran.

        A success counts also when the lease is lost: the step was performed. A failure does not, because another
        worker may be performing the same attempt. Raises Refused for an answer that cannot be understood.
        """
        offer = self._lent.get(lease)
        is_current = offer is not None
        offer = offer or self._lost.get(lease)
        if offer is None:
            return False
        request = offer.request
        answer, unusable = answers.read_answer(request, event)
        if not (is_current or answers.is_success(answer)):
            return False
        if offer.settled.done():
            await self._reply_late(request, answer, unusable)
            self._lost.pop(lease, None)
            return False
        self._lost.pop(lease, None)
        self._withdraw(offer)
        if answers.is_success(answer):
            offer.success = answer, unusable
        answers.settle(request, answer, unusable)
        offer.settled.set_result(None)
        _, waiting = await asyncio.wait({offer.finished}, timeout=_DURABLE_SECONDS)
        if waiting:
            raise Unavailable("workers", "the answer is taken, and not stored yet")
        return is_current and not offer.finished.cancelled()

    # -- offers ----------------------------------------------------------------------------------

    def _put_back(self, offer: _Offer) -> None:
        left = self._seconds_left(offer.request)
        if left is not None:
            self._start(offer, left, self._too_late)
        heapq.heappush(self._free, offer)
        self._wake()

    def _wake(self) -> None:
        for taker in self._takers:
            if not taker.done():
                taker.set_result(None)

    def _lease_ended(self, offer: _Offer) -> None:
        lease = offer.lease
        assert lease is not None
        self._withdraw(offer)
        self._lost[lease] = offer
        if len(self._lost) > _REMEMBERED:
            self._lost.popitem(last=False)
        if self._seconds_left(offer.request) == 0:
            self._too_late(offer)
        else:
            self._put_back(offer)

    def _too_late(self, offer: _Offer) -> None:
        """Nobody is to begin it now. The engine asks again, or asks for its outcome."""
        self._withdraw(offer)
        self._give_up(offer.request, offer.was_lent)
        offer.settled.set_result(None)

    def _give_up(self, request: Request, was_lent: bool) -> None:
        if was_lent:
            answers.lost(request)
        else:
            answers.not_begun(request)

    def _withdraw(self, offer: _Offer) -> None:
        """No worker has it or gets it."""
        _stop(offer)
        if offer.lease is not None:
            del self._lent[offer.lease]
            offer.lease = None
        elif offer in self._free:
            self._free.remove(offer)
            heapq.heapify(self._free)

    def _start(self, offer: _Offer, seconds: float, then: Callable[[_Offer], None]) -> None:
        offer.timer = asyncio.get_running_loop().call_later(seconds, then, offer)

    def _seconds_left(self, request: Request) -> float | None:
        """Until its deadline; None: a request without one, or a seal."""
        body = request.body
        if request.kind == "seal" or not isinstance(body, StepRequest) or body.deadline is None:
            return None
        return max(0.0, (body.deadline - self._now()).total_seconds())


def _stop(offer: _Offer) -> None:
    if offer.timer is not None:
        offer.timer.cancel()
        offer.timer = None


def _place(taken: Taken) -> tuple[int, int]:
    """Of one request among those of its service's topic."""
    return taken.partition, taken.offset
