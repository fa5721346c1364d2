"""A client for services: send a command over Kafka and wait for its outcome."""

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
from conveyor.payloads import written
from conveyor.times import rfc3339
from conveyor.wire import CancelData, ReasonData, SignalData, StartData


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The engine accepted the command, now or when it was first sent."""

    command_id: str
    workflow_id: str
    #: The first events that the command caused.
    events: Sequence[Message]
    #: The workflow's version after `events`.
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """The engine understood the command and refused it."""

    command_id: str
    workflow_id: str
    code: str
    detail: str
    #: The commands that the workflow would accept now; empty if there is no such workflow.
    allowed_commands: Sequence[str] = field(default=())


Outcome: TypeAlias = Accepted | Rejected


class OutcomeUnknownError(Exception):
    """No outcome was published in time.

    The engine may still carry the command out. If you send it again with this `command_id`, it is
    applied only once.
    """

    def __init__(self, command_id: str, seconds: float) -> None:
        super().__init__(f"no outcome of command {command_id} within {seconds} s")
        self.command_id = command_id


class ConveyorClient:
    """Sends commands and waits for their outcomes; use it with `async with`.

    `source` is your service's CloudEvents source, such as `/order-service`. The engine recognises a
    repeated command by source and command id. A source with white space raises ValueError.
    `topic_prefix` stands before every topic name, `properties` are librdkafka's. Every method may raise
    `OutcomeUnknownError` after `timeout_seconds`, `ServerUnavailableError` and `RecordRefusedError`.
    Data that JSON does not have, such as NaN, raises `UnstorableJson` before anything is sent.
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
        """Start a workflow and return the outcome.

        Without `workflow_id` the engine derives one from the idempotency key or the command id.
        Repeating a start with the same idempotency key and data returns the first outcome again.
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
        """Cancel a workflow.

        `compensate` says whether completed steps are undone; None leaves that to the definition.
        """
        data = CancelData(reason=reason, compensate=compensate)
        return await self._command(types.CANCEL, workflow_id, data, command_id)

    async def compensate(
        self, workflow_id: str, reason: str | None = None, *, command_id: str | None = None
    ) -> Outcome:
        """Undo the completed steps of a completed or failed workflow."""
        return await self._reason(types.COMPENSATE, workflow_id, reason, command_id)

    async def pause(
        self, workflow_id: str, reason: str | None = None, *, command_id: str | None = None
    ) -> Outcome:
        """Pause a workflow: no further step begins until `resume`."""
        return await self._reason(types.PAUSE, workflow_id, reason, command_id)

    async def resume(
        self, workflow_id: str, reason: str | None = None, *, command_id: str | None = None
    ) -> Outcome:
        """Continue a paused workflow."""
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
        command_id: str | None = None,
    ) -> Outcome:
        """Send a named signal with a payload; a workflow may wait for it."""
        data = SignalData(name=name, payload=dict(payload or {}))
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
            data=written(data),
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
    payload = written(data, without={"correlation_id"}).decode()
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
