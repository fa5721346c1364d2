"""A kind of aggregate: everything that the engine has to know about it, as functions.

For every kind, the engine takes messages, decides them, appends what happened and publishes what follows. A
new kind is one module that fills in a `Kind`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, Protocol, TypeVar

from domain.aggregate.event import DomainEvent
from domain.aggregate.rejection import Rejection
from domain.aggregate.timer import Timer
from domain.values import Value


class HistoryError(Exception):
    """This version cannot read what is stored or sent; the message says what to do."""


class State(Protocol):
    """What the events of one aggregate add up to; `version` counts them, from 1."""

    @property
    def id(self) -> str: ...

    @property
    def version(self) -> int: ...

    @property
    def updated_at(self) -> datetime: ...


S = TypeVar("S", bound=State)


class Moment(Value, kw_only=False):
    """All that a decision may know besides the state and the command. It grows here and nowhere else."""

    now: datetime


class Decided(Value, Generic[S], kw_only=False):
    """The command applies: what happens, and the state after it."""

    events: tuple[DomainEvent, ...]
    state: S
    #: The first so many events are what the command itself changed; the others follow (PROTOCOL rule 66).
    primary: int


class Duplicate(Value, kw_only=False):
    """The command that began this aggregate, once more: its outcome is published again (PROTOCOL rule 17)."""


Decision = Decided[S] | Rejection | Duplicate


class Send(Value, kw_only=False):
    """A message to exactly one other aggregate, decided there by what it says (PROTOCOL rule 23)."""

    to: str
    #: The last part of `orchestration.internal.<type>`.
    type: str
    data: Mapping[str, Any]


class Standing(Value, kw_only=False):
    """What a refusal says of the state: its status, and the commands that it would take."""

    status: str | None = None
    allowed_commands: tuple[str, ...] = ()


def _no_timers(_: State) -> Sequence[Timer]:
    return ()


def _nothing_due(_: State) -> datetime | None:
    return None


def _no_sends(_: State, __: DomainEvent) -> Sequence[Send]:
    return ()


def _no_standing(_: State) -> Standing:
    return Standing()


def _never(_: State) -> bool:
    return False


@dataclass(frozen=True, kw_only=True, eq=False)
class Kind(Generic[S]):
    """How aggregates of one kind live. Every function is pure."""

    name: str
    #: What its ids begin with: `lock:`; workflows, which have ids of their own, have none.
    prefix: str
    #: Every event that may happen to it.
    events: tuple[type[DomainEvent], ...]
    #: Commands that may begin one. Any other needs it to exist.
    creating: frozenset[type[Any]]
    #: Commands that add data, which alone can make it too large. Others must stay possible, so that it can end.
    bringing_data: frozenset[type[Any]] = frozenset()
    decide: Callable[[S | None, Any, Moment], Decision[S]]
    #: The state after the event; the id is needed for the first event only.
    evolve: Callable[[S | None, DomainEvent, str], S]
    timers: Callable[[S], Sequence[Timer]] = _no_timers
    #: When the first of its timers is due.
    next_due: Callable[[S], datetime | None] = _nothing_due
    #: What the event sends to other aggregates; the state is that after the whole decision.
    sends: Callable[[S, DomainEvent], Sequence[Send]] = _no_sends
    #: Nothing more is expected: it may leave the memory once it is projected.
    is_done: Callable[[S], bool] = _never
    standing: Callable[[S], Standing] = _no_standing
    #: Makes an event that asks a person to look: time, code, detail. None if the kind has no such event.
    incident: Callable[[datetime, str, str], DomainEvent] | None = None

    @property
    def has_timers(self) -> bool:
        return self.next_due is not _nothing_due


def settle(
    state: S | None,
    primary: Sequence[DomainEvent],
    evolve: Callable[[S | None, DomainEvent, str], S],
    follow: Callable[[S, Sequence[DomainEvent]], Sequence[DomainEvent]],
    aggregate_id: str = "",
) -> Decided[S]:
    """The events with everything that follows from them by itself.

    `follow` says what comes next, from the state and the events that led to it, until it has nothing more.
    At least one event is needed.
    """
    happened: list[DomainEvent] = []
    following = primary
    while following:
        for event in following:
            state = evolve(state, event, aggregate_id)
        happened.extend(following)
        assert state is not None
        following = follow(state, following)
    assert state is not None
    return Decided(tuple(happened), state, len(primary))


def nothing_follows(_: State, __: Sequence[DomainEvent]) -> Sequence[DomainEvent]:
    """For `settle`, where events are taken as they are."""
    return ()
