"""Offset commits, requested on the event loop and made in the poll thread.

The client lets only one thread use a consumer. A commit from another thread waits for the current poll, and would
deadlock if that poll is in a rebalance callback that waits for the commit.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

import structlog
from confluent_kafka import Consumer, KafkaException, TopicPartition

from adapters.kafka.errors import COMMIT_TOO_LATE, error_of, unavailable
from application.ports import Unavailable

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class OffsetCommits:
    """A queue of commits. Only `ask` may be called outside the poll thread."""

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer
        #: None only wakes the waiting thread.
        self._asked: queue.SimpleQueue[tuple[list[TopicPartition], Future[None]] | None]
        self._asked = queue.SimpleQueue()

    def ask(self, places: Sequence[TopicPartition]) -> Future[None]:
        """Returns when the broker has the offsets, or when they came too late. Raises `Unavailable`."""
        done: Future[None] = Future()
        self._asked.put((list(places), done))
        return done

    def serve(self) -> None:
        """Make all commits requested so far."""
        while not self._asked.empty():
            self._serve_next(0)

    def serve_until(self, answer: Future[Any], timeout_seconds: float) -> None:
        """Make commits until the answer has arrived. Raises TimeoutError."""
        answer.add_done_callback(lambda _: self._asked.put(None))
        deadline = time.monotonic() + timeout_seconds
        while not answer.done():
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self._serve_next(left)

    def _serve_next(self, timeout_seconds: float) -> None:
        try:
            asked = self._asked.get(timeout=timeout_seconds)
        except queue.Empty:
            return
        if asked is None:
            return
        places, done = asked
        # The caller may have stopped waiting. Once running, the future cannot be cancelled.
        if done.set_running_or_notify_cancel():
            failure = self._commit(places)
            if failure is not None:
                done.set_exception(failure)
            else:
                done.set_result(None)

    def _commit(self, places: list[TopicPartition]) -> Unavailable | None:
        try:
            committed = self._consumer.commit(offsets=places, asynchronous=False)
            errors = [place.error for place in committed if place.error is not None]
        except KafkaException as exception:
            errors = [error_of(exception)]
        for error in errors:
            if error.code() not in COMMIT_TOO_LATE:
                return unavailable(error)
            log.debug("commit came too late", action="inbox.commit_dropped", detail=error.str())
        return None
