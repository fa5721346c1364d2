"""A consumer group: which member holds which partition of its co-partitioned topics, and its offsets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from domain.aggregate.position import TopicPartition


class Group:
    """Partitions are shared out by range, and pass from one member to the next without overlap.

    A partition changes hands only when its holder has released it or is expelled; an expelled member
    learns of it when it next asks.
    """

    def __init__(self, partitions: int) -> None:
        self.committed: dict[TopicPartition, int] = {}
        self._partitions = partitions
        #: Member -> what wakes it, in the order of joining.
        self._members: dict[str, Callable[[], None]] = {}
        self._holders: dict[int, str] = {}

    def has(self, member: str) -> bool:
        return member in self._members

    def join(self, member: str, wake: Callable[[], None]) -> None:
        self._members[member] = wake
        self._rebalance()

    def expel(self, member: str) -> None:
        """The member left, or is silent. Its partitions are free."""
        self._members.pop(member, None)
        self._holders = {p: holder for p, holder in self._holders.items() if holder != member}
        self._rebalance()

    def held(self, member: str) -> set[int]:
        return {p for p, holder in self._holders.items() if holder == member}

    def wanted(self, member: str) -> set[int]:
        """The member's share: a range, the first members' longer by one where it does not come out even."""
        members = list(self._members)
        place = members.index(member)
        size, longer = divmod(self._partitions, len(members))
        first = place * size + min(place, longer)
        return set(range(first, first + size + (place < longer)))

    def release(self, member: str, partitions: Sequence[int]) -> None:
        for partition in partitions:
            if self._holders.get(partition) == member:
                del self._holders[partition]
        self._rebalance()

    def claim(self, member: str) -> None:
        """Hold whatever of the member's share is free."""
        for partition in self.wanted(member):
            self._holders.setdefault(partition, member)

    def commit(self, member: str, next_offsets: Mapping[TopicPartition, int]) -> None:
        """Offsets of partitions that the member does not hold come too late and are dropped."""
        for place, offset in next_offsets.items():
            if self._holders.get(place.partition) == member:
                self.committed[place] = offset

    def _rebalance(self) -> None:
        for wake in list(self._members.values()):
            wake()
