"""A consumer group: the members that hold the partitions of its co-partitioned topics, and its offsets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from domain.aggregate.position import TopicPartition


class Group:
    """Partitions are assigned by range, and move from one member to the next without overlap.

    A partition moves only after its holder released it or was expelled. An expelled member notices at its next call.
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
        """Remove a member that left or is silent, and free its partitions."""
        self._members.pop(member, None)
        self._holders = {p: holder for p, holder in self._holders.items() if holder != member}
        self._rebalance()

    def held(self, member: str) -> set[int]:
        return {p for p, holder in self._holders.items() if holder == member}

    def wanted(self, member: str) -> set[int]:
        """The member's share: a range; the first members get one more if the partitions do not divide evenly."""
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
        """Hold the free partitions of the member's share."""
        for partition in self.wanted(member):
            self._holders.setdefault(partition, member)

    def commit(self, member: str, next_offsets: Mapping[TopicPartition, int]) -> None:
        """Commit offsets. Those of partitions that the member does not hold are too late, and are dropped."""
        for place, offset in next_offsets.items():
            if self._holders.get(place.partition) == member:
                self.committed[place] = offset

    def _rebalance(self) -> None:
        for wake in list(self._members.values()):
            wake()
