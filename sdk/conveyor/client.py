"""Sending commands over Kafka and learning what became of them."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Self, TypeAlias

import orjson
from pydantic import BaseModel

from conveyor import topics, types
from conveyor.errors import RecordRefusedError
from conveyor.kafka_events import KafkaEvents
from conveyor.kafka_writer import KafkaWriter
from conveyor.messages import Message
from conveyor.wire import CancelData, ReasonData, SignalData, StartData, rfc3339


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The command changed the workflow, now or when it was sent before."""

    command_id: str
    workflow_id: str
    #: What it caused, as far as that was published together.
    events: Sequence[Message]
    #: The workflow's version after `events`.
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """The command was understood and refused."""

    command_id: str
    workflow_id: str
    code: str
    detail: str
    #: What the workflow would accept, if there is one.
    allowed_commands: Sequence[str] = field(default=())


Outcome: TypeAlias = Accepted | Rejected


class OutcomeUnknownError(Exception):
    """No outcome was published in time.

    The command may yet be carried out. Sent again with this `command_id`, it is applied once.
    """

    def __init__(self, command_id: str, seconds: float) -> None:
        super().__init__(f"no outcome of command {command_id} within {seconds} s")
        self.command_id = command_id


class ConveyorClient:
    """Publishes commands and waits for their outcomes; `async with` opens and closes it.

    `source` is the sender's CloudEvents source (`/order-service`): source and command id together
    are what makes a repeated command the same command; white space in it raises ValueError. Every method may raise
    `OutcomeUnknownError` after `timeout_seconds`, `ServerUnavailableError` and `RecordRefusedError`.
    """

    def __init__(
        self,
        bootstrap_servers: str,
        *,
        source: str,
        topic_prefix: str = "",
        timeout_seconds: float = 10.0,
        properties: Mapping[str, str] | None = None,
    ) -> None:
        if source.split() != [source]:
            raise ValueError(f"source {source!r} is empty or has white space")
        self._source = source
        self._timeout_seconds = timeout_seconds
        self._writer = KafkaWriter(bootstrap_servers, properties or {}, topic_prefix)
        self._events = KafkaEvents(bootstrap_servers, properties or {}, topic_prefix)

    async def __aenter__(self) -> Self:
        await self._events.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._events.close()
        await self._writer.close()

    async def start(
        self, data: StartData, *, workflow_id: str | None = None, command_id: str | None = None
    ) -> Outcome:
        """Start a workflow; without an id one is derived from the idempotency key or command.

        The same start under the same idempotency key is the same command, and answered as it was then.
        """
        if command_id is None and data.idempotency_key is not None:
            command_id = _command_id(data)
        return await self._command(types.START, workflow_id, data, command_id)

    async def cancel(
        self,
        workflow_id: str,
        reason: str | None = None,
        *,
        compensate: bool | None = None,
        command_id: str | None = None,
    ) -> Outcome:
        """Cancel; `compensate` overrides what the definition says about what was done already."""
        data = CancelData(reason=reason, compensate=compensate)
        return await self._command(types.CANCEL, workflow_id, data, command_id)

    async def compensate(
        self, workflow_id: str, reason: str | None = None, *, command_id: str | None = None
    ) -> Outcome:
        """Undo what a completed or failed workflow did."""
        return await self._reason(types.COMPENSATE, workflow_id, reason, command_id)

    async def pause(
        self, workflow_id: str, reason: str | None = None, *, command_id: str | None = None
    ) -> Outcome:
        """Begin no further step until `resume`."""
        return await self._reason(types.PAUSE, workflow_id, reason, command_id)

    async def resume(
        self, workflow_id: str, reason: str | None = None, *, command_id: str | None = None
    ) -> Outcome:
        """Go on after `pause`."""
        return await self._reason(types.RESUME, workflow_id, reason, command_id)

    async def retry(
        self, workflow_id: str, reason: str | None = None, *, command_id: str | None = None
    ) -> Outcome:
        """Run a failed workflow again from the step that failed."""
        return await self._reason(types.RETRY, workflow_id, reason, command_id)

    async def signal(
        self,
        workflow_id: str,
        name: str,
        payload: Mapping[str, Any] | None = None,
        *,
        actor: str | None = None,
        command_id: str | None = None,
    ) -> Outcome:
        """Tell a workflow something that it may wait for."""
        data = SignalData(name=name, payload=dict(payload or {}), actor=actor)
        return await self._command(types.SIGNAL, workflow_id, data, command_id)

    async def _reason(
        self, command: str, workflow_id: str, reason: str | None, command_id: str | None
    ) -> Outcome:
        return await self._command(command, workflow_id, ReasonData(reason=reason), command_id)

    async def _command(
        self, command: str, workflow_id: str | None, data: BaseModel, command_id: str | None
    ) -> Outcome:
        command_id = command_id or str(uuid.uuid4())
        message = Message(
            topic=topics.COMMANDS,
            key=workflow_id,
            type=command,
            source=self._source,
            id=command_id,
            data=data.model_dump_json(by_alias=True, exclude_unset=True).encode(),
            subject=workflow_id,
            time=rfc3339(datetime.now(UTC)),
            dataschema=types.dataschema(command),
        )
        with self._events.caused_by(command_id) as events:
            try:
                async with asyncio.timeout(self._timeout_seconds):
                    for refused in await self._writer.write([message]):
                        raise RecordRefusedError(message.topic, refused.detail)
                    return _outcome(command_id, await events)
            except TimeoutError:
                raise OutcomeUnknownError(command_id, self._timeout_seconds) from None


def _command_id(data: StartData) -> str:
    """Equal for equal starts, so that a repeat is known by its id; another payload is another command."""
    payload = data.model_dump_json(by_alias=True, exclude_unset=True, exclude={"correlation_id"})
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"conveyor:start:{payload}"))


def _outcome(command_id: str, events: Sequence[Message]) -> Outcome:
    last = events[-1]
    data: dict[str, Any] = orjson.loads(last.data)
    workflow_id: str = data["aggregateId"]
    if last.type == types.COMMAND_REJECTED:
        return Rejected(
            command_id=command_id,
            workflow_id=workflow_id,
            code=data["code"],
            detail=data["detail"],
            allowed_commands=tuple(data.get("allowedCommands") or ()),
        )
    return Accepted(
        command_id=command_id, workflow_id=workflow_id, events=events, version=data["version"]
    )
