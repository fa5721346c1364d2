"""A kind of aggregate, described by functions: all that the engine needs to know about it.

The engine treats every kind alike: it reads messages, decides, appends the events and publishes what follows.
A new kind is one module that fills in a `Kind`.
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
    """The state after all events of one aggregate. `version` is their number."""

    @property
    def id(self) -> str: ...

    @property
    def version(self) -> int: ...

    @property
    def updated_at(self) -> datetime: ...


S = TypeVar("S", bound=State)


class Moment(Value, kw_only=False):
    """Everything that a decision may depend on, apart from the state and the command."""

    now: datetime


class Decided(Value, Generic[S], kw_only=False):
    """The command is accepted: the events, and the state after them."""

    events: tuple[DomainEvent, ...]
    state: S
    #: How many events the command itself caused. They come first; the others follow (PROTOCOL rule 66).
    primary: int


class Duplicate(Value, kw_only=False):
    """A repetition of the command that created this aggregate: its outcome is published again (PROTOCOL rule 17)."""


Decision = Decided[S] | Rejection | Duplicate


class Send(Value, kw_only=False):
    """A message to one other aggregate, which decides on it from the message alone (PROTOCOL rule 23)."""

    to: str
    #: The last part of `orchestration.internal.<type>`.
    type: str
    data: Mapping[str, Any]


class Standing(Value, kw_only=False):
    """What a refusal reports about the aggregate: its status, and the commands that it would accept."""

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
    """The behaviour of one kind of aggregate. Every function is pure."""

    name: str
    #: The prefix of its ids, for example `lock:`. Workflow ids have none.
    prefix: str
    #: Every type of event that it can have.
    events: tuple[type[DomainEvent], ...]
    #: Commands that may create an aggregate. All others require that it exists.
    creating: frozenset[type[Any]]
    #: Commands that add data. Only these are refused once it is too large, so that it can still end.
    bringing_data: frozenset[type[Any]] = frozenset()
    decide: Callable[[S | None, Any, Moment], Decision[S]]
    #: The state after the event. The id is only needed for the first event.
    evolve: Callable[[S | None, DomainEvent, str], S]
    timers: Callable[[S], Sequence[Timer]] = _no_timers
    #: When its next timer is due.
    next_due: Callable[[S], datetime | None] = _nothing_due
    #: The messages that the event sends to other aggregates. The state is the one after the whole decision.
    sends: Callable[[S, DomainEvent], Sequence[Send]] = _no_sends
    #: Nothing more will happen to it: it may leave memory once it is projected.
    is_done: Callable[[S], bool] = _never
    standing: Callable[[S], Standing] = _no_standing
    #: Makes an event that raises an incident, from time, code and detail. None if the kind has no such event.
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
    """The events, together with all events that follow from them automatically.

    `follow` returns the next events, given the state and the events that led to it. It is called until it returns
    none. `primary` has at least one event.
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
    """A `follow` for kinds in which events have no consequences."""
    return ()
