"""Commands over Kafka for clients: each is written to its topic, and its outcome is read from the events."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import orjson

from conveyor import topics, types
from conveyor.connection import Command, WorkflowReads
from conveyor.endings import ENDS, Ending
from conveyor.errors import (
    OutcomeUnknownError,
    RecordRefusedError,
    RequestRefusedError,
    ServerUnavailableError,
    UnsupportedError,
)
from conveyor.kafka_events import KafkaEvents, PastEvents
from conveyor.kafka_subscription import subscription
from conveyor.kafka_writer import KafkaWriter
from conveyor.messages import Message
from conveyor.resources import Event
from conveyor.times import parse_rfc3339, rfc3339

if TYPE_CHECKING:
    from conveyor.http_connection import HttpConnection

_AGAIN_SECONDS = 0.1
#: Of this many starts the time is remembered, so that their results need not be looked for in the whole topic.
_STARTS_KEPT = 10_000
#: A clock may be set back between an event and its publication.
_CLOCK_MS = 5_000


class KafkaConnection:
    """The `Connection` over Kafka; reads go over HTTP, if there is an address for them."""

    def __init__(
        self,
        bootstrap_servers: str,
        *,
        source: str,
        topic_prefix: str,
        properties: Mapping[str, str],
        timeout_seconds: float,
        http: HttpConnection | None,
    ) -> None:
        self._source = source
        self._timeout_seconds = timeout_seconds
        self._writer = KafkaWriter(bootstrap_servers, properties, topic_prefix)
        self._events = KafkaEvents(bootstrap_servers, properties, topic_prefix)
        self._past = PastEvents(bootstrap_servers, properties, topic_prefix)
        self._http = http
        #: When it was started, in Unix milliseconds, by workflow id.
        self._starts: OrderedDict[str, int] = OrderedDict()
        self._subscription = partial(subscription, bootstrap_servers, properties, topic_prefix)

    async def open(self) -> None:
        await self._events.start()
        if self._http is not None:
            await self._http.open()

    async def close(self) -> None:
        async with AsyncExitStack() as closing:
            for part in (self._writer, self._past, self._events, self._http):
                if part is not None:
                    closing.push_async_callback(part.close)

    @property
    def reads(self) -> WorkflowReads:
        if self._http is None:
            raise UnsupportedError(
                "reading workflows needs HTTP: Client.over_kafka(..., url='http://...') or CONVEYOR_URL"
            )
        return self._http

    def subscribe(self, group: str | None, after: str) -> AsyncGenerator[Event, None]:
        return self._subscription(group=group, after=after)

    # -- commands --------------------------------------------------------------------------------

    async def send(self, command: Command) -> str:
        with self._events.caused_by(command.id) as caused:
            try:
                async with asyncio.timeout(self._timeout_seconds):
                    await self._write(command)
                    event = await caused.get()
            except TimeoutError:
                raise OutcomeUnknownError(command.idempotency_key, self._timeout_seconds) from None
        data: dict[str, Any] = orjson.loads(event.data)
        workflow_id: str = data["aggregateId"]
        if event.type == types.COMMAND_REJECTED:
            raise RequestRefusedError(
                data["code"],
                data["detail"],
                workflow_id=workflow_id,
                workflow_status=data.get("status"),
                allowed_commands=data.get("allowedCommands") or (),
                errors=data.get("faults") or (),
            )
        if command.type == types.START:
            started = parse_rfc3339(data["occurredAt"])
            self._starts[workflow_id] = int(started.timestamp() * 1000) - _CLOCK_MS
            if len(self._starts) > _STARTS_KEPT:
                self._starts.popitem(last=False)
        return workflow_id

    async def _write(self, command: Command) -> None:
        """Until a broker has it. Raises RecordRefusedError."""
        message = Message(
            topic=topics.COMMANDS,
            key=command.workflow_id,
            type=command.type,
            source=self._source,
            id=command.id,
            data=command.data,
            subject=command.workflow_id,
            time=rfc3339(datetime.now(UTC)),
            dataschema=types.dataschema(command.type),
        )
        while True:
            try:
                refused = await self._writer.write([message])
            except ServerUnavailableError:
                await asyncio.sleep(_AGAIN_SECONDS)
                continue
            for each in refused:
                raise RecordRefusedError(message.topic, each.detail)
            return

    # -- results ---------------------------------------------------------------------------------

    async def result(self, workflow_id: str) -> dict[str, Any]:
        with self._events.following(workflow_id) as events:
            if self._http is None:
                ending = await self._ending_from_topic(workflow_id, events)
            else:
                ending = await self._ending_over_http(self._http, workflow_id, events)
        return ending.result()

    async def _ending_from_topic(self, workflow_id: str, events: asyncio.Queue[Message]) -> Ending:
        ending, version = Ending(workflow_id), 0
        past = await self._past.of(workflow_id, self._starts.get(workflow_id, 0))
        waiting = deque(past)
        while waiting or not ending.has_come:
            event = waiting.popleft() if waiting else await events.get()
            data: dict[str, Any] = orjson.loads(event.data)
            # An old event may come again, even after newer ones.
            if data["version"] > version:
                version = data["version"]
                ending.take(event.type, data)
        return ending

    async def _ending_over_http(
        self, http: HttpConnection, workflow_id: str, events: asyncio.Queue[Message]
    ) -> Ending:
        while True:
            try:
                ending = await http.ending(workflow_id)
            except ServerUnavailableError:
                # Perhaps at once, where something else responds at the address.
                await asyncio.sleep(_AGAIN_SECONDS)
                continue
            if ending.has_come:
                return ending
            await _until_it_may_have_ended(events)


async def _until_it_may_have_ended(events: asyncio.Queue[Message]) -> None:
    while (await events.get()).type not in ENDS:
        pass
