"""Asking for offsets while a partition is between two leaders."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError, KafkaException

from adapters.kafka.cluster import across_leader_changes


class Leaderless:
    """Fails with an error as often as there is one, then returns."""

    def __init__(self, *codes: int) -> None:
        self._codes = list(codes)

    def __call__(self) -> str:
        if self._codes:
            raise KafkaException(KafkaError(self._codes.pop(0)))
        return "found"


@pytest.mark.parametrize(
    "code",
    [
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.REPLICA_NOT_AVAILABLE,
        KafkaError.KAFKA_STORAGE_ERROR,
        KafkaError.FENCED_LEADER_EPOCH,
        KafkaError.UNKNOWN_LEADER_EPOCH,
        KafkaError.OFFSET_NOT_AVAILABLE,
    ],
)
def test_what_a_new_leader_settles_is_asked_again(code: int) -> None:
    """A topic that `init` has just made may not be known to its leader yet."""
    assert across_leader_changes(Leaderless(code, code)) == "found"


def test_any_other_failure_is_reported_at_once() -> None:
    """No new leader changes it."""
    with pytest.raises(KafkaException, match="authori"):
        across_leader_changes(Leaderless(KafkaError.TOPIC_AUTHORIZATION_FAILED))
