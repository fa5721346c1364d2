"""The payloads of commands: every fault of them is refused."""

from __future__ import annotations

from datetime import UTC, datetime
from math import inf, nan

import pytest
from conveyor.json_text import UnstorableJson
from conveyor.payloads import InvalidPayload, parse, written
from conveyor.wire import (
    CancelData,
    ExecuteStepData,
    StartData,
)
from pydantic import ValidationError


def test_start_reads_camel_case() -> None:
    """Every field of a start is read under its wire name, times are normalised to UTC."""
    start = StartData.model_validate_json(
        b"""{"definition":"order-fulfillment","version":1,"input":{"orderId":"o-1"},
        "priority":"HIGH","correlationId":"c","lockKey":"k","lockPolicy":"reject",
        "lockWaitSeconds":5,"timeoutSeconds":0,"triggeredBy":"system","userId":"u","wallet":"w",
        "tenant":"t","labels":{"a":"b"},"metadata":{"m":1},"releaseQueue":"default",
        "dueAt":"2026-11-21T03:30:00+01:00","idempotencyKey":"i","maxRetries":0}"""
    )

    assert start.definition_reference == "order-fulfillment"
    assert start.due_at == "2026-11-21T02:30:00.000Z"
    assert (start.lock_policy, start.timeout_seconds, start.max_retries) == ("reject", 0, 0)


@pytest.mark.parametrize(
    "data",
    [
        b"{}",
        b'{"definition":"a","definitionId":"a-v1"}',
        b'{"definition":"a","prioritty":"HIGH"}',
        b'{"definition":"a","priority":"URGENT"}',
        b'{"definition":"a","version":0}',
        b'{"definition":"a","dueAt":"tomorrow"}',
        b'{"definition":"a","dueAt":"2026-11-21T02:30:00"}',
        b'{"definition":"a","input":[]}',
        b'{"definition":""}',
        b"[]",
        b"{",
    ],
)
def test_start_refuses(data: bytes) -> None:
    """A start that is ambiguous, misspelt or out of range is refused."""
    with pytest.raises(ValidationError):
        StartData.model_validate_json(data)


def test_definition_id_is_an_alias() -> None:
    """`definitionId` alone names the definition."""
    start = StartData.model_validate_json(b'{"definitionId":"order-fulfillment-v1"}')

    assert start.definition_reference == "order-fulfillment-v1"


def test_cancel_may_be_empty() -> None:
    """A cancel without reason leaves compensation to the definition."""
    assert CancelData.model_validate_json(b"{}") == CancelData(reason=None, compensate=None)


@pytest.mark.parametrize(
    "data",
    [
        b'{"stepId":"a","input":{},"result":{"output":{}}}',
        b'{"stepId":"a","result":{}}',
        b'{"stepId":"a","result":{"output":{},"error":{"code":"X"}}}',
        b'{"input":{}}',
    ],
)
def test_execute_step_refuses_ambiguity(data: bytes) -> None:
    """A step is either dispatched or its one outcome recorded."""
    with pytest.raises(ValidationError):
        ExecuteStepData.model_validate_json(data)


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity"])
def test_no_numbers(value: str) -> None:
    """NaN and Infinity are refused with their path; as text they are nothing special."""
    with pytest.raises(InvalidPayload, match=r"input\.x: "):
        parse(StartData, b'{"definition": "d", "input": {"x": %s}}' % value.encode())

    assert parse(StartData, b'{"definition": "d", "input": {"x": "%s"}}' % value.encode())


@pytest.mark.parametrize("value", [nan, inf, 2**63, "\ud800", {"a": "\udfff"}])
def test_a_value_that_json_lacks_is_not_sent(value: object) -> None:
    """The writer of a command refuses what its reader would refuse; NaN does not become null."""
    with pytest.raises(UnstorableJson, match=r"input\.x(\.a)?: (cannot be stored|has half)"):
        written(StartData(definition="d", input={"x": value}))


def test_what_python_writes_as_text_is_sent() -> None:
    """A time in the input is written as a text, and fields that were not set are left out."""
    data = StartData(definition="d", input={"at": datetime(2026, 11, 21, tzinfo=UTC)})

    assert written(data) == b'{"definition":"d","input":{"at":"2026-11-21T00:00:00Z"}}'
