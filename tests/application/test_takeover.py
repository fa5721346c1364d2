"""Taking a partition over from an engine that does not know yet that it lost it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence

import pytest
from conveyor import topics, types
from conveyor.messages import Message, Record

from adapters.memory.event_log import MemoryEventLog
from adapters.memory.publisher import MemoryPublisher
from application.aggregates.catalog import CATALOG
from application.codec.internal import signed_with
from application.engine.claims import Claims
from application.engine.environment import ProcessorSettings
from application.engine.loader import Loader, remembered
from application.engine.memory import Memory
from application.engine.partition import Partition
from application.engine.processor import Processor
from application.outputs import outputs
from application.ports import Commit, Entry, Unavailable
from domain.aggregate.position import Position
from domain.definition.definition import WorkflowDefinition
from domain.values import changed
from infrastructure.clock import SystemClock
from tests.application.installation import (
    DEFINITION,
    GROUP,
    Connection,
    Engine,
    Installation,
    at_once,
    refuses,
)
from tests.contracts.samples import event
from tests.waiting import until


class Gate:
    """Holds the append of a refusal up until it is opened."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.opened = asyncio.Event()

    async def __call__(self, commits: Sequence[Commit]) -> None:
        if any(map(refuses, commits)):
            self.reached.set()
            await self.opened.wait()


@pytest.fixture
async def installation(request: pytest.FixtureRequest) -> AsyncIterator[Installation]:
    """Of one partition, unless the test asks for more."""
    installation = Installation(partitions=getattr(request, "param", 1))
    await installation.initialise()
    yield installation
    for engine in installation.engines:
        engine.processor.stop()
    await asyncio.gather(*(engine.task for engine in installation.engines))


async def zombie_about_to_refuse(installation: Installation, gate: Gate) -> Engine:
    """An engine that has decided to refuse `m1`, and lost its partition before it could say so.

    Meanwhile the definition that it did not find was registered.
    """
    zombie = installation.engine("zombie", gate)
    installation.start_workflow("m1")
    async with asyncio.timeout(30):
        await gate.reached.wait()
    installation.broker.group(GROUP).expel("zombie")
    installation.registered = DEFINITION
    return zombie


async def test_a_refusal_that_comes_after_the_takeover_meets_the_fence(
    installation: Installation,
) -> None:
    """The new owner has accepted the command, so what the old one decided must not count (PROTOCOL rule 8)."""
    gate = Gate()
    zombie = await zombie_about_to_refuse(installation, gate)
    installation.engine("owner")
    await until(lambda: installation.outcomes("m1"))

    gate.opened.set()
    await until(lambda: zombie.refusals)

    assert zombie.refusals == [False]
    await until(lambda: zombie.telemetry.counts.get("restarts"))
    assert types.COMMAND_REJECTED not in installation.outcomes("m1")
    assert installation.decided_for("m1") == ["wf-1"]


async def test_a_refusal_that_comes_during_the_takeover_stands(installation: Installation) -> None:
    """Written after the new owner has read and before its claim: it reads again, and does not accept."""
    gate = Gate()
    zombie = await zombie_about_to_refuse(installation, gate)

    async def after_the_refusal(_: Sequence[Commit]) -> None:
        gate.opened.set()
        await until(lambda: zombie.refusals)

    installation.engine("owner", after_the_refusal)
    await until(lambda: installation.is_done(1))

    assert zombie.refusals == [True]
    assert installation.outcomes("m1") == {types.COMMAND_REJECTED}
    assert installation.decided_for("m1") == ["inbox:0"]


class HeldLookUps:
    """The registry as an engine sees it that stands still while it looks a definition up."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation
        self.reached = asyncio.Event()
        self.opened = asyncio.Event()

    def cached(self, reference: str, version: int | None) -> WorkflowDefinition | None:
        return self._installation.cached(reference, version)

    async def get(self, reference: str, version: int | None) -> WorkflowDefinition | None:
        self.reached.set()
        await self.opened.wait()
        return await self._installation.get(reference, version)


async def test_an_acceptance_that_comes_after_the_owner_refused_meets_the_fence(
    installation: Installation,
) -> None:
    """The definition was registered in between: who finds it so late makes sure that the partition is still its own."""
    registry = HeldLookUps(installation)
    zombie = installation.engine("zombie", definitions=registry)
    installation.start_workflow("m1")
    async with asyncio.timeout(30):
        await registry.reached.wait()
    installation.broker.group(GROUP).expel("zombie")
    installation.engine("owner")
    await until(lambda: installation.outcomes("m1"))

    installation.registered = DEFINITION
    registry.opened.set()
    await until(lambda: zombie.telemetry.counts.get("restarts"))

    assert installation.outcomes("m1") == {types.COMMAND_REJECTED}
    assert installation.decided_for("m1") == ["inbox:0"]


async def test_a_definition_is_claimed_for_once(installation: Installation) -> None:
    """The second start on it costs no append more than its own."""
    installation.registered = DEFINITION
    engine = installation.engine("engine")
    installation.start_workflow("m1")
    await until(lambda: installation.is_done(1))
    installation.start_workflow("m2")
    await until(lambda: installation.is_done(2))

    appended = [commit.id for commits, _ in engine.log.appended for commit in commits]
    assert appended == ["inbox:0:000001", "inbox:0:000002", "wf-1:000001", "wf-1:000003"]


@pytest.mark.parametrize("installation", [12], indirect=True)
async def test_all_partitions_are_claimed_at_once(installation: Installation) -> None:
    """However many there are, a takeover costs one append, and nobody is told of it."""
    engine = installation.engine("engine")
    await until(lambda: installation.broker.group(GROUP).committed)

    [(claims, written)] = engine.log.appended
    assert sorted(claim.id for claim in claims) == sorted(f"inbox:{p}:000001" for p in range(12))
    assert all(written)
    assert [message for claim in claims for message in outputs(claim, signed_with(b""))] == []
    assert [log.end for log in installation.broker.topic(topics.EVENTS).logs] == [0] * 12


async def test_a_claim_applies_nothing(installation: Installation) -> None:
    """It is remembered neither as a command nor as the position of one that is still to be decided."""
    engine = installation.engine("engine")
    await until(lambda: engine.log.appended)
    [claim] = engine.log.appended[0][0]

    memory = remembered(Memory(), claim.entries[0])

    first = changed(claim.entries[0].cause, offset=0)
    assert not memory.has_applied(first)
    assert not memory.command_ids


class HeldWaits(SystemClock):
    """A clock of an engine that goes on after a failure only when the test lets it."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.opened = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        if self.opened.is_set():
            await super().sleep(seconds)
            return
        self.reached.set()
        await self.opened.wait()


