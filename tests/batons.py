"""A kind of aggregate that only tests have: runners that pass a baton round until its laps are over.

It shows what a new kind costs: this module. The engine, its outputs and the adapters know nothing of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import orjson
from conveyor.messages import Message
from conveyor.times import rfc3339

from application.aggregates.aggregate import Aggregate, Inbound
from application.codec.internal import Sign, send_message
from application.codec.times import parse_time
from application.ports import DefinitionOf, Document
from domain.aggregate.event import DomainEvent
from domain.aggregate.kind import Decided, Kind, Moment, Send, nothing_follows, settle
from domain.aggregate.timer import Firing, Timer
from domain.values import Value, changed

RUNNERS = ("baton:ann", "baton:bob", "baton:eve")
PASS = "orchestration.internal.baton-pass"
_REST = timedelta(seconds=1)


class Runner(Value):
    """`laps`: those left when it ran last. It rests before it passes the baton on."""

    id: str
    version: int
    updated_at: datetime
    laps: int
    rests_until: datetime | None


class TakeBaton(Value):
    runner: str
    laps: int


class BatonTaken(DomainEvent):
    TYPE = "orchestration.internal.baton-taken"
    NAME = "BatonTaken"
    laps: int


class BatonPassed(DomainEvent):
    TYPE = "orchestration.internal.baton-passed"
    NAME = "BatonPassed"
    laps: int


class BatonIgnored(DomainEvent):
    TYPE = "orchestration.internal.baton-ignored"
    NAME = "BatonIgnored"


def _decide(runner: Runner | None, command: TakeBaton | Firing, at: Moment) -> Decided[Runner]:
    """Every lap is run once, however often the baton comes: its number tells (PROTOCOL rule 23)."""
    now = at.now if runner is None else max(at.now, runner.updated_at)
    event: DomainEvent = BatonIgnored(occurred_at=now)
    if isinstance(command, TakeBaton):
        if runner is None or command.laps < runner.laps:
            event = BatonTaken(occurred_at=now, laps=command.laps)
        return settle(runner, (event,), _evolve, nothing_follows, command.runner)
    assert runner is not None
    if runner.rests_until is not None and command.number == runner.laps:
        event = BatonPassed(occurred_at=now, laps=runner.laps)
    return settle(runner, (event,), _evolve, nothing_follows)


def _evolve(runner: Runner | None, event: DomainEvent, runner_id: str = "") -> Runner:
    at = event.occurred_at
    before = runner or Runner(id=runner_id, version=0, updated_at=at, laps=0, rests_until=None)
    after = changed(before, version=before.version + 1, updated_at=at)
    match event:
        case BatonTaken():
            return changed(after, laps=event.laps, rests_until=at + _REST)
        case BatonPassed():
            return changed(after, rests_until=None)
        case _:
            return after


def _timers(runner: Runner) -> Sequence[Timer]:
    if runner.rests_until is None:
        return ()
    firing = Firing(name="rested", subject=None, number=runner.laps, round=1)
    return (Timer(runner.rests_until, firing),)


def _sends(runner: Runner, event: DomainEvent) -> Sequence[Send]:
    if not isinstance(event, BatonPassed) or event.laps == 1:
        return ()
    following = RUNNERS[(RUNNERS.index(runner.id) + 1) % len(RUNNERS)]
    return (Send(following, "baton-pass", {"laps": event.laps - 1}),)


def _read(message: Message) -> Inbound:
    data = orjson.loads(message.data)
    runner = message.key or ""
    command = TakeBaton(runner=runner, laps=data["laps"])
    return Inbound(runner, command, parse_time(data["at"]))


def _to_document(runner: Runner, partition: int, memory: Document) -> Document:
    rests_until = None if runner.rests_until is None else rfc3339(runner.rests_until)
    return {
        "_id": runner.id,
        "partition": partition,
        "version": runner.version,
        "updatedAt": rfc3339(runner.updated_at),
        "laps": runner.laps,
        "nextTimerAt": rests_until,
        "engine": memory,
    }


def _from_document(document: Document, _: DefinitionOf) -> Runner:
    rests_until = document["nextTimerAt"]
    return Runner(
        id=document["_id"],
        version=document["version"],
        updated_at=parse_time(document["updatedAt"]),
        laps=document["laps"],
        rests_until=None if rests_until is None else parse_time(rests_until),
    )


def _common(runner: Runner, _: DomainEvent, version: int) -> Document:
    return {"aggregateId": runner.id, "version": version}


BATON: Aggregate[Runner] = Aggregate(
    kind=Kind(
        name="baton",
        prefix="baton:",
        events=(BatonTaken, BatonPassed, BatonIgnored),
        creating=frozenset({TakeBaton}),
        decide=_decide,
        evolve=_evolve,
        timers=_timers,
        next_due=lambda runner: runner.rests_until,
        sends=_sends,
    ),
    collection="batons",
    decoders={PASS: _read},
    common=_common,
    to_document=_to_document,
    from_document=_from_document,
    is_coordinator=True,
)


def start_gun(sign: Sign, laps: int, at: datetime) -> Message:
    """The message that puts the first runner on the way."""
    send: Document = {
        "to": RUNNERS[0],
        "type": "baton-pass",
        "data": {"laps": laps, "at": rfc3339(at)},
    }
    return send_message(sign, send, "gun")
