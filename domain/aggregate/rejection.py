"""Why a command is refused: a code to act on, and a sentence that says what to do."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from domain.values import Value


class RejectionCode(StrEnum):
    WORKFLOW_NOT_FOUND = "WORKFLOW_NOT_FOUND"
    WORKFLOW_EXISTS = "WORKFLOW_EXISTS"
    UNKNOWN_DEFINITION = "UNKNOWN_DEFINITION"
    INVALID_INPUT = "INVALID_INPUT"
    ILLEGAL_STATUS = "ILLEGAL_STATUS"
    RETRIES_EXHAUSTED = "RETRIES_EXHAUSTED"
    DEPENDENCY_NOT_MET = "DEPENDENCY_NOT_MET"
    NOT_WAVELESS = "NOT_WAVELESS"
    PAST_PIVOT = "PAST_PIVOT"
    LOCKED = "LOCKED"
    IDEMPOTENCY_CONFLICT = "IDEMPOTENCY_CONFLICT"
    DEFINITION_EXISTS = "DEFINITION_EXISTS"
    TOO_LARGE = "TOO_LARGE"
    INTERNAL = "INTERNAL"
    ACTION_NOT_ALLOWED = "ACTION_NOT_ALLOWED"
    ACTOR_NOT_ALLOWED = "ACTOR_NOT_ALLOWED"
    VERSION_MISMATCH = "VERSION_MISMATCH"
    STALE = "STALE"


class Rejection(Value, kw_only=False):
    """A refusal is a value, not an exception: it is stored and returned as the command's outcome."""

    code: RejectionCode
    detail: str
    faults: tuple[Mapping[str, str], ...] = ()
