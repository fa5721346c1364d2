"""Classifies the failures of a Kafka producer as temporary or final.

A temporary failure is not caused by the record, so the same record is written again later. A final one occurs however
often the record is written, so waiting would stop everything behind it.

The table lists every code that a produce request or the producer itself can report. A code that it
does not know counts as temporary, because waiting loses nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from confluent_kafka import KafkaError


class Verdict(StrEnum):
    """What a failure means for later writes."""

    #: The same record may be written later, perhaps by a new producer.
    PASSING = "passing"
    #: This record is never written in this form. A broker refuses a whole batch for one record of
    #: it and reports this for all, so the verdict holds for a record that was written alone.
    RECORD = "record"
    #: Nothing can be written to this topic until an operator changes the topic or the permissions.
    TOPIC = "topic"


# ruff: noqa: SLF001 - the client's own codes begin with an underscore
_RECORD = (
    KafkaError.MSG_SIZE_TOO_LARGE,
    KafkaError.RECORD_LIST_TOO_LARGE,
    KafkaError.INVALID_MSG_SIZE,
    KafkaError.INVALID_TIMESTAMP,
    KafkaError.POLICY_VIOLATION,
    KafkaError.INVALID_RECORD,
    # Another record of the batch was at fault; alone, this one is taken.
    KafkaError._INVALID_DIFFERENT_RECORD,
    KafkaError._INVALID_ARG,
    KafkaError._BAD_MSG,
    KafkaError._KEY_SERIALIZATION,
    KafkaError._VALUE_SERIALIZATION,
)
_TOPIC = (
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._UNKNOWN_TOPIC,
    KafkaError._UNKNOWN_PARTITION,
    KafkaError.TOPIC_EXCEPTION,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.UNSUPPORTED_FOR_MESSAGE_FORMAT,
    KafkaError.UNSUPPORTED_COMPRESSION_TYPE,
)
_PASSING = (
    # The broker, its leader or its replicas are away, or change.
    KafkaError.UNKNOWN,
    KafkaError.INVALID_MSG,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.REQUEST_TIMED_OUT,
    KafkaError.BROKER_NOT_AVAILABLE,
    KafkaError.REPLICA_NOT_AVAILABLE,
    KafkaError.NETWORK_EXCEPTION,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.NOT_COORDINATOR,
    KafkaError.NOT_ENOUGH_REPLICAS,
    KafkaError.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
    KafkaError.KAFKA_STORAGE_ERROR,
    KafkaError.LOG_DIR_NOT_FOUND,
    KafkaError.FENCED_LEADER_EPOCH,
    KafkaError.UNKNOWN_LEADER_EPOCH,
    KafkaError.STALE_BROKER_EPOCH,
    KafkaError.STALE_CTRL_EPOCH,
    KafkaError.NOT_CONTROLLER,
    KafkaError.THROTTLING_QUOTA_EXCEEDED,
    # The topic was deleted and created again; the client learns its new id.
    KafkaError.UNKNOWN_TOPIC_ID,
    KafkaError.INCONSISTENT_TOPIC_ID,
    # The cluster as a whole refuses this client: no other record would fare better.
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError.UNSUPPORTED_SASL_MECHANISM,
    KafkaError.ILLEGAL_SASL_STATE,
    KafkaError.SECURITY_DISABLED,
    KafkaError.PRINCIPAL_DESERIALIZATION_FAILURE,
    KafkaError.DELEGATION_TOKEN_EXPIRED,
    KafkaError.UNSUPPORTED_VERSION,
    KafkaError.INVALID_REQUEST,
    KafkaError.INVALID_REQUIRED_ACKS,
    # This producer is over; a new one can go on.
    KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER,
    KafkaError.DUPLICATE_SEQUENCE_NUMBER,
    KafkaError.INVALID_PRODUCER_EPOCH,
    KafkaError.UNKNOWN_PRODUCER_ID,
    KafkaError.INVALID_PRODUCER_ID_MAPPING,
    KafkaError.PRODUCER_FENCED,
    KafkaError._FATAL,
    KafkaError._GAPLESS_GUARANTEE,
    KafkaError._FENCED,
    KafkaError._INCONSISTENT,
    KafkaError._STATE,
    # The client could not reach the broker, ran out of time or room, or was closed.
    KafkaError._TRANSPORT,
    KafkaError._FAIL,
    KafkaError._RESOLVE,
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._UNKNOWN_BROKER,
    KafkaError._NODE_UPDATE,
    KafkaError._SSL,
    KafkaError._AUTHENTICATION,
    KafkaError._UNSUPPORTED_FEATURE,
    KafkaError._MSG_TIMED_OUT,
    KafkaError._TIMED_OUT,
    KafkaError._TIMED_OUT_QUEUE,
    KafkaError._ISR_INSUFF,
    KafkaError._QUEUE_FULL,
    KafkaError._CRIT_SYS_RESOURCE,
    KafkaError._BAD_COMPRESSION,
    KafkaError._INTR,
    KafkaError._RETRY,
    KafkaError._WAIT_CACHE,
    KafkaError._DESTROY,
    KafkaError._DESTROY_BROKER,
    KafkaError._PURGE_QUEUE,
    KafkaError._PURGE_INFLIGHT,
)

#: Every code that a producer can report.
VERDICTS: Mapping[int, Verdict] = {
    **dict.fromkeys(_RECORD, Verdict.RECORD),
    **dict.fromkeys(_TOPIC, Verdict.TOPIC),
    **dict.fromkeys(_PASSING, Verdict.PASSING),
}


def verdict(error: KafkaError) -> Verdict:
    """The verdict on a failure of a producer."""
    return VERDICTS.get(error.code(), Verdict.PASSING)
