"""The aggregate that a message is for, and checks of its ids."""

from __future__ import annotations

from collections.abc import Callable

from conveyor.messages import MalformedEvent, Message
from conveyor.payloads import InvalidPayload

from application.aggregates.aggregate import Command, Decode, Inbound
from domain.aggregate.ids import id_fault
from domain.aggregate.rejection import Rejection, RejectionCode

#: What the message asks of the aggregate that it names.
Read = Callable[[Message], Command | Rejection]


#: Code of a message whose parts name different things, so that it is unclear which one is meant.
CONFLICTING_IDS = "CONFLICTING_IDS"


def to_workflow(read: Read) -> Decode:
    """A reader for messages that name their workflow as subject or key."""

    def decode(message: Message) -> Inbound:
        workflow_id = named_workflow(message)
        if not workflow_id:
            raise MalformedEvent(
                "MISSING_ID", "neither subject nor key names the workflow that the message is for"
            )
        return Inbound(workflow_id, read(message))

    return decode


def named_workflow(message: Message) -> str | None:
    """The workflow that subject and key name; None if both are missing.

    Raises MalformedEvent for an invalid id, and for two ids that differ.
    """
    named = message.subject or message.key
    if not named:
        return None
    if message.subject and message.key:
        require_same("the workflow", subject=message.subject, key=message.key)
    fault = id_fault(named)
    if fault is not None:
        raise MalformedEvent("INVALID_ID", fault)
    return named


def require_same(what: str, **given: object) -> None:
    """Raises MalformedEvent if the places of a message, given by name, disagree."""
    if len(set(given.values())) > 1:
        places = ", ".join(f"{str(value)[:80]!r} as {place}" for place, value in given.items())
        raise MalformedEvent(
            CONFLICTING_IDS, f"{what} is named differently: {places}; name one thing everywhere"
        )


def refused(error: InvalidPayload) -> Rejection:
    return Rejection(RejectionCode.INVALID_INPUT, str(error), error.faults)


def actor_of(message: Message) -> str:
    """The sender of the message: the actor if the entry point trusted it, else the source."""
    return message.extensions.get("actor", "system")
