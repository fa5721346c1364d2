"""What goes wrong, and when."""

from __future__ import annotations

import asyncio

from tests.simulation.world import ENGINES, FAULT_SECONDS, World


async def torment(world: World) -> None:
    """Faults at random moments until their time is over; each seed has its own mixture."""
    rng = world.rng
    kinds = rng.sample(_KINDS, k=rng.randrange(1, len(_KINDS) + 1))
    pause = rng.choice((0.3, 1.0, 3.0))
    loop = asyncio.get_running_loop()
    while loop.time() < FAULT_SECONDS:
        await asyncio.sleep(rng.expovariate(1.0 / pause))
        rng.choice(kinds)(world)


def _kill_engine(world: World) -> None:
    if world.engines:
        world.kill_engine(world.rng.choice(world.engines))
        world.network.later(world.rng.uniform(0.0, 3.0), world.start_engine)


def _freeze_engine(world: World) -> None:
    if world.engines:
        engine = world.rng.choice(world.engines)
        world.freeze(engine.process, ENGINES, world.rng.uniform(0.05, 7.0))


def _rebalance(world: World) -> None:
    """An engine leaves in order, or one more joins."""
    if len(world.engines) > 1 and world.rng.random() < 0.5:
        world.stop_engine(world.rng.choice(world.engines))
    elif len(world.engines) < 4:
        world.start_engine()


def _kill_worker(world: World) -> None:
    if world.workers:
        worker = world.rng.choice(world.workers)
        world.kill_worker(worker)
        world.network.later(world.rng.uniform(0.0, 4.0), lambda: world.start_worker(worker.group))


def _freeze_worker(world: World) -> None:
    if world.workers:
        worker = world.rng.choice(world.workers)
        world.freeze(worker.process, worker.group, world.rng.uniform(0.05, 6.0))


def _outage(world: World) -> None:
    component = world.rng.choice(("kafka", "eventStore", "redis", "keys"))
    until = asyncio.get_running_loop().time() + world.rng.uniform(0.05, 2.5)
    world.trace.note("world", f"{component} is away until {until:.3f}")
    world.network.weather.outages[component] = until


_KINDS = (_kill_engine, _freeze_engine, _rebalance, _kill_worker, _freeze_worker, _outage)
