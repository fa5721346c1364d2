"""What can be wrong with a definition, under stable names."""

from __future__ import annotations

from enum import StrEnum

from domain.values import Value


class Rule(StrEnum):
    """The kinds of faults; documented, never renamed."""

    #: The document does not have the form of a definition.
    SCHEMA = "SCHEMA"
    #: Part of the format, but not of this version of the service.
    NOT_SUPPORTED = "NOT_SUPPORTED"
    #: Not valid JMESPath, an unknown function, or a wrong number of arguments.
    EXPRESSION = "EXPRESSION"
    #: `inputSchema` or `outputSchema` is not a valid JSON Schema.
    INPUT_SCHEMA = "INPUT_SCHEMA"
    NAME = "NAME"
    LIMIT = "LIMIT"
    NO_STEPS = "NO_STEPS"
    DUPLICATE_STEP = "DUPLICATE_STEP"
    UNKNOWN_DEPENDENCY = "UNKNOWN_DEPENDENCY"
    CYCLE = "CYCLE"
    #: A step stands before one that it depends on.
    STEP_ORDER = "STEP_ORDER"
    COMPENSATION_MISSING = "COMPENSATION_MISSING"
    COMPENSATION_ON_READ_ONLY = "COMPENSATION_ON_READ_ONLY"
    COMPENSATION_ON_PIVOT = "COMPENSATION_ON_PIVOT"
    SEVERAL_PIVOTS = "SEVERAL_PIVOTS"
    #: A pivot that may be skipped does not protect what comes after it.
    CONDITIONAL_PIVOT = "CONDITIONAL_PIVOT"
    #: Behind the pivot, but it can fail for good.
    NOT_RETRIABLE_AFTER_PIVOT = "NOT_RETRIABLE_AFTER_PIVOT"
    #: Has to be undone if it fails, and the pivot may be done by then.
    PARALLEL_TO_PIVOT = "PARALLEL_TO_PIVOT"
    #: Not behind a pivot: nothing undoes it if another step fails.
    RETRIABLE_WITHOUT_UNDO = "RETRIABLE_WITHOUT_UNDO"
    UNKNOWN_REFERENCE = "UNKNOWN_REFERENCE"
    #: Reads a step that need not be done by then.
    NOT_A_DEPENDENCY = "NOT_A_DEPENDENCY"
    UNKNOWN_INPUT = "UNKNOWN_INPUT"


class Fault(Value):
    """Why a definition is refused, and what to do about it; `path` is the place in the document."""

    rule: Rule
    message: str
    step: str | None = None
    path: str = ""

    def __str__(self) -> str:
        where = f"{self.rule} {self.path}" if self.path else self.rule
        return f"{where}: {self.message}"