class OutOfReach(MemoryPublisher):
    """A broker to which nothing can be written until it comes back."""

    is_away = True

    async def publish(self, messages: Sequence[Message | Record]) -> None:
        if messages and self.is_away:
            raise Unavailable("kafka", "no answer")
        await super().publish(messages)


@pytest.mark.parametrize("successor", ["another engine", "the same engine"])
async def test_recovery_publishes_what_was_appended_and_not_sent(
    installation: Installation, successor: str
) -> None:
    """Whoever goes on publishes the commit that is in the log, and does not decide its message again (rule 6)."""
    installation.registered = DEFINITION
    broker, clock = OutOfReach(installation.broker), HeldWaits()
    installation.engine("first", publisher=broker, clock=clock)
    installation.start_workflow("m1")
    async with asyncio.timeout(30):
        await clock.reached.wait()
    assert installation.decided_for("m1") == ["wf-1"]
    assert installation.outcomes("m1") == set()

    if successor == "another engine":
        # The first comes back at once. The group prefers earlier members, so the second joins before that.
        group = installation.broker.group(GROUP)
        installation.engine("second")
        await until(lambda: group.has("second"))
        group.expel("first")
    else:
        broker.is_away = False
    clock.opened.set()
    await until(lambda: installation.is_done(1))

    assert "orchestration.workflow.started" in installation.outcomes("m1")
    assert installation.decided_for("m1") == ["wf-1"]


class Unread(Connection):
    """A log of which what later messages caused cannot be read: no takeover gets beyond its claim."""

    async def since(self, starts: Sequence[Position]) -> Sequence[Commit]:
        raise Unavailable("eventStore", "not now")


async def test_a_takeover_that_fails_leaves_nothing_that_the_next_must_read(
    installation: Installation,
) -> None:
    """Its claim is projected at once, with the refusals before it, which go out first (PROTOCOL rule 12)."""
    cause = Position(installation.broker.topic(topics.COMMANDS).id, topics.COMMANDS, 0, 0, 0)
    refusal = event("wf-1", 0, type=types.COMMAND_REJECTED, eventId="inbox:0:1")
    await installation.log.append(
        [Commit("inbox:0", 1, 0, (Entry(cause, "/shop m1", (refusal,)),))]
    )
    log = Unread(installation.log, at_once)
    ports = installation.ports("engine", log)
    settings = ProcessorSettings(retry_wait_seconds=0.01)
    processor = Processor(ports, installation._layout, lambda _: 0, CATALOG, settings)

    task = asyncio.ensure_future(processor.run())
    await until(lambda: len(log.appended) > 3)
    processor.stop()
    await task

    claims = len(log.appended)
    projected = await installation.projections.load(["inbox:0"])
    assert projected["inbox:0"]["version"] == 1 + claims
    assert await log.read({"inbox:0": 1 + claims}) == {}
    assert installation.outcomes("m1") == {types.COMMAND_REJECTED}
    [events] = installation.broker.topic(topics.EVENTS).logs
    assert events.end == 1


class Hidden(MemoryEventLog):
    """A log of which a majority shows nothing."""

    async def read(self, after: Mapping[str, int]) -> Mapping[str, Sequence[Commit]]:
        return {}


async def test_who_is_forestalled_by_what_is_never_shown_gives_up() -> None:
    """After a fail-over the other commit may be gone for good: the takeover begins again (PROTOCOL rule 14)."""
    installation = Installation(partitions=1)
    await installation.initialise()
    log = Hidden()
    other = event("wf-1", 0, type=types.COMMAND_REJECTED, eventId="inbox:0:1")
    cause = Position("id", topics.COMMANDS, 0, 0, 0)
    await log.append([Commit("inbox:0", 1, 0, (Entry(cause, "/shop m1", (other,)),))])
    waits: list[int] = []

    async def back_off() -> None:
        waits.append(1)

    ports = installation.ports("engine", log)
    loader = Loader(log, installation.projections, installation.get, CATALOG)
    partition = Partition(0)
    partition.topic_ids[topics.COMMANDS], partition.decided[topics.COMMANDS] = "id", 0

    with pytest.raises(Unavailable, match="inbox:0"):
        await Claims(ports, loader, back_off).claim({0: partition})

    assert len(waits) > 10
