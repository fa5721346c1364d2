"""Sends commands and waits for their outcomes, for REST and in-process clients.

The engine's events carry the command's id as `causationid`, so a waiter follows the event feed. A command without an
outcome in time is not lost: it is on the topic.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
from conveyor import topics, types
from conveyor.messages import Message
from conveyor.times import rfc3339

from application.codec.commands import EXPECTED_VERSION
from application.codec.endings import MAY_END, status_at_end
from application.codec.starts import payload_hash
from application.ports import Clock, Document, EventFeed, PublishEventPort, Unavailable
from domain.aggregate.event import CommandRejected
from domain.workflow.events import WorkflowAccepted, WorkflowStarted

SOURCE = "/conveyor/api"
#: How long a topic may take to acknowledge a command.
_PUBLISH_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a command."""

    workflow_id: str
    command_id: str
    #: The first event that it caused (`command.rejected` if it was refused). None: not known in time.
    event: Document | None
    #: The start repeats an earlier one with the same idempotency key and payload.
    is_duplicate: bool = False

    @property
    def is_known(self) -> bool:
        return self.event is not None

    @property
    def is_rejected(self) -> bool:
        return self.event is not None and self.event["eventType"] == CommandRejected.NAME

    @property
    def version(self) -> int:
        """The workflow's version after the outcome; 0 if there is no workflow."""
        return self.event["version"] if self.event is not None else 0


#: A waiter's result: an outcome, an ending, or None if no more events will be seen here.
_Answer = Outcome | Document | None


@dataclass(slots=True)
class _Waiter:
    future: asyncio.Future[_Answer]
    accepts: Callable[[Message], Outcome | Document | None]


@dataclass(slots=True)
class _Waiters:
    """The waiters for events, by workflow."""

    by_workflow: dict[str, list[_Waiter]] = field(default_factory=dict[str, list[_Waiter]])
    is_released: bool = False

    def release(self) -> None:
        """Release all waiters, now and later."""
        self.is_released = True
        for waiters in self.by_workflow.values():
            for waiter in waiters:
                if not waiter.future.done():
                    waiter.future.set_result(None)

    @contextmanager
    def waiting(self, workflow_id: str, waiter: _Waiter) -> Generator[None]:
        if self.is_released:
            waiter.future.set_result(None)
        waiters = self.by_workflow.setdefault(workflow_id, [])
        waiters.append(waiter)
        try:
            yield
        finally:
            waiters.remove(waiter)
            if not waiters:
                self.by_workflow.pop(workflow_id, None)

    def tell(self, message: Message) -> None:
        for waiter in self.by_workflow.get(message.key or "", ()):
            if not waiter.future.done():
                answer = waiter.accepts(message)
                if answer is not None:
                    waiter.future.set_result(answer)


class CommandGateway:
    """Publishes commands and waits for their outcomes. `run` must be running while a caller waits."""

    def __init__(self, publisher: PublishEventPort, feed: EventFeed, clock: Clock) -> None:
        self._publisher = publisher
        self._feed = feed
        self._clock = clock
        self._waiters = _Waiters()

    def release(self) -> None:
        """Release all waiters, now and later, without an outcome: the process is ending."""
        self._waiters.release()

    async def run(self) -> None:
        """Follow the events until cancelled."""
        async for message in self._feed.follow():
            self._waiters.tell(message)

    def message(
        self,
        command_type: str,
        workflow_id: str,
        data: Mapping[str, Any],
        *,
        actor: str = "system",
        traceparent: str | None = None,
        command_id: str | None = None,
        expected_version: int | None = None,
    ) -> Message:
        """The command as a message for the topic. It is refused in any other than the expected version."""
        extensions = {"actor": actor}
        if expected_version is not None:
            extensions[EXPECTED_VERSION] = str(expected_version)
        if traceparent is not None:
            extensions["traceparent"] = traceparent
        return Message(
            topic=topics.COMMANDS,
            key=workflow_id,
            type=command_type,
            source=SOURCE,
            id=command_id or str(uuid.uuid4()),
            subject=workflow_id,
            time=rfc3339(self._clock.now()),
            data=orjson.dumps(data),
            extensions=extensions,
        )

    async def send(self, command: Message, wait_seconds: float) -> Outcome:
        """Publish the command and wait for its outcome, at most this long.

        Raises Unavailable if the topic does not acknowledge it in time. It may still arrive: a repetition with the same
        id, or idempotency key, is the same command.
        """
        workflow_id = command.key or ""
        hashed = payload_hash(command.data) if command.type == types.START else ""
        future: asyncio.Future[_Answer] = asyncio.get_running_loop().create_future()
        waiter = _Waiter(future, lambda message: _outcome(command, hashed, message))
        with self._waiters.waiting(workflow_id, waiter):
            publishing = asyncio.ensure_future(self._publisher.publish([command]))
            done, _ = await asyncio.wait([publishing], timeout=_PUBLISH_SECONDS)
            if not done:
                publishing.add_done_callback(_take_note)
                detail = f"the command was not taken within {_PUBLISH_SECONDS:g} s; repeat it"
                raise Unavailable("kafka", detail)
            await publishing
            await asyncio.wait([future], timeout=wait_seconds)
        outcome = future.result() if future.done() else None
        if isinstance(outcome, Outcome):
            return outcome
        return Outcome(workflow_id, command.id, None)

    @contextmanager
    def ending(self, workflow_id: str) -> Generator[asyncio.Future[_Answer]]:
        """A future of the event that ends the workflow, or of None if it will not be seen here.

        Call this before the command is sent.
        """
        future: asyncio.Future[_Answer] = asyncio.get_running_loop().create_future()
        with self._waiters.waiting(workflow_id, _Waiter(future, _end)):
            yield future


def _take_note(publishing: asyncio.Future[None]) -> None:
    """Consume the error of a send whose caller no longer waits. The caller knows that the outcome is unknown."""
    if not publishing.cancelled():
        publishing.exception()


def _outcome(command: Message, hashed: str, message: Message) -> Outcome | None:
    workflow_id = command.key or ""
    if message.extensions.get("causationid") == command.id:
        return Outcome(workflow_id, command.id, orjson.loads(message.data))
    begins = message.type in (WorkflowStarted.TYPE, WorkflowAccepted.TYPE)
    if command.type != types.START or not begins:
        return None
    # A repeated start is answered with the events of the first one.
    event: Document = orjson.loads(message.data)
    if event.get("payloadHash") == hashed and event.get("idempotencyKey") is not None:
        return Outcome(workflow_id, command.id, event, is_duplicate=True)
    return None


def _end(message: Message) -> Document | None:
    if message.type not in MAY_END:
        return None
    event: Document = orjson.loads(message.data)
    return None if status_at_end(message.type, event) is None else event
