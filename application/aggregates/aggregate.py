"""A kind of aggregate, with everything that the engine and the stores need to know about it."""

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

#: A command, or the reason why there is none.
Command = Any


class Resolved(NamedTuple):
    """The result of looking up what a message refers to."""

    command: Command | Rejection
    #: What the command is based on, for example a definition. A basis that is new to the partition is claimed first.
    basis: Hashable | None = None


class Unresolved(ABC):
    """An intent that refers to something registered, which must be looked up before deciding."""

    @abstractmethod
    async def resolve(self, look_up: LookUpDefinition) -> Resolved: ...


class Inbound(NamedTuple):
    """A decoded message."""

    aggregate_id: str
    #: `Unresolved`, a `Rejection`, or a command.
    intent: Any
    #: For an internal message: the time of the event that caused it (PROTOCOL rule 26).
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
    """One kind of aggregate, as messages and documents."""

    kind: Kind[S]
    #: Where MongoDB keeps its documents.
    collection: str
    #: Message type -> its reader. No type belongs to two kinds; timers belong to all.
    decoders: Mapping[str, Decode] = field(default_factory=dict[str, Decode])
    #: The common fields of its events, besides id, type and time: from state, event and version.
    common: Callable[[S, DomainEvent, int], Document]
    #: The document of the whole state: from state, partition, and the engine's memory of the inbox, which belongs
    #: under `engine`.
    to_document: Callable[[S, int, Document], Document]
    from_document: Callable[[Document, DefinitionOf], S]
    #: Whether a stored document has the whole state. One written by an older release may lack a part.
    is_whole: Callable[[Document], bool] = _has_all
    #: The definition that is needed to read a stored document, or the data of a first event.
    definition_key: Callable[[Document], DefinitionKey | None] = _no_definition
    #: The command without data that cannot be kept, given code and detail. None if there is no such form.
    shrink: Callable[[Command, str, str], Command | None] = _does_not_shrink
    #: For `conveyor verify`: what must not be left in a state at rest, as code and sentence.
    unfinished: Callable[[S], Sequence[tuple[str, str]]] = _nothing_left
    #: Whether the hot state shows it while it is active.
    is_hot: bool = False
    #: It serves other aggregates and never ends: it stays in memory, without a limit on its size (PROTOCOL rule 29).
    is_coordinator: bool = False


class Catalog:
    """All kinds of aggregates of an installation."""

    def __init__(self, aggregates: Sequence[Aggregate[Any]], shared: Mapping[str, Decode]) -> None:
        """`shared` are readers of messages that belong to every kind."""
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
        """The kind that an id belongs to, by its prefix. Raises HistoryError for an unknown prefix."""
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
        """Every message type that is accepted."""
        return frozenset(self._decoders)

    def decode(self, message: Message) -> Inbound:
        """The aggregate that the message is for, and what it asks. Raises MalformedEvent.

        Raises HistoryError for an internal message of a newer version, which must not become a dead letter.
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
