"""Which aggregate a message is for, and whether its data can be taken at all."""

from __future__ import annotations

from collections.abc import Callable

from conveyor.messages import MalformedEvent, Message
from conveyor.payloads import InvalidPayload

from application.aggregates.aggregate import Command, Decode, Inbound
from domain.aggregate.ids import id_fault
from domain.aggregate.rejection import Rejection, RejectionCode

#: What the message asks of the aggregate that it names.
Read = Callable[[Message], Command | Rejection]


def to_workflow(read: Read) -> Decode:
    """Messages that name their workflow as subject or key."""

    def decode(message: Message) -> Inbound:
        workflow_id = message.subject or message.key
        if not workflow_id:
            raise MalformedEvent(
                "MISSING_ID", "neither subject nor key names the workflow that the message is for"
            )
        fault = id_fault(workflow_id)
        if fault is not None:
            raise MalformedEvent("INVALID_ID", fault)
        return Inbound(workflow_id, read(message))

    return decode


def refused(error: InvalidPayload) -> Rejection:
    return Rejection(RejectionCode.INVALID_INPUT, str(error), error.faults)
