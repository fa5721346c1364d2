"""Kafka's failures in the terms of the ports."""

from __future__ import annotations

from collections.abc import Mapping

from confluent_kafka import KafkaError, KafkaException

from application.ports import Unavailable

_GONE = "the next message is gone from the topic; compare topic, group offset and stored start"
_UNREADABLE = "the next batch cannot be unpacked; replace it from a copy, or move group and stored start behind it"
#: Errors that no repetition cures: an operator must decide where such a partition continues (PROTOCOL rule 16).
OBSTACLES: Mapping[int, str] = {
    KafkaError._AUTO_OFFSET_RESET: _GONE,  # noqa: SLF001
    KafkaError.OFFSET_OUT_OF_RANGE: _GONE,
    KafkaError._BAD_COMPRESSION: _UNREADABLE,  # noqa: SLF001
    KafkaError._BAD_MSG: _UNREADABLE,  # noqa: SLF001
    KafkaError._NOT_IMPLEMENTED: _UNREADABLE,  # noqa: SLF001
    KafkaError.INVALID_MSG: _UNREADABLE,
    KafkaError.INVALID_MSG_SIZE: _UNREADABLE,
    KafkaError.MSG_SIZE_TOO_LARGE: _UNREADABLE,
    KafkaError.UNSUPPORTED_COMPRESSION_TYPE: _UNREADABLE,
}
#: The group has reassigned the partitions; their new owner decides.
COMMIT_TOO_LATE = (
    KafkaError.ILLEGAL_GENERATION,
    KafkaError.UNKNOWN_MEMBER_ID,
    KafkaError.REBALANCE_IN_PROGRESS,
    KafkaError.STALE_MEMBER_EPOCH,
    KafkaError.FENCED_MEMBER_EPOCH,
    KafkaError._ASSIGNMENT_LOST,  # noqa: SLF001
)
ALL_BROKERS_DOWN = KafkaError._ALL_BROKERS_DOWN  # noqa: SLF001
#: Not a failure: the end of the partition was reached.
END_OF_PARTITION = KafkaError._PARTITION_EOF  # noqa: SLF001
#: A partition is between two leaders, or so new that its leader does not know it yet. Kafka's own admin client
#: retries on these errors when it lists offsets.
LEADER_CHANGES = (
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.REPLICA_NOT_AVAILABLE,
    KafkaError.KAFKA_STORAGE_ERROR,
    KafkaError.FENCED_LEADER_EPOCH,
    KafkaError.UNKNOWN_LEADER_EPOCH,
    KafkaError.OFFSET_NOT_AVAILABLE,
)
#: This client cannot go on; only a new one can.
FATAL = KafkaError._FATAL  # noqa: SLF001
#: The client was closed under a call.
CLOSED = KafkaError(KafkaError._DESTROY)  # noqa: SLF001


class TopicMismatchError(Exception):
    """The topics on the broker are not as required. The text says how, and what to do."""


def error_of(exception: KafkaException) -> KafkaError:
    """The client's error inside its exception."""
    error: KafkaError = exception.args[0]
    return error


def unavailable(failure: KafkaError | KafkaException) -> Unavailable:
    """The port's error for an error of the client."""
    error = error_of(failure) if isinstance(failure, KafkaException) else failure
    return Unavailable("kafka", error.str())


class ClientErrors:
    """An `error_cb` that remembers what a client reports about its connections."""

    def __init__(self) -> None:
        #: Set when the last connection is lost. Nothing reports that a broker is back: ask one.
        self.all_down = False
        self._cause: KafkaError | None = None

    def __call__(self, error: KafkaError) -> None:
        if error.code() == ALL_BROKERS_DOWN:
            self.all_down = True
        else:
            self._cause = error

    def explain(self, failure: KafkaException | None = None) -> Unavailable:
        """The reason of a broken connection, which says more than the request that failed."""
        if self._cause is not None:
            return unavailable(self._cause)
        return unavailable(failure) if failure else Unavailable("kafka", "all brokers are down")

    def forget(self) -> None:
        self.all_down = False
        self._cause = None
