"""Errors of steps, and whether another attempt is worthwhile."""

from __future__ import annotations

from datetime import datetime

from domain.values import Value


class ErrorType:
    """The predefined error types. The list is open: a participant may send any other (S-002-15)."""

    VALIDATION_ERROR = "VALIDATION_ERROR"
    SERVICE_UNAVAILABLE = "SERVICE_UNAVAILABLE"
    TIMEOUT = "TIMEOUT"
    BUSINESS_RULE_VIOLATION = "BUSINESS_RULE_VIOLATION"
    UNKNOWN = "UNKNOWN"
    INTERNAL = "INTERNAL"


_RECOVERABLE = frozenset({ErrorType.SERVICE_UNAVAILABLE, ErrorType.TIMEOUT, ErrorType.UNKNOWN})


def is_recoverable_type(error_type: str) -> bool:
    """Whether errors of this type are worth a retry when the participant does not say."""
    return error_type in _RECOVERABLE


class WorkflowError(Value):
    """An error of a step, or of the whole workflow when `step_id` is None."""

    step_id: str | None
    service_name: str | None
    error_code: str
    message: str
    error_type: str
    recoverable: bool
    attempt: int | None = None
    occurred_at: datetime | None = None
    #: Set by the participant, whatever the type of the error.
    outcome_unknown: bool = False

    @staticmethod
    def create(
        step_id: str,
        service_name: str,
        error_code: str,
        message: str,
        error_type: str,
        recoverable: bool | None = None,
    ) -> WorkflowError:
        """An error. Without `recoverable`, the default of its type applies (S-003-20)."""
        return WorkflowError(
            step_id=step_id,
            service_name=service_name,
            error_code=error_code,
            message=message,
            error_type=error_type,
            recoverable=is_recoverable_type(error_type) if recoverable is None else recoverable,
        )

    @staticmethod
    def from_exception(step_id: str, service_name: str, exception: BaseException) -> WorkflowError:
        """TIMEOUT, SERVICE_UNAVAILABLE or VALIDATION_ERROR where the exception says so, else INTERNAL (S-003-21)."""
        if isinstance(exception, TimeoutError):
            error_type = ErrorType.TIMEOUT
        elif isinstance(exception, ConnectionError):
            error_type = ErrorType.SERVICE_UNAVAILABLE
        elif isinstance(exception, ValueError):
            error_type = ErrorType.VALIDATION_ERROR
        else:
            error_type = ErrorType.INTERNAL
        return WorkflowError.create(
            step_id, service_name, type(exception).__name__, str(exception), error_type
        )

    @property
    def requires_compensation(self) -> bool:
        """Whether earlier steps must be undone. Any final error requires it, whatever its type (CONTRACT 1)."""
        return True

    @property
    def leaves_outcome_open(self) -> bool:
        """Whether the attempt may have had an effect despite this error (PROTOCOL rule 3)."""
        return self.outcome_unknown or self.error_type == ErrorType.UNKNOWN
