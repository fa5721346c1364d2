"""Several engines of one group: partitions move whole, and are given up before they are taken."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace

import pytest
from confluent_kafka import Consumer, KafkaException
from conveyor import topics

from adapters.kafka.inbox import KafkaInbox
from adapters.kafka.settings import KafkaSettings
from application.ports import Received
from domain.aggregate.position import TopicPartition
from tests.adapters.kafka.conftest import PARTITIONS, Topics
from tests.contracts.inbox_contract import (
    DEADLINE_SECONDS,
    RecordingListener,
    command,
    ids,
    place_of,
    take_exactly,
    take_until,
)

pytestmark = pytest.mark.kafka

ALL = set(range(PARTITIONS))


class Engine:
    """Takes all the time, and commits what it took when a partition is revoked."""

    def __init__(self, group: Group, settings: KafkaSettings) -> None:
        self.inbox = KafkaInbox(settings, PARTITIONS)
        self.listener = RecordingListener()
        self.listener.on_revoked = self._commit
        self.rounds = 0
        self._group = group
        self._next: dict[TopicPartition, int] = {}
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        await self.inbox.start(self.listener)
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        await self.inbox.close()

    def partitions(self) -> set[int]:
        """What it holds now, as its listener was told."""
        held: set[int] = set()
        for what, partitions in self.listener.told:
            held = held | set(partitions) if what == "assigned" else held - set(partitions)
        return held

    async def _run(self) -> None:
        while True:
            for received in await self.inbox.take(10, 0.05):
                position = received.position
                place = TopicPartition(position.topic, position.partition)
                self._next[place] = position.offset + 1
                self._group.taken.append(received)
            self.rounds += 1
            self._group.progress.set()

    async def _commit(self, partitions: Sequence[int]) -> None:
        await self.inbox.commit({p: o for p, o in self._next.items() if p.partition in partitions})


class Group:
    """Engines of one group in this process, and everything that they took together."""

    def __init__(self, settings: KafkaSettings) -> None:
        self.taken: list[Received] = []
        self.progress = asyncio.Event()
        self._settings = settings
        self._engines: list[Engine] = []

    def engine(self, **changes: object) -> Engine:
        engine = Engine(self, replace(self._settings, **changes))  # type: ignore[arg-type]
        self._engines.append(engine)
        return engine

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait for what the engines bring about."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not condition():
                self.progress.clear()
                await self.progress.wait()

    async def close(self) -> None:
        for engine in self._engines:
            await engine.stop()


@pytest.fixture(params=["classic", "consumer"])
def member(request: pytest.FixtureRequest, settings: KafkaSettings) -> KafkaSettings:
    return replace(settings, group_protocol=request.param)


@pytest.fixture
async def group(member: KafkaSettings) -> AsyncIterator[Group]:
    group = Group(member)
    yield group
    await group.close()


async def test_partitions_are_shared_whole(group: Group) -> None:
    """When a second engine joins, each partition is at one engine, with both of its topics."""
    first, second = group.engine(), group.engine()
    await first.start()
    await group.until(lambda: first.partitions() == ALL)

    await second.start()
    await group.until(second.partitions)
    await group.until(lambda: first.partitions() | second.partitions() == ALL)

    assert first.partitions()
    assert first.partitions().isdisjoint(second.partitions())
    for partition in second.partitions():
        lanes = {place.topic for place in second.listener.lanes if place.partition == partition}
        assert lanes == {topics.COMMANDS, topics.REPLIES}


async def test_nothing_is_lost_or_doubled_while_partitions_move(
    group: Group, broker_topics: Topics
) -> None:
    """Every message comes exactly once when an engine joins under load and the other commits."""
    first, second = group.engine(), group.engine()
    records = [
        command(number, key=f"wf-{number % 40}", topic=topic)
        for number in range(400)
        for topic in (topics.COMMANDS, topics.REPLIES)
    ]
    await first.start()
    await broker_topics.put(*records[:400])
    await group.until(lambda: len(group.taken) > 50)

    await second.start()
    await broker_topics.put(*records[400:])
    await group.until(second.partitions)
    await group.until(lambda: len(group.taken) >= 800)

    places = {
        (each.position.topic, each.position.order, each.position.lane) for each in group.taken
    }
    assert len(places) == len(group.taken) == 800


async def test_revocation_is_waited_for(group: Group) -> None:
    """While the old owner still finishes, nobody else is told that he has the partition."""
    first, second = group.engine(), group.engine()
    await first.start()
    await group.until(lambda: first.partitions() == ALL)
    held_by_second: list[set[int]] = []

    async def finish_slowly(_: Sequence[int]) -> None:
        enough = second.rounds + 10
        await group.until(lambda: second.rounds >= enough)
        held_by_second.append(second.partitions())

    first.listener.on_revoked = finish_slowly
    await second.start()
    await group.until(second.partitions)

    assert held_by_second
    assert not any(held_by_second)


async def test_a_listener_that_hangs_loses_its_partitions(group: Group) -> None:
    """A revocation that is not answered in time ends with `lost`, and the group goes on."""
    first, second = group.engine(rebalance_timeout_seconds=0.5), group.engine()
    await first.start()
    await group.until(lambda: first.partitions() == ALL)

    async def hang(_: Sequence[int]) -> None:
        await asyncio.Event().wait()

    first.listener.on_revoked = hang
    await second.start()
    await group.until(second.partitions)

    told = [what for what, _ in first.listener.told]
    assert "lost" in told
    assert "revoked" not in told


def partitions_of(taken: Sequence[Received]) -> set[int]:
    return {each.position.partition for each in taken}


async def test_a_partition_held_in_one_topic_is_not_read(
    member: KafkaSettings, broker_topics: Topics
) -> None:
    """Where the group leaves us one topic of a partition only, its messages wait for the other."""
    await broker_topics.put(*(command(number, key=f"wf-{number}") for number in range(100)))
    inbox = KafkaInbox(member, PARTITIONS)
    await inbox.start(RecordingListener())
    stranger = Consumer(member.group_member())
    stranger.subscribe([member.on_broker(topics.REPLIES)])

    async with asyncio.timeout(DEADLINE_SECONDS):
        while (
            not 0 < len(theirs := {place.partition for place in stranger.assignment()}) < PARTITIONS
        ):
            await inbox.take(100, 0.05)
            stranger.poll(0)
    await inbox.restart(sorted(ALL - theirs))
    taken = await take_until(inbox, lambda all_: partitions_of(all_) >= ALL - theirs)
    taken += await inbox.take(100, 0.5)
    await asyncio.to_thread(stranger.close)

    assert partitions_of(taken) == ALL - theirs
    await take_until(inbox, lambda rest: partitions_of(rest) >= theirs)
    await inbox.close()


async def test_a_restart_with_an_instance_id_keeps_its_partitions(group: Group) -> None:
    """Within the session time-out a static member comes back without a rebalance for the others."""
    other, before = group.engine(), group.engine(instance_id="engine-1")
    await other.start()
    await group.until(lambda: other.partitions() == ALL)
    await before.start()
    await group.until(lambda: other.partitions() | before.partitions() == ALL)
    await group.until(before.partitions)
    kept = before.partitions()
    told = list(other.listener.told)

    await before.stop()
    after = group.engine(instance_id="engine-1")
    await after.start()
    await group.until(after.partitions)

    assert after.partitions() == kept
    assert other.listener.told == told


async def test_a_second_process_with_the_same_instance_id_ends_the_first(
    settings: KafkaSettings,
) -> None:
    """The one that is fenced loses its partitions and says so; it must not go on."""
    settings = replace(settings, instance_id="engine-1")
    first, second, listener = (
        KafkaInbox(settings, PARTITIONS),
        KafkaInbox(settings, PARTITIONS),
        RecordingListener(),
    )
    await first.start(listener)
    await take_until(first, lambda _: bool(listener.told))

    await second.start(RecordingListener())
    with pytest.raises(KafkaException, match=r"same group\.instance\.id"):
        await asyncio.gather(*(take_until(inbox, lambda _: False) for inbox in (first, second)))

    assert listener.told[-1] == ("lost", tuple(ALL))
    await first.close()
    await second.close()


@pytest.fixture
async def victim(settings: KafkaSettings, broker_topics: Topics) -> AsyncIterator[Process]:
    """An engine process that has taken ten messages and committed four of them."""
    await broker_topics.put(*(command(number) for number in range(10)))
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        _VICTIM,
        settings.bootstrap_servers,
        settings.topic_prefix,
        settings.group_id,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    try:
        await said(process, b"committed 4\n")
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def said(process: Process, line: bytes) -> None:
    """Wait until the process has written this line, after any number of others."""
    assert process.stdout is not None
    await asyncio.wait_for(process.stdout.readuntil(line), DEADLINE_SECONDS)


async def test_a_killed_engine_leaves_its_messages_to_the_next(
    settings: KafkaSettings, victim: Process
) -> None:
    """After kill -9 and the session time-out everything that was not committed comes again."""
    victim.kill()
    await victim.wait()
    inbox = KafkaInbox(settings, PARTITIONS)
    await inbox.start(RecordingListener())

    assert ids(await take_exactly(inbox, 6)) == [f"cmd-{n}" for n in range(4, 10)]
    await inbox.close()


async def test_a_frozen_engine_cannot_commit_when_it_wakes_up(
    settings: KafkaSettings, victim: Process
) -> None:
    """A commit for partitions that others have is dropped without a word, and moves nothing."""
    victim.send_signal(signal.SIGSTOP)
    inbox, listener = KafkaInbox(settings, PARTITIONS), RecordingListener()
    await inbox.start(listener)
    taken = await take_exactly(inbox, 6)

    victim.send_signal(signal.SIGCONT)
    assert victim.stdin is not None
    victim.stdin.write(b"commit\n")
    await said(victim, b"committed 10\n")
    await inbox.restart([taken[0].position.partition])

    assert listener.lanes[place_of(taken[0])].committed == 4
    await inbox.close()


#: Takes ten messages, commits four of them, and on demand the rest, without polling in between.
_VICTIM = """
import asyncio, sys
from adapters.kafka.inbox import KafkaInbox
from adapters.kafka.settings import KafkaSettings
from tests.adapters.kafka.conftest import PARTITIONS
from tests.contracts.inbox_contract import RecordingListener, place_of, take_exactly

async def main(bootstrap, prefix, group):
    settings = KafkaSettings(
        bootstrap_servers=bootstrap, topic_prefix=prefix, group_id=group, session_timeout_ms=1000
    )
    inbox = KafkaInbox(settings, PARTITIONS)
    await inbox.start(RecordingListener())
    taken = await take_exactly(inbox, 10)
    for offset in (4, 10):
        await inbox.commit({place_of(taken[0]): offset})
        print("committed", offset, flush=True)
        await asyncio.to_thread(sys.stdin.readline)

asyncio.run(main(*sys.argv[1:]))
"""
