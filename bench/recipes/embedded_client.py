"""The client of the embedded mode: writes start commands in groups and reads the ends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from conveyor import topics, types
from conveyor.messages import Message
from conveyor.times import rfc3339

from adapters.sqlite.batches import as_message
from adapters.sqlite.store import SqliteStore
from adapters.sqlite.topics import Taken
from application.ports import Clock, PublishEventPort
from bench.recipes.load import Phase

_WAIT_SECONDS = 1.0
_EVENTS_AT_ONCE = 5000
SOURCE = "/conveyor/bench"


class EmbeddedClient:
    """Keeps the workflows of a phase in flight."""

    def __init__(self, store: SqliteStore, publisher: PublishEventPort, clock: Clock) -> None:
        self._store = store
        self._publisher = publisher
        self._clock = clock

    async def drive(self, phase: Phase, tick: Callable[[Phase], None] | None = None) -> None:
        """Run the phase to its end. Raises BenchError when nothing ends any more."""
        topic = await self._store.topic(topics.EVENTS)
        events = self._store.consumer({topic: topic.end})
        room = asyncio.Event()
        room.set()
        starting = asyncio.create_task(self._start(phase, room))
        try:
            while not phase.is_over:
                taken = await events.take(_EVENTS_AT_ONCE, _WAIT_SECONDS)
                if starting.done():
                    starting.result()
                if _end(phase, taken):
                    room.set()
                    if tick is not None:
                        tick(phase)
                else:
                    phase.check_progress()
        finally:
            starting.cancel()
            events.close()

    async def _start(self, phase: Phase, room: asyncio.Event) -> None:
        """Write what is due as one group, again and again."""
        while True:
            await room.wait()
            room.clear()
            now = rfc3339(self._clock.now())
            await self._publisher.publish(
                [
                    Message(
                        topic=topics.COMMANDS,
                        key=start.workflow_id,
                        type=types.START,
                        source=SOURCE,
                        id=start.workflow_id,
                        subject=start.workflow_id,
                        time=now,
                        data=start.data,
                    )
                    for start in phase.due()
                ]
            )


def _end(phase: Phase, taken: Sequence[Taken]) -> int:
    """Note the ends among the events. Returns how many workflows have ended."""
    before, now = phase.ended, time.perf_counter()
    for _, batches in taken:
        for batch in batches:
            for stored in batch.records:
                message = as_message(stored)
                if isinstance(message, Message) and message.type in phase.marks:
                    how = phase.ending(message.type, message.data)
                    if how is not None:
                        phase.end(message.key or "", how, now)
    return phase.ended - before
