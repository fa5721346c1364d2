"""Taking partitions over after an assignment or a restart (PROTOCOL rules 6, 8, 11, 12, 13 and 16)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from conveyor import topics

from application.codec.internal import Sign
from application.engine.claims import Claims
from application.engine.environment import Ports
from application.engine.loader import Loader
from application.engine.partition import Partition
from application.engine.timekeeper import Timekeeper
from application.outputs import outputs
from application.ports import Commit, InboxLayout, InboxStart, LaneState, Mark, SetupError
from domain.aggregate.position import Position, TopicPartition
from domain.inbox import inbox_id


@dataclass(frozen=True, slots=True)
class Taken:
    """Partitions that are ready, and the offsets to read from."""

    partitions: Sequence[Partition]
    starts: Mapping[TopicPartition, int]


class Takeover:
    """Restores partitions as their last owner left them, and publishes what it may not have published."""

    def __init__(
        self,
        ports: Ports,
        layout: InboxLayout,
        loader: Loader,
        timekeeper: Timekeeper,
        claims: Claims,
        sign: Sign,
        new_partition: Callable[[int], Partition],
    ) -> None:
        self._ports = ports
        self._layout = layout
        self._loader = loader
        self._timekeeper = timekeeper
        self._claims = claims
        self._sign = sign
        self._new_partition = new_partition

    async def take_over(self, lanes: Sequence[LaneState]) -> Taken:
        """Raises Unavailable (call again) or SetupError."""
        stored = {
            (start.topic, start.partition): start
            for start in await self._ports.projections.starts()
        }
        partitions = {lane.partition: self._new_partition(lane.partition) for lane in lanes}
        starts: dict[TopicPartition, int] = {}
        for lane in lanes:
            start = self._start_of(lane, stored.get((lane.topic, lane.partition)))
            starts[TopicPartition(lane.topic, lane.partition)] = start
            partition = partitions[lane.partition]
            partition.topic_ids[lane.topic] = lane.topic_id
            partition.decided[lane.topic] = start
            # If the group's offset is behind the store's, the first round of projecting commits the newer one.
            if lane.committed is not None:
                partition.committed[lane.topic] = lane.committed
            if lane.topic == topics.REPLIES:
                partition.replies_end = lane.end
        await self._recover(lanes, starts, partitions)
        await self._timekeeper.read_ahead(partitions.values())
        return Taken(list(partitions.values()), starts)

    def _start_of(self, lane: LaneState, stored: InboxStart | None) -> int:
        """The higher of the offsets that group and store remember for this topic id (PROTOCOL rules 11 and 16)."""
        known = self._layout.topic_ids.get(lane.topic)
        if stored is None or known != lane.topic_id or stored.topic_id != lane.topic_id:
            raise SetupError(
                f"topic {lane.topic} has id {lane.topic_id}, but `conveyor init` recorded {known}: the topic was"
                " recreated or this is another cluster; run `conveyor init` again to start it from its beginning"
            )
        return max(stored.offset, lane.committed if lane.committed is not None else 0)

    async def _recover(
        self,
        lanes: Sequence[LaneState],
        starts: Mapping[TopicPartition, int],
        partitions: Mapping[int, Partition],
    ) -> None:
        """Every commit at or above the start is published again, in version order, before anything new.

        The claim comes first: from then on, the previous owner cannot append refusals there.
        """
        await self._project_inboxes(partitions, await self._claims.claim(partitions))
        await self._keep_marks(partitions)
        positions = [
            Position(
                lane.topic_id,
                lane.topic,
                lane.partition,
                0,
                starts[TopicPartition(lane.topic, lane.partition)],
            )
            for lane in lanes
        ]
        commits = await self._ports.event_log.since(positions)
        inboxes = {inbox_id(number) for number in partitions}
        touched = {c.aggregate_id: c.partition for c in commits if c.aggregate_id not in inboxes}
        loaded = await self._loader.load(touched)
        tails: list[Commit] = []
        for item in loaded.values():
            tails.extend(item.tail)
        again = {commit.id: commit for commit in (*commits, *tails)}
        ordered = sorted(again.values(), key=lambda c: (c.aggregate_id, c.first_version))
        messages = [message for commit in ordered for message in outputs(commit, self._sign)]
        await self._ports.publisher.publish(messages)
        for aggregate_id, item in loaded.items():
            partitions[touched[aggregate_id]].put_back(item.hot)

    async def _project_inboxes(
        self, partitions: Mapping[int, Partition], unprojected: Sequence[Commit]
    ) -> None:
        """Project the inboxes even if the takeover fails later, so that its claim need not be read again.

        Events that are not projected may never have been published, so they are published first (PROTOCOL rule 12).
        """
        await self._ports.publisher.publish(
            [message for commit in unprojected for message in outputs(commit, self._sign)]
        )
        claimed = [(p, p.inbox) for p in partitions.values() if p.inbox is not None]
        await self._ports.projections.save([hot.document(p.number) for p, hot in claimed])
        for partition, hot in claimed:
            partition.projected(hot.id, hot.version)

    async def _keep_marks(self, partitions: Mapping[int, Partition]) -> None:
        """What the last owner wrote of how far lists are stays true, and it cannot write another mark any more."""
        marks = {mark.partition: mark.until for mark in await self._ports.projections.marks()}
        await self._ports.projections.save_marks(
            [Mark(p.number, p.claim, marks.get(p.number)) for p in partitions.values()]
        )
