"""The table of a producer's failures, code by code."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError
from conveyor.kafka_errors import VERDICTS, Verdict, verdict

#: Failures of consumers, groups, transactions and administration: no producer reports them.
_NOT_OF_A_PRODUCER = frozenset(
    {
        *("NO_ERROR", "CONCURRENT_TRANSACTIONS", "INVALID_TRANSACTION_TIMEOUT"),
        *("INVALID_TXN_STATE", "TRANSACTIONAL_ID_AUTHORIZATION_FAILED", "TRANSACTION_ABORTABLE"),
        "TRANSACTION_COORDINATOR_FENCED",
        *("DELEGATION_TOKEN_AUTHORIZATION_FAILED", "DELEGATION_TOKEN_AUTH_DISABLED"),
        *("DELEGATION_TOKEN_NOT_FOUND", "DELEGATION_TOKEN_OWNER_MISMATCH"),
        *("DELEGATION_TOKEN_REQUEST_NOT_ALLOWED", "INVALID_PRINCIPAL_TYPE"),
        *("UNACCEPTABLE_CREDENTIAL", "DUPLICATE_RESOURCE", "RESOURCE_NOT_FOUND"),
        *("DUPLICATE_VOTER", "INCONSISTENT_VOTER_SET", "INVALID_VOTER_KEY", "VOTER_NOT_FOUND"),
        *(
            "ELECTION_NOT_NEEDED",
            "ELIGIBLE_LEADERS_NOT_AVAILABLE",
            "PREFERRED_LEADER_NOT_AVAILABLE",
        ),
        *("FEATURE_UPDATE_FAILED", "INVALID_UPDATE_VERSION", "INVALID_REGISTRATION"),
        *("FENCED_INSTANCE_ID", "FENCED_MEMBER_EPOCH", "STALE_MEMBER_EPOCH", "UNKNOWN_MEMBER_ID"),
        *("ILLEGAL_GENERATION", "REBALANCE_IN_PROGRESS", "MEMBER_ID_REQUIRED"),
        *("INCONSISTENT_GROUP_PROTOCOL", "INVALID_GROUP_ID", "INVALID_SESSION_TIMEOUT"),
        *("GROUP_AUTHORIZATION_FAILED", "GROUP_ID_NOT_FOUND", "GROUP_MAX_SIZE_REACHED"),
        *("GROUP_SUBSCRIBED_TO_TOPIC", "NON_EMPTY_GROUP", "UNRELEASED_INSTANCE_ID"),
        *("UNSUPPORTED_ASSIGNOR", "INVALID_REGULAR_EXPRESSION", "UNSTABLE_OFFSET_COMMIT"),
        *("INVALID_COMMIT_OFFSET_SIZE", "OFFSET_METADATA_TOO_LARGE"),
        *("FETCH_SESSION_ID_NOT_FOUND", "INVALID_FETCH_SESSION_EPOCH", "OFFSET_OUT_OF_RANGE"),
        *("OFFSET_NOT_AVAILABLE", "LISTENER_NOT_FOUND", "REBOOTSTRAP_REQUIRED"),
        *("INVALID_CONFIG", "INVALID_PARTITIONS", "INVALID_REPLICATION_FACTOR"),
        *("INVALID_REPLICA_ASSIGNMENT", "REASSIGNMENT_IN_PROGRESS", "NO_REASSIGNMENT_IN_PROGRESS"),
        *("TOPIC_ALREADY_EXISTS", "TOPIC_DELETION_DISABLED", "OPERATION_NOT_ATTEMPTED"),
        *("MISMATCHED_ENDPOINT_TYPE", "UNSUPPORTED_ENDPOINT_TYPE", "UNKNOWN_CONTROLLER_ID"),
        *("TELEMETRY_TOO_LARGE", "UNKNOWN_SUBSCRIPTION_ID"),
        *("FENCED_STATE_EPOCH", "INVALID_RECORD_STATE", "INVALID_SHARE_SESSION_EPOCH"),
        *("SHARE_SESSION_LIMIT_REACHED", "SHARE_SESSION_NOT_FOUND"),
        *("STREAMS_INVALID_TOPOLOGY", "STREAMS_INVALID_TOPOLOGY_EPOCH", "STREAMS_TOPOLOGY_FENCED"),
        *("_APPLICATION", "_ASSIGNMENT_LOST", "_ASSIGN_PARTITIONS", "_REVOKE_PARTITIONS"),
        *("_AUTO_OFFSET_RESET", "_EXISTING_SUBSCRIPTION", "_LOG_TRUNCATION", "_NO_OFFSET"),
        *("_MAX_POLL_EXCEEDED", "_PARTITION_EOF", "_UNKNOWN_GROUP", "_WAIT_COORD"),
        *("_KEY_DESERIALIZATION", "_VALUE_DESERIALIZATION", "_PARTIAL", "_UNDERFLOW"),
        *("_CONFLICT", "_IN_PROGRESS", "_PREV_IN_PROGRESS", "_FS", "_NOENT", "_NOOP"),
        *("_NOT_CONFIGURED", "_NOT_IMPLEMENTED", "_OUTDATED", "_READ_ONLY", "_INVALID_TYPE"),
        "_UNKNOWN_PROTOCOL",
    }
)
_FINAL = {
    "MSG_SIZE_TOO_LARGE": Verdict.RECORD,
    "RECORD_LIST_TOO_LARGE": Verdict.RECORD,
    "INVALID_MSG_SIZE": Verdict.RECORD,
    "INVALID_TIMESTAMP": Verdict.RECORD,
    "POLICY_VIOLATION": Verdict.RECORD,
    "INVALID_RECORD": Verdict.RECORD,
    "_INVALID_DIFFERENT_RECORD": Verdict.RECORD,
    "_INVALID_ARG": Verdict.RECORD,
    "_BAD_MSG": Verdict.RECORD,
    "_KEY_SERIALIZATION": Verdict.RECORD,
    "_VALUE_SERIALIZATION": Verdict.RECORD,
    "UNKNOWN_TOPIC_OR_PART": Verdict.TOPIC,
    "_UNKNOWN_TOPIC": Verdict.TOPIC,
    "_UNKNOWN_PARTITION": Verdict.TOPIC,
    "TOPIC_EXCEPTION": Verdict.TOPIC,
    "TOPIC_AUTHORIZATION_FAILED": Verdict.TOPIC,
    "UNSUPPORTED_FOR_MESSAGE_FORMAT": Verdict.TOPIC,
    "UNSUPPORTED_COMPRESSION_TYPE": Verdict.TOPIC,
}
_CODES = {
    name: code
    for name, code in vars(KafkaError).items()
    if isinstance(code, int) and name.strip("_").isupper()
}


@pytest.mark.parametrize("name", sorted(_CODES.keys() - _NOT_OF_A_PRODUCER))
def test_every_code_of_a_producer_is_in_the_table(name: str) -> None:
    """Final is what is named so here; every other failure passes."""
    code = _CODES[name]

    assert code in VERDICTS
    assert verdict(KafkaError(code)) is _FINAL.get(name, Verdict.PASSING)


def test_a_code_of_a_newer_client_passes() -> None:
    """Waiting loses nothing; giving up might."""
    assert verdict(KafkaError(32_000)) is Verdict.PASSING


def test_the_table_holds_nothing_that_no_producer_reports() -> None:
    """Codes of consumers and administrators are kept out."""
    assert not {_CODES[name] for name in _NOT_OF_A_PRODUCER & _CODES.keys()} & VERDICTS.keys()
