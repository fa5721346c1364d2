"""How a client reaches Conveyor: what HTTP and Kafka have in common."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pydantic import BaseModel

from conveyor import types
from conveyor.payloads import written
from conveyor.resources import Event, WorkflowPage, WorkflowResource

#: A position before the oldest event that is kept.
BEGINNING = "beginning"

_KEY_LENGTH_MAX = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command of one caller. Sent again, it has the same key and is carried out only once."""

    type: str
    #: None: a start whose workflow id the service derives from the key.
    workflow_id: str | None
    #: The payload as JSON.
    data: bytes
    idempotency_key: str
    #: Equal for repetitions of the command.
    id: str


def command(
    type: str, workflow_id: str | None, payload: BaseModel, idempotency_key: str | None
) -> Command:
    """Without a key, it gets one of its own.

    Raises ValueError for a key that is not 1 to 255 printable ASCII characters, and UnstorableJson for data that JSON
    does not have, such as NaN.
    """
    key = idempotency_key if idempotency_key is not None else str(uuid.uuid4())
    if not (0 < len(key) <= _KEY_LENGTH_MAX and key.isascii() and key.isprintable()):
        raise ValueError(f"idempotency_key {key[:60]!r}: give 1 to 255 printable ASCII characters")
    without: set[str] = set()
    if type == types.START:
        payload = payload.model_copy(update={"idempotency_key": key})
        # A repetition is the same start, even if it belongs to another case by now.
        without = {"correlation_id"}
    said = [type, workflow_id, key, written(payload, without).decode()]
    return Command(
        type=type,
        workflow_id=workflow_id,
        data=written(payload),
        idempotency_key=key,
        id=str(uuid.uuid5(uuid.NAMESPACE_URL, f"conveyor:command:{said}")),
    )


class WorkflowReads(Protocol):
    """What can be read of workflows."""

    async def get(self, workflow_id: str) -> WorkflowResource: ...

    async def list(self, filters: Mapping[str, Any]) -> WorkflowPage: ...

    async def history(self, workflow_id: str, after_version: int) -> Sequence[Event]:
        """The events above a version, all of them."""
        ...

    def events(self, workflow_id: str, after_version: int) -> AsyncGenerator[Event, None]:
        """The events above a version, as they come, up to the workflow's end."""
        ...


class Connection(Protocol):
    """One way to Conveyor, open between `open` and `close`."""

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def send(self, command: Command) -> str:
        """The workflow's id, when the command is carried out.

        Raises RequestRefusedError, OutcomeUnknownError, ServerUnavailableError, RecordRefusedError.
        """
        ...

    @property
    def reads(self) -> WorkflowReads:
        """Raises UnsupportedError where there is no address to read from."""
        ...

    async def result(self, workflow_id: str) -> dict[str, Any]:
        """The output, when the workflow has ended. Raises WorkflowFailedError."""
        ...

    def subscribe(self, group: str | None, after: str) -> AsyncGenerator[Event, None]:
        """Raises UnsupportedError."""
        ...
