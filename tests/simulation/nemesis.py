"""What goes wrong, and when."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta

from conveyor import topics
from conveyor.messages import Message

from adapters.memory.broker import Log
from adapters.memory.virtual_time import drive
from domain.aggregate.position import TopicPartition
from tests.simulation.chances import Kind
from tests.simulation.world import ENGINES, FAULT_SECONDS, World

#: How long a broker is away that comes back with a shorter log: until then all that was sent has landed.
_ELECTION_SECONDS = 2.0


async def torment(world: World) -> None:
    """Faults at random moments until their time is over; each seed has its own mixture."""
    dice = world.chances.stream("nemesis")
    kinds = dice.sample(list(_STRIKES), k=dice.randrange(1, len(_STRIKES) + 1))
    pause = dice.choice((0.3, 1.0, 3.0))
    loop = asyncio.get_running_loop()
    world.network.later(world.deployment.at, lambda: _deploy(world))
    while loop.time() < FAULT_SECONDS and not world.watch.violations and not world.crashes:
        await asyncio.sleep(dice.expovariate(1.0 / pause))
        kind = world.chances.one_of(kinds, 1.0, "nemesis")
        if kind is not None:
            _STRIKES[kind](world)


def _deploy(world: World) -> None:
    world.trace.note("world", "the second versions are deployed")
    world.deployment.is_done = True


def _engine_dies(world: World) -> None:
    if world.engines:
        world.kill_engine(world.dice.choice(world.engines))
        world.network.later(world.dice.uniform(0.0, 3.0), world.start_engine)


def _engine_freezes(world: World) -> None:
    if world.engines:
        engine = world.dice.choice(world.engines)
        world.freeze(engine.process, (ENGINES,), world.dice.uniform(0.05, 7.0))


def _rebalance(world: World) -> None:
    """An engine leaves in order, or one more joins."""
    if len(world.engines) > 1 and world.dice.random() < 0.5:
        world.stop_engine(world.dice.choice(world.engines))
    elif len(world.engines) < 4:
        world.start_engine()


def _worker_dies(world: World) -> None:
    if world.workers:
        world.kill_worker(world.dice.choice(world.workers))


def _worker_freezes(world: World) -> None:
    if world.workers:
        worker = world.dice.choice(world.workers)
        world.freeze(worker.process, worker.groups, world.dice.uniform(0.05, 6.0))


def _clock_jumps(world: World) -> None:
    processes = [*world.engines, *world.workers]
    if not processes:
        return
    each = world.dice.choice(processes)
    seconds = world.dice.choice((-6.0, -1.5, 1.5, 6.0))
    each.clock.skew = timedelta(seconds=seconds)
    world.watch.clock_is_off(each.process.name, each.clock.skew)
    world.trace.note(each.process.name, f"its clock is off by {seconds} s from now on")


def _outage(world: World) -> None:
    component = world.dice.choice(("kafka", "eventStore", "redis", "keys"))
    _take_away(world, component, world.dice.uniform(0.05, 2.5))


def _take_away(world: World, component: str, seconds: float) -> None:
    until = asyncio.get_running_loop().time() + seconds
    world.trace.note("world", f"{component} is away until {until:.3f}")
    world.network.weather.outages[component] = until


def _store_fails_over(world: World) -> None:
    lost = world.log.fail_over()
    world.trace.note("world", f"the store fails over; {lost} commits were nowhere else")
    _take_away(world, "eventStore", world.dice.uniform(0.0, 0.5))


def _offsets_expire(world: World) -> None:
    """No engine was there for long, and the group forgot where they were (PROTOCOL rule 16)."""
    _all_engines_die(world)
    world.network.later(3.0, lambda: _forget_offsets(world))


def _forget_offsets(world: World) -> None:
    if not world.engines:
        world.trace.note("world", "the group has forgotten its offsets")
        world.broker.group(ENGINES).committed.clear()
        world.start_engine()


def _inbox_cut(world: World) -> None:
    """The broker crashes with all engines, and its new leader has a shorter log: offsets are given out again."""
    _all_engines_die(world)
    _take_away(world, "kafka", _ELECTION_SECONDS)
    world.network.later(_ELECTION_SECONDS, lambda: _elect(world))


def _all_engines_die(world: World) -> None:
    for engine in list(world.engines):
        world.kill_engine(engine)


def _elect(world: World) -> None:
    if world.engines:
        return  # Somebody was started meanwhile, and may have read what would be cut.
    starts = {(s.topic, s.partition): s.offset for s in drive(world.projections.starts())}
    committed = world.broker.group(ENGINES).committed
    for name in (topics.COMMANDS, topics.REPLIES):
        for partition, log in enumerate(world.broker.topic(name).logs):
            done = committed.get(TopicPartition(name, partition), 0)
            keep = max(done, starts[name, partition])
            if log.end > keep:
                _cut(world, log, world.dice.randint(keep, log.end))
    world.start_engine()


def _cut(world: World, log: Log, end: int) -> None:
    """Whoever wrote what is gone was not answered, and sends it again."""
    world.trace.note("world", f"a new leader: the log ends at {end} instead of {log.end}")
    for stored in log.read(end, log.end):
        message = stored.message
        known = world.clients.sent.get(message.id) if isinstance(message, Message) else None
        if known is not None:
            world.network.later(
                world.dice.uniform(0.1, 3.0), lambda known=known: world.clients.send(known)
            )
    log.elect(end)


_STRIKES: dict[Kind, Callable[[World], None]] = {
    Kind.ENGINE_DIES: _engine_dies,
    Kind.ENGINE_FREEZES: _engine_freezes,
    Kind.REBALANCE: _rebalance,
    Kind.WORKER_DIES: _worker_dies,
    Kind.WORKER_FREEZES: _worker_freezes,
    Kind.CLOCK_JUMPS: _clock_jumps,
    Kind.OUTAGE: _outage,
    Kind.STORE_FAILS_OVER: _store_fails_over,
    Kind.OFFSETS_EXPIRE: _offsets_expire,
    Kind.INBOX_CUT: _inbox_cut,
}
