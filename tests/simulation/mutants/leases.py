"""Desks and workers that break what leases promise (PROTOCOL rules 1 to 3, ADR 33)."""

from __future__ import annotations

import heapq
from collections.abc import Awaitable, Mapping, Sequence
from functools import partial
from typing import Any

from conveyor import http_transport
from conveyor.keys import KeyRecord, sealed
from conveyor.messages import Message
from conveyor.participant import Operation
from conveyor.requests import Request

from application.workers import answers, desk, leases
from application.workers.leases import Leases, Lent
from tests.simulation.mutants.mutant import patched


def _lend_and_keep(self: Leases, limit: int, seconds: float) -> list[Lent]:
    """What is lent stays free."""
    lent = _lend(self, limit, seconds)
    for each in lent:
        heapq.heappush(self._free, self._lent[each.lease])
    return lent


_lend = Leases.lend


def _without_warning(
    lease: str, message: Message, _is_recovered: bool, asks_about: bytes | None
) -> Lent:
    return Lent(lease, message, False, asks_about)


def _without_request(
    lease: str, message: Message, is_recovered: bool, _asks_about: bytes | None
) -> Lent:
    return Lent(lease, message, is_recovered, None)


def _perform_all_but_seals(self: Leases, request: Request) -> Awaitable[None] | None:
    if request.repeats is None:
        return _perform(self, request)
    request.records[request.key] = sealed(request.records[request.key])
    return None


def _perform_anew(self: Leases, request: Request) -> Awaitable[None] | None:
    """What its worker said before is forgotten with the hold of the key."""
    place = leases._place(request.taken)
    before = self._offers.pop(place, None)
    performing = _perform(self, request)
    if before is not None and performing is None:
        self._offers[place] = before
    return performing


_perform = Leases.perform


async def _answer_at_once(self: Leases, lease: str, event: Mapping[str, Any]) -> bool:
    offer = self._lent.get(lease)
    if offer is not None and not offer.finished.done():
        offer.finished.set_result(None)
    return await _answer(self, lease, event)


_answer = Leases.answer


def _extend_all(self: Leases, names: Sequence[str], seconds: float) -> tuple[list[str], list[str]]:
    for lease in names:
        offer = self._lost.pop(lease, None)
        if offer is not None:
            self._lent[lease] = offer
    return _extend(self, names, seconds)


_extend = Leases.extend


def _as_new(message: Message, request: Mapping[str, Any]) -> dict[str, KeyRecord]:
    return _records_of(message, {**request, "recovered": False})


_records_of = http_transport._records_of


MUTANTS = (
    patched(
        "seal-answered-at-the-desk",
        1,
        "a desk seals what a worker may be doing, without asking one",
        (Leases, "perform", _perform_all_but_seals),
    ),
    patched(
        "seal-lent-without-its-request",
        1,
        "who is to seal is not given the request whose outcome is in question",
        (leases, "Lent", _without_request),
    ),
    patched(
        "lent-to-two",
        2,
        "a desk lends a request that a worker has",
        (Leases, "lend", _lend_and_keep),
    ),
    patched(
        "lent-unclaimed",
        2,
        "a desk lends requests without claiming their keys",
        (desk, "Operation", partial(Operation, effect_is_record=True)),
    ),
    patched(
        "lost-lease-revived",
        2,
        "a lease that has ended can be extended",
        (Leases, "extend", _extend_all),
    ),
    patched(
        "lent-again-without-a-warning",
        2,
        "a worker is not told that another one had the request",
        (leases, "Lent", _without_warning),
    ),
    patched(
        "warning-ignored",
        2,
        "a worker takes a request that another one had for a new one",
        (http_transport, "_records_of", _as_new),
    ),
    patched(
        "answer-before-it-is-durable",
        2,
        "a desk accepts an answer, and writes it afterwards",
        (Leases, "answer", _answer_at_once),
    ),
    patched(
        "answer-lost-with-the-hold",
        2,
        "an answer is forgotten when another process held its key meanwhile",
        (Leases, "perform", _perform_anew),
    ),
    patched(
        "failure-of-a-lost-lease-counts",
        3,
        "a failure is taken from a worker whose lease has ended",
        (answers, "is_success", lambda _: True),
    ),
)
