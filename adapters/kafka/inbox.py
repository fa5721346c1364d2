"""The two inbox topics, read by one consumer of the engines' group.

The consumer is used in a thread of its own. There it polls, and there the client calls back on a rebalance. The
callback blocks the thread until the listener on the event loop is done; `OffsetCommits` serves the commits that the
listener makes meanwhile.

A partition is read only while it is held in both topics (PROTOCOL rule 21), from the offsets that the listener
returns. If the listener fails, the partition waits, and the next `take` calls it again.

The number of partitions is that of `init`. Partitions that are added later are held but never read.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException
from confluent_kafka import TopicPartition as Place

from adapters.kafka.assignment import Assignment, Lane
from adapters.kafka.cluster import Cluster
from adapters.kafka.errors import END_OF_PARTITION, FATAL, OBSTACLES, ClientErrors, unavailable
from adapters.kafka.lanes import read_lanes, require_layout
from adapters.kafka.offset_commits import OffsetCommits
from adapters.kafka.received import BrokerMessage, received
from adapters.kafka.settings import CLIENT_LOG, KafkaSettings
from application.ports import InboxListener, Received, Unavailable
from domain.aggregate.position import TopicPartition

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

T = TypeVar("T")

#: Waits are cut into slices of this length, so that commits need not wait for their end.
_SLICE_SECONDS = 0.1
_RECONNECT_PROBE_SECONDS = 1.0
#: The client itself would wait for a frozen broker without limit.
_COMMIT_SECONDS = 15.0


class KafkaInbox:
    """`Inbox` on Kafka. One task at a time calls `take` and `restart`; `commit` may overlap."""

    _loop: asyncio.AbstractEventLoop
    _listener: InboxListener

    def __init__(self, settings: KafkaSettings, partitions: int) -> None:
        """`partitions`: how many each inbox topic has."""
        self._settings = settings
        self._partitions = partitions
        self._cluster = Cluster(settings)
        self._client_errors = ClientErrors()
        self._consumer = Consumer(
            {**settings.group_member(), "error_cb": self._client_errors}, logger=CLIENT_LOG
        )
        self._assignment = Assignment(settings, self._consumer)
        self._commits = OffsetCommits(self._consumer)
        self._poll_thread = ThreadPoolExecutor(1, thread_name_prefix="kafka-inbox")
        #: Polled and not yet taken: outlives a `take` that is cancelled.
        self._ready: list[Received] = []
        #: Partitions that are held but stopped, and why.
        self._stopped: dict[int, str] = {}
        self._fault: Unavailable | None = None
        self._is_closed = False

    @property
    def problem(self) -> str | None:
        """For the health document: why no messages are read, None if all is well."""
        return self._client_errors.explain().detail if self._client_errors.all_down else None

    @property
    def stopped(self) -> Mapping[int, str]:
        """For the health document: stopped partitions, and why. The others continue."""
        return dict(sorted(self._stopped.items()))

    async def start(self, listener: InboxListener) -> None:
        """Join the group. Raises `TopicMismatchError`, `Unavailable`."""
        self._loop = asyncio.get_running_loop()
        self._listener = listener
        await self._loop.run_in_executor(self._poll_thread, self._subscribe)

    async def take(self, limit: int, wait_seconds: float) -> Sequence[Received]:
        await self._loop.run_in_executor(self._poll_thread, self._fill, limit, wait_seconds)
        taken = self._ready[:limit]
        del self._ready[:limit]
        return taken

    def handed_out(self, lane: TopicPartition) -> int:
        read = self._assignment.lanes.get((self._settings.on_broker(lane.topic), lane.partition))
        ready = (
            each.position.offset
            for each in self._ready
            if (each.position.topic, each.position.partition) == lane
        )
        return next(ready, read.read_to if read is not None else 0)

    @property
    def lag(self) -> int:
        """Computed from the ends that came with each lane's last messages."""
        lanes = self._assignment.lanes.values()
        return len(self._ready) + sum(max(0, lane.end - lane.read_to) for lane in lanes)

    async def commit(self, next_offsets: Mapping[TopicPartition, int]) -> None:
        if next_offsets:
            places = [
                Place(self._settings.on_broker(topic), partition, offset)
                for (topic, partition), offset in next_offsets.items()
            ]
            done = self._commits.ask(places)
            self._poll_thread.submit(self._commits.serve)
            try:
                await asyncio.wait_for(asyncio.wrap_future(done), _COMMIT_SECONDS)
            except TimeoutError:
                raise Unavailable("kafka", "no answer to a commit in time") from None

    async def restart(self, partitions: Sequence[int]) -> None:
        """Also restarts stopped partitions. Those that the group took away are left out."""
        await self._loop.run_in_executor(self._poll_thread, self._restart, partitions)

    async def close(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        await asyncio.get_running_loop().run_in_executor(self._poll_thread, self._leave)
        self._poll_thread.shutdown()

    # -- in the poll thread ----------------------------------------------------------------------

    def _subscribe(self) -> None:
        require_layout(self._settings, self._cluster, self._partitions)
        self._consumer.subscribe(
            [self._settings.on_broker(topic) for topic in self._settings.inbox_topics],
            on_assign=self._on_assign,
            on_revoke=self._on_revoke,
            on_lost=self._on_lost,
        )

    def _fill(self, limit: int, wait_seconds: float) -> None:
        self._try_open()
        self._wait_for_one(0.0 if self._ready or self._fault else wait_seconds)
        if self._ready:
            self._accept(self._consumer.consume(max(1, limit - len(self._ready)), 0))
        if self._client_errors.all_down:
            self._look_for_brokers()
        if self._fault is not None and not self._ready:
            fault, self._fault = self._fault, None
            raise fault

    def _wait_for_one(self, wait_seconds: float) -> None:
        """Poll for one message, because `consume` waits its whole time-out unless it gets all it asks for."""
        deadline = time.monotonic() + wait_seconds
        while True:
            self._commits.serve()
            left = deadline - time.monotonic()
            first = self._consumer.consume(1, max(0.0, min(left, _SLICE_SECONDS)))
            self._accept(first)
            if self._ready or self._fault or (not first and left <= _SLICE_SECONDS):
                return

    def _accept(self, messages: Sequence[BrokerMessage]) -> None:
        lanes = self._assignment.lanes
        failed: list[tuple[KafkaError, BrokerMessage]] = []
        moved: dict[tuple[str, int], Lane] = {}
        for message in messages:
            error = message.error()
            lane = lanes.get((message.topic() or "", message.partition() or 0))
            offset = message.offset() or 0
            if error is not None:
                if error.code() != END_OF_PARTITION:
                    failed.append((error, message))
                elif lane is not None:
                    lane.end_seen = offset
                continue
            # The client may deliver messages that it had fetched before a rebalance or restart.
            if lane is None or offset < lane.next_offset:
                continue
            lane.next_offset = offset + 1
            moved[lane.topic, lane.partition] = lane
            self._ready.append(received(message, lane, offset, self._settings))
        for (topic, partition), lane in moved.items():
            # Only in this thread: the client makes a call from another thread wait for the poll.
            place = Place(self._settings.on_broker(topic), partition)
            _, lane.end = self._consumer.get_watermark_offsets(place, cached=True)
        for error, message in failed:
            self._on_consumer_error(error, message)

    def _look_for_brokers(self) -> None:
        """The client reports when the last broker is lost, but never when one is back."""
        try:
            self._cluster.brokers(_RECONNECT_PROBE_SECONDS)
        except Unavailable:
            self._fault = self._client_errors.explain()
        else:
            self._client_errors.forget()
            log.info("kafka is back", action="kafka.reconnected")

    def _try_open(self) -> None:
        try:
            self._open()
        except Unavailable as fault:
            log.warning("assignment waits", action="inbox.assignment_waits", detail=str(fault))
            self._fault = fault

    def _open(self) -> None:
        """Begin to read the complete partitions that are not read yet."""
        self._stop_added()
        waiting = sorted(
            self._assignment.complete() - self._assignment.open() - self._stopped.keys()
        )
        if not waiting:
            return
        states = read_lanes(self._settings, self._cluster, self._consumer, waiting)
        try:
            assigned = self._tell(self._listener.assigned(states))
        except TimeoutError:
            self._tell(self._listener.lost(waiting))
            raise Unavailable(
                "kafka", f"assignment of {waiting} was not answered in time"
            ) from None
        self._stopped.update(assigned.stopped)
        self._assignment.begin(
            {
                (self._settings.on_broker(state.topic), state.partition): Lane(
                    topic=state.topic,
                    partition=state.partition,
                    topic_id=state.topic_id,
                    next_offset=assigned.starts[TopicPartition(state.topic, state.partition)],
                )
                for state in states
                if state.partition not in assigned.stopped
            }
        )
        log.info(
            "partitions assigned",
            action="inbox.assigned",
            partitions=[each for each in waiting if each not in assigned.stopped],
        )

    def _stop_added(self) -> None:
        """No workflow belongs to a partition that was added after `init`, whatever producers write there."""
        added = {p for p in self._assignment.held() if p >= self._partitions}
        for partition in sorted(added - self._stopped.keys()):
            self._stopped[partition] = (
                f"was added after `conveyor init` made {self._partitions}; its messages wait: see"
                " docs/operations/recovery.md"
            )
            log.error(
                "ALARM: partitions were added to an inbox topic, whose number is fixed; messages in the new ones wait",
                action="inbox.partition_added",
                partition=partition,
                partitions=self._partitions,
            )

    def _restart(self, partitions: Sequence[int]) -> None:
        for partition in partitions:
            self._stopped.pop(partition, None)
        self._give_up(partitions, in_order=False)
        self._assignment.stop(partitions)
        self._open()

    def _leave(self) -> None:
        # The client refuses commits once it closes, so the listener is called before.
        open_partitions = self._assignment.open()
        if open_partitions:
            self._give_up(open_partitions, in_order=True)
            self._assignment.stop(open_partitions)
        self._consumer.close()

    def _give_up(self, partitions: Collection[int], *, in_order: bool) -> None:
        """Report to the listener. Messages that were polled but not taken are dropped."""
        concerned = sorted(self._assignment.open() & set(partitions))
        if not concerned:
            return
        self._ready = [each for each in self._ready if each.position.partition not in concerned]
        if in_order:
            try:
                self._tell(self._listener.revoked(concerned))
            except (Unavailable, TimeoutError) as error:
                log.warning(
                    "revocation failed, partitions count as lost",
                    action="inbox.revocation_failed",
                    partitions=concerned,
                    detail=str(error) or "timed out",
                )
            else:
                return
        self._tell(self._listener.lost(concerned))

    def _tell(self, call: Coroutine[Any, Any, T]) -> T:
        """Run the call on the event loop and wait for it. Raises what it raises, and TimeoutError."""
        answer = asyncio.run_coroutine_threadsafe(call, self._loop)
        try:
            self._commits.serve_until(answer, self._settings.rebalance_timeout_seconds)
        except TimeoutError:
            answer.cancel()
            raise
        return answer.result()

    # -- called by the client, in the poll thread ------------------------------------------------

    def _on_assign(self, _: Consumer, places: list[Place]) -> None:
        self._assignment.given(places)
        self._try_open()

    def _on_revoke(self, _: Consumer, places: list[Place]) -> None:
        self._withdraw(places, in_order=True)

    def _on_lost(self, _: Consumer, places: list[Place]) -> None:
        self._withdraw(places, in_order=False)

    def _withdraw(self, places: list[Place], *, in_order: bool) -> None:
        partitions = {place.partition for place in places}
        self._give_up(partitions, in_order=in_order)
        self._assignment.withdrawn(places)
        for partition in partitions:
            self._stopped.pop(partition, None)
        log.info(
            "partitions withdrawn",
            action="inbox.withdrawn",
            partitions=sorted(partitions),
            lost=not in_order,
        )

    def _on_consumer_error(self, error: KafkaError, message: BrokerMessage) -> None:
        partition = message.partition()
        if error.code() == FATAL:
            self._give_up(self._assignment.open(), in_order=False)
            raise KafkaException(error)
        obstacle = OBSTACLES.get(error.code())
        if obstacle is None or partition is None:
            self._fault = unavailable(error)
            return
        lane = self._assignment.lanes.get((message.topic() or "", partition))
        if lane is None:
            # Fetched before the partition stopped.
            return
        self._give_up([partition], in_order=False)
        self._assignment.stop([partition])
        self._stopped[partition] = (
            f"stands still at offset {lane.next_offset} of {message.topic()}: {obstacle} ({error.str()})"
        )
        log.error(
            "ALARM: a partition stands still until an operator has looked at it; the others go on",
            action="inbox.partition_stopped",
            topic=message.topic(),
            partition=partition,
            offset=lane.next_offset,
            obstacle=obstacle,
            detail=error.str(),
        )
