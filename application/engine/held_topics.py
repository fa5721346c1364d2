"""Holding back topics that refuse messages, while all other topics continue (ADR 24).

Nothing is written to a held topic until it accepts messages again. Nothing is buffered either: while a topic is
held, no offset is committed, so the omitted messages follow again from commits and inbox messages. When the topic
accepts messages, every partition restarts at its committed offsets.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from conveyor import topics
from conveyor.cloudevents import encode
from conveyor.dead_letters import size_of
from conveyor.messages import Message, Record

from application.engine.environment import Health
from application.ports import Clock, PublishEventPort, Refused, TopicRepair, Unavailable

log = structlog.get_logger("WorkflowEngine")

#: Seconds between two attempts on one topic, doubled each time for the life of the process.
_WAIT_SECONDS = 1.0
_WAIT_SECONDS_MAX = 60.0


@dataclass(slots=True)
class _Held:
    try_at: float
    #: The message with which the topic is tried again. Of events it is the first that was omitted, since events are
    #: published in order; on other topics it is the largest, since a size limit may refuse it.
    sample: Message | Record | None = None
    takes_again: bool = False


class HeldTopics:
    """The engine's `PublishEventPort`. It omits the messages of topics that refuse them."""

    def __init__(
        self,
        publisher: PublishEventPort,
        repair: TopicRepair | None,
        clock: Clock,
        health: Health,
    ) -> None:
        self._publisher = publisher
        self._repair = repair
        self._clock = clock
        self._health = health
        self._held: dict[str, _Held] = {}
        #: topic -> seconds until the next attempt
        self._waits: dict[str, float] = {}
        self._attempt: asyncio.Task[None] | None = None

    @property
    def is_any(self) -> bool:
        """Whether messages were omitted since the partitions started, so that no offset may be committed."""
        return bool(self._held)

    def publish(self, messages: Sequence[Message | Record]) -> Coroutine[Any, Any, None]:
        """As the port specifies, for topics that are not held."""
        going = self._without_held(messages) if self._held else messages
        return self._watched(going, self._publisher.publish(going))

    def look(self) -> None:
        """Start an attempt on a topic if one is due. Raises Unavailable when one accepts messages: restart then."""
        if self._attempt is not None:
            if not self._attempt.done():
                return
            finished, self._attempt = self._attempt, None
            finished.result()
        again = sorted(topic for topic, held in self._held.items() if held.takes_again)
        if again:
            raise Unavailable("kafka", f"{', '.join(again)}: messages are taken again")
        now = self._clock.monotonic()
        for topic, held in self._held.items():
            if held.sample is None:
                # A restart would try the topic as well, but publish everything again.
                held.takes_again = held.try_at + _WAIT_SECONDS_MAX <= now
            elif held.try_at <= now and self._repair is not None:
                attempt = self._try_again(self._repair, topic, held.sample)
                self._attempt = asyncio.ensure_future(attempt)
                return

    def forget_samples(self) -> None:
        """Partitions were lost: their next owner decides when their timers fire.

        The sample event is kept: the next owner writes it too, and a copy does no harm.
        """
        for topic, held in self._held.items():
            if topic != topics.EVENTS:
                held.sample = None

    def reopen(self) -> None:
        """Write again to the topics that accept messages.

        Must be called while nothing is being published, before all partitions restart.
        """
        for topic in [topic for topic, held in self._held.items() if held.takes_again]:
            del self._held[topic]
            del self._health.held_topics[topic]
            log.info("the topic takes messages again", action="topic.reopened", topic=topic)

    async def close(self) -> None:
        """Cancel the current attempt."""
        if self._attempt is not None:
            self._attempt.cancel()
            await asyncio.wait([self._attempt])

    async def _watched(
        self, messages: Sequence[Message | Record], writing: Coroutine[Any, Any, None]
    ) -> None:
        try:
            await writing
        except Refused as refused:
            self._hold(refused.topic, refused.reason)
            self._without_held(messages)
            raise

    def _without_held(self, messages: Sequence[Message | Record]) -> Sequence[Message | Record]:
        going: list[Message | Record] = []
        for message in messages:
            held = self._held.get(message.topic)
            if held is None:
                going.append(message)
            elif held.sample is None or (
                message.topic != topics.EVENTS and _size(message) > _size(held.sample)
            ):
                held.sample = message
        return going

    def _hold(self, topic: str, reason: str) -> None:
        wait = self._waits.get(topic, _WAIT_SECONDS)
        self._waits[topic] = min(wait * 2, _WAIT_SECONDS_MAX)
        self._held[topic] = _Held(try_at=self._clock.monotonic() + wait)
        self._report(topic, reason)
        log.error(
            "ALARM: a topic refuses messages. Its messages are held back and no offset is committed until it takes"
            " them; everything else goes on",
            action="topic.held",
            topic=topic,
            detail=reason,
        )

    def _report(self, topic: str, reason: str) -> None:
        self._health.held_topics[topic] = (
            f"takes no messages ({reason}); they are held back. Run `conveyor init`, or check the topic's"
            " max.message.bytes and the engine's permissions on it"
        )

    async def _try_again(self, repair: TopicRepair, topic: str, sample: Message | Record) -> None:
        held = self._held[topic]
        try:
            await repair.try_again(topic, sample)
        except Unavailable as still:
            wait = self._waits[topic]
            self._waits[topic] = min(wait * 2, _WAIT_SECONDS_MAX)
            held.try_at = self._clock.monotonic() + wait
            self._report(topic, still.detail)
        else:
            held.takes_again = True


def _size(message: Message | Record) -> int:
    return size_of(encode(message) if isinstance(message, Message) else message)
