"""What every `Locks` promises. An adapter's tests subclass `LocksContract`."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable

import pytest

from application.ports import Lease, Locks

NAME = "conveyor:leader:maintenance"
LONG_MS = 60_000
SHORT_MS = 20

#: The locks of the owner of that name, on a store that all of them share.
LocksOf = Callable[[str], Locks]


async def acquired(locks: Locks, lease_ms: int = LONG_MS) -> Lease:
    lease = await locks.acquire(NAME, lease_ms)
    assert lease is not None
    return lease


async def acquired_in_time(locks: Locks) -> Lease:
    """The lease, as soon as its holder lets it run out."""
    async with asyncio.timeout(30):
        while True:
            if (lease := await locks.acquire(NAME, LONG_MS)) is not None:
                return lease


@pytest.mark.contract
class LocksContract(ABC):
    """Subclass it as `Test...` and define the fixture `locks_of`."""

    @pytest.fixture
    @abstractmethod
    def locks_of(self) -> LocksOf: ...

    async def test_one_holder_at_a_time(self, locks_of: LocksOf) -> None:
        """Of many who ask at once one gets it; nobody else until it is released, its owner included."""
        locks = [locks_of(f"engine-{number}") for number in range(5)]

        leases = await asyncio.gather(*(each.acquire(NAME, LONG_MS) for each in locks))

        [lease] = [lease for lease in leases if lease is not None]
        holder = locks[leases.index(lease)]
        assert lease.name == NAME
        assert lease.holder.startswith(f"engine-{leases.index(lease)}:")
        assert await holder.acquire(NAME, LONG_MS) is None
        assert await holder.release(lease) is True
        assert await locks[0].acquire(NAME, LONG_MS) is not None

    async def test_names_are_apart(self, locks_of: LocksOf) -> None:
        """Another name is another lock."""
        locks = locks_of("engine-1")
        await acquired(locks)

        assert await locks.acquire("conveyor:leader:schedules", LONG_MS) is not None

    async def test_fencing_tokens_grow(self, locks_of: LocksOf) -> None:
        """Every grant has a higher token than the ones before, after release and after expiry."""
        first, second = locks_of("engine-1"), locks_of("engine-2")

        one = await acquired(first)
        await first.release(one)
        two = await acquired(second, SHORT_MS)
        three = await acquired_in_time(first)

        assert one.fencing_token < two.fencing_token < three.fencing_token

    async def test_a_lease_runs_out(self, locks_of: LocksOf) -> None:
        """Its holder can neither renew nor release it then, and does not disturb the next one."""
        first, second = locks_of("engine-1"), locks_of("engine-2")
        lost = await acquired(first, SHORT_MS)
        lease = await acquired_in_time(second)

        assert await first.renew(lost, LONG_MS) is False
        assert await first.release(lost) is False
        assert await second.renew(lease, LONG_MS) is True

    async def test_a_renewed_lease_is_held_on(self, locks_of: LocksOf) -> None:
        """From now on, by the time given, longer or shorter than before; its token stays."""
        first, second = locks_of("engine-1"), locks_of("engine-2")
        lease = await acquired(first)

        assert await first.renew(lease, 2 * LONG_MS) is True
        assert await second.acquire(NAME, LONG_MS) is None
        assert await first.renew(lease, SHORT_MS) is True
        assert (await acquired_in_time(second)).fencing_token > lease.fencing_token

    async def test_a_released_lease_is_gone(self, locks_of: LocksOf) -> None:
        """It cannot be renewed or released again."""
        locks = locks_of("engine-1")
        lease = await acquired(locks)
        await locks.release(lease)

        assert await locks.renew(lease, LONG_MS) is False
        assert await locks.release(lease) is False

    async def test_a_lease_that_was_never_granted_is_not_held(self, locks_of: LocksOf) -> None:
        """Nor does it give one."""
        locks = locks_of("engine-1")
        made_up = Lease(name=NAME, holder="engine-1:x", fencing_token=1)

        assert await locks.renew(made_up, LONG_MS) is False
        assert await locks.release(made_up) is False
        assert await locks.acquire(NAME, LONG_MS) is not None
