"""What this version cannot read stops its partition alone: nothing of it is lost, and a newer version goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from conveyor import topics, types
from conveyor.messages import Message
from conveyor.times import rfc3339
from structlog.testing import capture_logs
from structlog.typing import EventDict

from adapters.memory.inbox import MemoryInbox
from adapters.memory.projections import MemoryProjections
from adapters.partitioner import partition_for
from application.aggregates.aggregate import Catalog
from application.aggregates.catalog import CATALOG
from application.aggregates.inbox import INBOX
from application.aggregates.workflow import WORKFLOW
from application.codec.internal import TIMER_DUE, read_timer, send_message, signed_with
from application.ports import Commit, Document, Entry, Unavailable
from domain.aggregate.event import DomainEvent
from domain.aggregate.position import Position
from domain.values import changed
from domain.workflow.evolve import evolve
from domain.workflow.instance import WorkflowInstance
from infrastructure.clock import SystemClock
from tests.application.installation import DEFINITION, GROUP, Engine, Installation
from tests.batons import BATON, start_gun
from tests.contracts.samples import recorded
from tests.messages import message_of
from tests.waiting import until

OLD = "wf-1"
STUCK = partition_for(OLD.encode(), 2)
#: A workflow of the other partition.
OTHER = next(i for n in range(99) if partition_for((i := f"other-{n}").encode(), 2) != STUCK)
T = "2026-11-21T02:30:00.000Z"
SIGN = signed_with(b"secret")


class Teleported(DomainEvent):
    """An event of the next version."""

    TYPE = "orchestration.workflow.teleported"
    NAME = "WorkflowTeleportedEvent"


def _evolve(state: WorkflowInstance | None, event: DomainEvent, id_: str = "") -> WorkflowInstance:
    if isinstance(event, Teleported):
        assert state is not None
        return changed(state, version=state.version + 1, updated_at=event.occurred_at)
    return evolve(state, event, id_)


_KIND = replace(WORKFLOW.kind, events=(*WORKFLOW.kind.events, Teleported), evolve=_evolve)
#: The kinds of the next version.
NEWER = Catalog((replace(WORKFLOW, kind=_KIND), INBOX, BATON), shared={TIMER_DUE: read_timer})


def teleported(installation: Installation) -> Commit:
    """What an engine of the next version appends to the workflow."""
    last = installation.log.in_order()[-1]
    assert last.aggregate_id == OLD
    data: Document = {
        **last.entries[-1].events[-1].data,
        "eventId": f"{OLD}:{last.last_version + 1}",
        "eventType": Teleported.NAME,
        "version": last.last_version + 1,
        "occurredAt": rfc3339(SystemClock().now()),
    }
    entry = Entry(
        Position(installation.broker.topic(topics.COMMANDS).id, topics.COMMANDS, STUCK, 0, 0),
        "/shop newer",
        (recorded(Teleported.TYPE, data),),
        1,
    )
    return Commit(OLD, last.last_version + 1, STUCK, (entry,))


def pause(message_id: str) -> Message:
    return message_of(types.PAUSE, workflow_id=OLD, source="/shop", id=message_id)


def unknown_message(_: Installation) -> Message:
    """Of a type that only the next version takes."""
    return send_message(SIGN, {"to": OLD, "type": "teleport", "data": {}}, "newer")


def unknown_aggregate(_: Installation) -> Message:
    """A timer of a kind that only the next version has; the message itself is known."""
    key = next(k for n in range(99) if partition_for((k := f"lock:{n}").encode(), 2) == STUCK)
    data = b'{"kind":"wait","stepId":null,"attempt":1,"round":1}'
    headers = {"conveyor-mac": SIGN(TIMER_DUE, key, data)}
    return message_of(TIMER_DUE, data, key, source="/conveyor/timers", id="newer", headers=headers)


@pytest.fixture
async def installation() -> Installation:
    """Two partitions; in each a workflow has started, and all is written."""
    made = Installation(partitions=2)
    await made.initialise()
    made.registered = DEFINITION
    engine = made.engine("first")
    made.start_workflow("m1", OLD)
    made.start_workflow("m2", OTHER)
    await until(lambda: made.is_done(1, 0) and made.is_done(1, 1))
    await ended(engine)
    return made


async def ended(engine: Engine) -> None:
    engine.processor.stop()
    await engine.task


def alarms(logs: list[EventDict]) -> list[dict[str, Any]]:
    return [dict(line) for line in logs if "ALARM" in line["event"]]


async def expect_standstill(installation: Installation, engine: Engine, because: str) -> None:
    """The partition does, with that reason; the other one goes on committing."""
    inbox = engine.processor.ports.inbox
    await until(lambda: STUCK in inbox.stopped)
    assert because in inbox.stopped[STUCK]
    assert "newer" in inbox.stopped[STUCK]
    done = installation.committed(1 - STUCK)
    installation.start_workflow("m3", OTHER)
    await until(lambda: installation.is_done(done + 1, 1 - STUCK))
    assert list(inbox.stopped) == [STUCK]
    assert not engine.task.done()


async def test_an_event_of_a_newer_version_stops_its_partition_alone(
    installation: Installation,
) -> None:
    """It is met when a command asks for the workflow; the command is decided by the newer version."""
    with capture_logs() as logs:
        engine = installation.engine("older")
        await until(lambda: len(engine.processor.partitions) == 2)
        await installation.log.append([teleported(installation)])
        installation.broker.append(pause("p1"))

        await expect_standstill(installation, engine, Teleported.TYPE)
        await ended(engine)
    [alarm] = alarms(logs)
    assert (alarm["log_level"], alarm["partition"]) == ("error", STUCK)
    assert installation.committed(STUCK) == 1
    assert installation.decided_for("p1") == []

    installation.catalog = NEWER
    engine = installation.engine("newer")
    await until(lambda: installation.is_done(2, STUCK))
    await ended(engine)
    assert installation.decided_for("p1") == [OLD]


async def test_a_partition_that_cannot_be_taken_over_is_not_read(
    installation: Installation,
) -> None:
    """Its newest commits are read at the assignment already; the other partition is taken over."""
    commit = teleported(installation)
    [entry] = commit.entries
    commit = changed(commit, entries=(changed(entry, cause=changed(entry.cause, offset=1)),))
    await installation.log.append([commit])
    installation.broker.append(pause("p1"))

    with capture_logs() as logs:
        engine = installation.engine("older")
        await expect_standstill(installation, engine, Teleported.TYPE)
        assert list(engine.processor.partitions) == [1 - STUCK]
        await ended(engine)
    assert len(alarms(logs)) == 1
    assert installation.committed(STUCK) == 1
    assert installation.decided_for("p1") == []


#: Why its partition stops -> what a document has in place of its own, None for nothing.
DAMAGES: Mapping[str, Mapping[str, Any]] = {
    "TELEPORTED": {"status": "TELEPORTED"},
    "'version'": {"version": None},
    "'engine'": {"engine": None},
    "SHRUNK": {"status": "SHRUNK", "partition": None},
}


def damage_document(installation: Installation, damage: Mapping[str, Any]) -> None:
    document = installation.projections.documents[OLD]
    for name, value in damage.items():
        if value is None:
            del document[name]
        else:
            document[name] = value


@pytest.mark.parametrize("because", DAMAGES)
async def test_a_document_that_cannot_be_read_stops_its_partition(
    installation: Installation, because: str
) -> None:
    """A newer version may have a status, a field or a definition that this one does not."""
    damage_document(installation, DAMAGES[because])
    engine = installation.engine("older")
    installation.broker.append(pause("p1"))

    await expect_standstill(installation, engine, because)
    await ended(engine)


class Reluctant(MemoryInbox):
    """Its first restart loses the partitions and fails; like other inboxes it restarts no others than asked for."""

    has_failed = False

    async def restart(self, partitions: Sequence[int]) -> None:
        if not self.has_failed:
            self.has_failed = True
            await self._lose(self._open() & set(partitions))
            raise Unavailable("kafka", "away")
        if partitions:
            await super().restart(partitions)


async def test_what_is_unreadable_is_met_once(installation: Installation) -> None:
    """Also when a server goes away before the inbox knows of it."""
    inbox = Reluctant(installation.broker, GROUP, member="older")
    with capture_logs() as logs:
        engine = installation.engine("older", inbox=inbox)
        await until(lambda: len(engine.processor.partitions) == 2)
        await installation.log.append([teleported(installation)])
        installation.broker.append(pause("p1"))

        await expect_standstill(installation, engine, Teleported.TYPE)
        await ended(engine)
    assert inbox.has_failed
    assert len(alarms(logs)) == 1


@pytest.mark.parametrize("message", [unknown_message, unknown_aggregate])
async def test_an_internal_message_of_a_newer_version_is_no_dead_letter(
    installation: Installation, message: Callable[[Installation], Message]
) -> None:
    """It is a promise between aggregates; a dead letter would break it."""
    engine = installation.engine("older")
    installation.broker.append(message(installation))

    await expect_standstill(installation, engine, "newer")
    await ended(engine)
    assert installation.committed(STUCK) == 1
    assert [log.end for log in installation.broker.topic(topics.DEAD_LETTER).logs] == [0, 0]


async def test_a_kind_of_a_newer_version_is_left_to_it(installation: Installation) -> None:
    """A baton that an older engine met is run by the newer one."""
    gun = start_gun(SIGN, 1, SystemClock().now())
    partition = partition_for((gun.key or "").encode(), 2)
    engine = installation.engine("older")
    installation.broker.append(gun)
    await until(lambda: partition in engine.processor.ports.inbox.stopped)
    await ended(engine)

    installation.catalog = NEWER
    engine = installation.engine("newer")
    await until(lambda: (gun.key or "") in installation.projections.documents)
    await ended(engine)
    assert engine.processor.ports.inbox.stopped == {}


async def test_a_stopped_partition_is_offered_again_after_a_rebalance(
    installation: Installation,
) -> None:
    """Whoever gets it next says himself whether he can read it, and health forgets what went away."""
    older = installation.engine("older")
    await until(lambda: len(older.processor.partitions) == 2)
    await installation.log.append([teleported(installation)])
    installation.broker.append(pause("p1"))
    await until(lambda: STUCK in older.processor.ports.inbox.stopped)

    installation.catalog = NEWER
    newer = installation.engine("newer")
    if STUCK not in newer.processor.partitions:
        installation.broker.group(GROUP).expel("older")
    await until(lambda: installation.decided_for("p1") == [OLD])

    assert newer.processor.ports.inbox.stopped == {}
    await ended(newer)
    await ended(older)


class ByKind(MemoryProjections):
    """As stores do that keep each kind in a collection of its own."""

    async def load(self, ids: Sequence[str]) -> Mapping[str, Document]:
        assert all(CATALOG.of(each) for each in ids)
        return await super().load(ids)


async def test_an_aggregate_of_a_newer_kind_is_met_at_the_takeover() -> None:
    """No store is asked for its document: this version does not know where it lies."""
    installation = Installation(partitions=2)
    installation.projections = ByKind()
    await installation.initialise()
    installation.registered = DEFINITION
    number = next(n for n in range(99) if partition_for(f"lock:{n}".encode(), 2) == STUCK)
    topic_id = installation.broker.topic(topics.COMMANDS).id
    cause = Position(topic_id, topics.COMMANDS, STUCK, 0, 0)
    event = recorded("orchestration.internal.lock-granted", {"eventId": "e", "occurredAt": T})
    commit = Commit(f"lock:{number}", 1, STUCK, (Entry(cause, "/conveyor lock", (event,), 1),))
    await installation.log.append([commit])

    engine = installation.engine("older")

    await expect_standstill(installation, engine, f"lock:{number}")
    await ended(engine)


async def test_what_was_put_right_is_read_after_a_rebalance(installation: Installation) -> None:
    """A definition was missing and is registered again; the same engine takes the partition over."""
    definition, installation.registered = installation.registered, None
    engine = installation.engine("engine")
    await until(lambda: len(engine.processor.ports.inbox.stopped) == 2)

    installation.registered = definition
    installation.broker.group(GROUP).expel("engine")

    await until(lambda: len(engine.processor.partitions) == 2)
    assert not engine.processor.ports.inbox.stopped
    await ended(engine)
