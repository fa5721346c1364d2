"""Requests and replies: read by programs of any age and language."""

from __future__ import annotations

import msgspec
import pytest
from conveyor import exchange, wire
from conveyor.exchange import Sealed, StepCompleted, StepFailed, StepRequest
from conveyor.messages import MalformedEvent
from conveyor.payloads import InvalidPayload, parse_exchanged, parse_reply


def test_operators_and_participants_report_failures_with_the_same_fields() -> None:
    """The failure is modelled twice, for two libraries: a field that only one of them has would be lost."""
    of_participants = {
        field.encode_name for field in msgspec.structs.fields(exchange.ReportedFailure)
    }
    of_operators = {field.alias for field in wire.StepFailure.model_fields.values()}

    assert of_operators == of_participants


def test_replies_ignore_unknown_fields() -> None:
    """A newer participant's additional fields do not disturb."""
    completed, _ = parse_reply(
        StepCompleted, b'{"workflowId":"w","stepId":"s","attempt":1,"output":{"a":1},"new":true}'
    )
    failed, _ = parse_reply(
        StepFailed, b'{"workflowId":"w","stepId":"s","attempt":2,"error":{"code":"X","hint":"y"}}'
    )
    sealed, _ = parse_reply(Sealed, b'{"workflowId":"w","stepId":"s","performed":false}')

    assert (completed.output, completed.round, completed.compensation) == ({"a": 1}, 1, None)
    assert (failed.error.type, failed.error.retryable) == ("INTERNAL", None)
    assert sealed.output is None


@pytest.mark.parametrize("attempt", ["2.0", '"2"', "2"])
def test_a_reply_may_write_numbers_as_its_language_does(attempt: str) -> None:
    """Some libraries know only decimals, some send every number as a text."""
    data = f'{{"workflowId":"w","stepId":"s","attempt":{attempt},"output":{{"a":1}}}}'

    reply, unusable = parse_reply(StepCompleted, data.encode())

    assert (reply.attempt, reply.output, unusable) == (2, {"a": 1}, None)


@pytest.mark.parametrize("output", ['"null"', "[]", "1", '"sent"'])
def test_an_output_that_is_not_an_object_is_named(output: str) -> None:
    """The step was performed all the same: the reply counts without it."""
    data = f'{{"workflowId":"w","stepId":"s","attempt":1,"output":{output}}}'

    reply, unusable = parse_reply(StepCompleted, data.encode())

    assert (reply.output, unusable) == (None, "output: is not an object")


@pytest.mark.parametrize(
    ("given", "duration"),
    [("12", 12), ("1.5", 1), ("-1", 0), ("true", 0), ('"3 s"', 0), ("1e300", 0)],
)
def test_a_measurement_is_never_a_reason_to_refuse(given: str, duration: int) -> None:
    """What is not a duration counts as none."""
    data = f'{{"workflowId":"w","stepId":"s","attempt":1,"executionTimeMs":{given}}}'

    reply, _ = parse_reply(StepCompleted, data.encode())

    assert reply.duration_ms == duration


@pytest.mark.parametrize(
    ("data", "path"),
    [
        (b"{}", "data"),
        (b"[]", "data"),
        (b'{"workflowId":"w","stepId":"s","attempt":0}', "attempt"),
        (b'{"workflowId":"w","stepId":"s","attempt":2147483648}', "attempt"),
        (b'{"workflowId":"w","stepId":"","attempt":1}', "stepId"),
    ],
)
def test_a_reply_of_another_shape_is_refused(data: bytes, path: str) -> None:
    """The fault has a path."""
    with pytest.raises(InvalidPayload) as refused:
        parse_reply(StepCompleted, data)

    assert [fault["path"] for fault in refused.value.faults] == [path]


def test_a_text_that_is_not_json_is_named() -> None:
    """It is neither a request nor a reply."""
    with pytest.raises(MalformedEvent, match="not JSON"):
        parse_exchanged(StepRequest, b'{"workflowId":')


def test_request_without_optional_fields() -> None:
    """The smallest request is the first attempt of the first round, without a deadline."""
    request = parse_exchanged(
        StepRequest, b'{"workflowId":"w","stepId":"s","service":"x","operation":"y"}'
    )

    assert (request.attempt, request.round, request.deadline, request.input) == (1, 1, None, {})
