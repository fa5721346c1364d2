"""A kind of aggregate with everything that the engine and the stores have to know of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, NamedTuple, TypeVar

from conveyor.messages import MalformedEvent, Message

from application.ports import INTERNAL_PREFIX, DefinitionOf, Document, LookUpDefinition
from domain.aggregate.event import DomainEvent
from domain.aggregate.ids import RESERVED_PREFIXES
from domain.aggregate.kind import HistoryError, Kind, State
from domain.aggregate.rejection import Rejection

S = TypeVar("S", bound=State)

#: A command, or why there is none.
Command = Any


class Resolved(NamedTuple):
    """What came of looking up what a message refers to."""

    command: Command | Rejection
    #: What the command rests on, for example a definition. A basis that is new to the partition is claimed first.
    basis: Hashable | None = None


class Unresolved(ABC):
    """An intent that refers to something registered, which is looked up before anything is decided."""

    @abstractmethod
    async def resolve(self, look_up: LookUpDefinition) -> Resolved: ...


class Inbound(NamedTuple):
    """A message that was understood."""

    aggregate_id: str
    #: `Unresolved`, a `Rejection`, or a command.
    intent: Any
    #: Of an internal message, the time of the event that it follows from (PROTOCOL rule 26).
    at: datetime | None = None


#: Reads one type of message. Raises MalformedEvent.
Decode = Callable[[Message], Inbound]


class DefinitionKey(NamedTuple):
    name: str
    version: int


def _has_all(_: Document) -> bool:
    return True


def _no_definition(_: Document) -> DefinitionKey | None:
    return None


def _does_not_shrink(_: Command, __: str, ___: str) -> Command | None:
    return None


def _nothing_left(_: Any) -> Sequence[tuple[str, str]]:
    return ()


@dataclass(frozen=True, kw_only=True, eq=False)
class Aggregate(Generic[S]):
    """One kind, as messages and documents."""

    kind: Kind[S]
    #: Where MongoDB keeps its documents.
    collection: str
    #: Message type -> how it is read. No type belongs to two kinds; timers belong to all.
    decoders: Mapping[str, Decode] = field(default_factory=dict[str, Decode])
    #: Fields that every event has besides id, type, time, and its own: from state, event and version.
    common: Callable[[S, DomainEvent, int], Document]
    #: State, partition, and what the engine remembers of the inbox, which belongs under `engine`. The document
    #: holds the whole state.
    to_document: Callable[[S, int, Document], Document]
    from_document: Callable[[Document, DefinitionOf], S]
    #: Whether a stored document has the whole state; what an older release wrote may lack a part of it.
    is_whole: Callable[[Document], bool] = _has_all
    #: The definition that a stored document, or the data of a first event, needs to be read.
    definition_key: Callable[[Document], DefinitionKey | None] = _no_definition
    #: The command without data that cannot be kept, with code and detail; None where it has no such form.
    shrink: Callable[[Command, str, str], Command | None] = _does_not_shrink
    #: What may not be left of a state that is at rest, for `conveyor verify`: code and sentence.
    unfinished: Callable[[S], Sequence[tuple[str, str]]] = _nothing_left
    #: Fast readers are shown it while it is active.
    is_hot: bool = False
    #: It serves others and never ends: it stays in memory, and has no limit of its size in all (PROTOCOL rule 29).
    is_coordinator: bool = False


class Catalog:
    """Every kind of aggregate that an installation has."""

    def __init__(self, aggregates: Sequence[Aggregate[Any]], shared: Mapping[str, Decode]) -> None:
        """`shared`: messages that belong to every kind."""
        self.aggregates = tuple(aggregates)
        self._shared = shared
        self._prefixed = tuple(each for each in self.aggregates if each.kind.prefix)
        self._plain = next(each for each in self.aggregates if not each.kind.prefix)
        self._decoders = dict(shared)
        for aggregate in self.aggregates:
            self._decoders |= aggregate.decoders

    def extended(self, *aggregates: Aggregate[Any]) -> Catalog:
        """With more kinds."""
        return Catalog((*self.aggregates, *aggregates), self._shared)

    def of(self, aggregate_id: str) -> Aggregate[Any]:
        """The kind that an id belongs to, by its prefix. Raises HistoryError."""
        for aggregate in self._prefixed:
            if aggregate_id.startswith(aggregate.kind.prefix):
                return aggregate
        if aggregate_id.startswith(RESERVED_PREFIXES):
            raise HistoryError(
                f"'{aggregate_id}' is of a kind that this Conveyor does not know: a newer one wrote it;"
                " upgrade this one"
            )
        return self._plain

    @property
    def message_types(self) -> frozenset[str]:
        """Every type that somebody takes."""
        return frozenset(self._decoders)

    def decode(self, message: Message) -> Inbound:
        """What the message asks of which aggregate. Raises MalformedEvent.

        Raises HistoryError for an internal message of a newer version: it may not become a dead letter.
        """
        decode = self._decoders.get(message.type)
        if decode is not None:
            inbound = decode(message)
            if message.type in self._shared:
                self.of(inbound.aggregate_id)
            return inbound
        if message.type.startswith(INTERNAL_PREFIX):
            raise HistoryError(
                f"{message.type} is a message that this Conveyor does not know: a newer one sent it;"
                " upgrade this one"
            )
        raise MalformedEvent(
            "UNKNOWN_TYPE",
            f"no such command or reply: '{message.type}'; docs/reference/messages.md lists them",
        )
