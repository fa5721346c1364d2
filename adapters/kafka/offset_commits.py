"""Offset commits, asked for on the event loop and made in the poll thread.

The client lets one thread at a time use a consumer: a commit from another thread waits for the poll
under way, and for ever if that poll stands in a rebalance callback which waits for the commit.
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
    """A queue of commits; all but `ask` is for the poll thread."""

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer
        #: None only wakes up who waits.
        self._asked: queue.SimpleQueue[tuple[list[TopicPartition], Future[None]] | None]
        self._asked = queue.SimpleQueue()

    def ask(self, places: Sequence[TopicPartition]) -> Future[None]:
        """Done when the broker has them, or when they came too late; fails with `Unavailable`."""
        done: Future[None] = Future()
        self._asked.put((list(places), done))
        return done

    def serve(self) -> None:
        """Make all commits asked for so far."""
        while not self._asked.empty():
            self._serve_next(0)

    def serve_until(self, answer: Future[Any], timeout_seconds: float) -> None:
        """Make commits until the answer is there. Raises TimeoutError."""
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
        # Nobody may wait any more; once running, the future cannot be cancelled.
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
