"""Which errors are worth a retry, and what an exception becomes."""

from __future__ import annotations

import json

import pytest

from domain.values import changed
from domain.workflow.failure import WorkflowError, is_recoverable_type
from domain.workflow.step import StepResult


@pytest.mark.parametrize(
    ("error_type", "recoverable", "leaves_outcome_open"),
    [
        ("SERVICE_UNAVAILABLE", True, False),
        ("TIMEOUT", True, False),
        ("UNKNOWN", True, True),
        ("VALIDATION_ERROR", False, False),
        ("BUSINESS_RULE_VIOLATION", False, False),
        ("INTERNAL", False, False),
        ("ANYTHING_ELSE", False, False),
    ],
)
def test_decision_table(error_type: str, recoverable: bool, leaves_outcome_open: bool) -> None:
    """The type decides whether to retry and whether the outcome is known; all need compensation."""
    error = WorkflowError.create("pick", "robots", "X", "no", error_type)

    assert error.recoverable is is_recoverable_type(error_type) is recoverable
    assert error.leaves_outcome_open is leaves_outcome_open
    assert error.requires_compensation


def test_an_error_of_any_type_may_leave_its_outcome_open() -> None:
    """A participant's time-out is a TIMEOUT of which nobody knows what it did."""
    error = WorkflowError.create("pick", "robots", "X", "no", "TIMEOUT")

    assert changed(error, outcome_unknown=True).leaves_outcome_open


@pytest.mark.parametrize(
    ("code", "error_type", "recoverable"),
    [
        ("INVENTORY_UNAVAILABLE", "BUSINESS_RULE_VIOLATION", True),
        ("ROBOT_UNAVAILABLE", "SERVICE_UNAVAILABLE", False),
    ],
)
def test_a_given_flag_overrides_the_type(code: str, error_type: str, recoverable: bool) -> None:
    """A participant that says whether to retry is believed."""
    error = WorkflowError.create("pick", "robots", code, "no", error_type, recoverable)

    assert error.recoverable is recoverable
    assert (error.step_id, error.service_name, error.error_code) == ("pick", "robots", code)


@pytest.mark.parametrize(
    ("exception", "error_type"),
    [
        (TimeoutError("late"), "TIMEOUT"),
        (ConnectionRefusedError("nobody"), "SERVICE_UNAVAILABLE"),
        (json.JSONDecodeError("bad", "{", 0), "VALIDATION_ERROR"),
        (KeyError("sku"), "INTERNAL"),
    ],
)
def test_from_exception(exception: Exception, error_type: str) -> None:
    """An exception becomes the type that it speaks of, and keeps its name and text."""
    error = WorkflowError.from_exception("pick", "robots", exception)

    assert error.error_type == error_type
    assert error.error_code == type(exception).__name__
    assert error.message == str(exception)


def test_step_results() -> None:
    """A result is a success with its output or a failure with its error, and knows its duration."""
    done = StepResult.success("pick", {"bin": 7}, 1500)
    error = WorkflowError.create("pick", "robots", "X", "no", "INTERNAL")
    failed = StepResult.failure("pick", error, 20)

    assert (done.is_success, done.output, done.execution_time_ms) == (True, {"bin": 7}, 1500)
    assert (failed.is_success, failed.error, failed.execution_time_ms) == (False, error, 20)
