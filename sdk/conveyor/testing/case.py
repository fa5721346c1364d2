"""A run of workflows from the beginning: one world of the engine, and the participants that serve it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from conveyor.messages import Message
from conveyor.participant import Participant
from conveyor.testing.errors import KitError, NeverEnding
from conveyor.testing.faults import Faults
from conveyor.testing.services import Asked, Service
from conveyor.testing.site import Site
from conveyor.testing.world import World

#: Nothing happens any more.
ENDED = frozenset(("COMPLETED", "COMPENSATED", "CANCELLED"))
#: Moments at which something happens while a workflow is waited for.
_MOMENTS_MAX = 1_000


class Case:
    """Lets engine and participants act in turn, and time pass only when neither has anything to do."""

    def __init__(
        self,
        world: World,
        participants: Iterable[Participant],
        service: Callable[[str], Service],
        asked: Callable[[str, Asked], None],
        faults: Faults,
    ) -> None:
        self.world = world
        self.faults = faults
        #: What handlers raised besides the SDK's own exceptions, in order.
        self.exceptions: list[BaseException] = []
        self.site = Site(world, participants, service, faults, asked, self._raised)
        #: Ids of the workflows, in the order of their starts.
        self.started: list[str] = []

    def _raised(self, error: BaseException) -> None:
        self.exceptions.append(error)
        # The test's own verdict, for example of an assertion in a handler, or the kit's.
        if isinstance(error, AssertionError | KitError) or not isinstance(error, Exception):
            self.site.activity.fail(error)

    async def close(self) -> None:
        await self.site.close()

    # -- acting ----------------------------------------------------------------------------------

    async def start(
        self, definition: str, input: Mapping[str, Any], options: Mapping[str, Any]
    ) -> str:
        """Start a workflow, and go on to the first standstill; its id. Raises Refused, Unserved."""
        workflow_id = str(options.get("id") or self._next_id(definition))
        body = {**options, "definition": definition, "input": input, "id": workflow_id}
        requests = self.world.start(body)
        if workflow_id not in self.started:
            self.started.append(workflow_id)
        await self._settle(requests)
        return workflow_id

    async def control(self, command: str, workflow_id: str, data: Mapping[str, Any]) -> None:
        """Send a command of this type to a workflow, and go on to the next standstill. Raises Refused."""
        await self._settle(self.world.control(command, workflow_id, data))

    async def finish(self, workflow_id: str) -> None:
        """Let time pass until the workflow has ended or nothing is due. Raises NeverEnding."""
        for _ in range(_MOMENTS_MAX):
            if self.world.statuses.get(workflow_id) in ENDED or not await self._go_on(math.inf):
                return
        raise NeverEnding(
            f"{workflow_id} has not ended in {_MOMENTS_MAX:,} moments, up to {self.world.time:%Y-%m-%d %H:%M};"
            " if it is meant to go on like this, use start and advance"
        )

    async def finish_all(self) -> None:
        """Let time pass until nothing is due."""
        for _ in range(_MOMENTS_MAX):
            if not await self._go_on(math.inf):
                return

    async def advance(self, seconds: float) -> None:
        """Let this much time pass, with all that is due meanwhile."""
        until = self.world.now + seconds
        while await self._go_on(until):
            """Something was due."""
        self._wake(self.world.advance(until))

    # -- in turn ---------------------------------------------------------------------------------

    async def _go_on(self, until: float) -> bool:
        """To the next moment at which something is due, at most until then; whether there is one."""
        moments = (self.world.due, self.site.activity.due)
        due = min((moment for moment in moments if moment is not None), default=None)
        if due is None or due > until:
            return False
        await self._settle(self._wake(self.world.advance(due)))
        return True

    def _wake(self, requests: Sequence[Message]) -> Sequence[Message]:
        self.site.activity.wake(self.world.now)
        return requests

    async def _settle(self, requests: Sequence[Message]) -> None:
        """Until nobody has anything to do at this moment."""
        self.site.deliver(requests)
        while True:
            await self.site.activity.until_quiet()
            replies = self.site.take_replies()
            if not replies:
                return
            self.site.deliver(self.world.reply(replies))

    def _next_id(self, definition: str) -> str:
        number = 1
        # An id has at most 36 characters.
        definition = definition[:30]
        while f"{definition}-{number}" in self.started:
            number += 1
        return f"{definition}-{number}"
