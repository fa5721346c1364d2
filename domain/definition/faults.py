"""The faults that a definition can have, under stable names."""

from __future__ import annotations

from enum import StrEnum

from domain.values import Value


class Rule(StrEnum):
    """The kinds of faults. They are documented and never renamed."""

    #: The document does not have the form of a definition.
    SCHEMA = "SCHEMA"
    #: Part of the format, but not supported by this version of the service.
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
    #: A step is written before one that it depends on.
    STEP_ORDER = "STEP_ORDER"
    COMPENSATION_MISSING = "COMPENSATION_MISSING"
    COMPENSATION_ON_READ_ONLY = "COMPENSATION_ON_READ_ONLY"
    COMPENSATION_ON_PIVOT = "COMPENSATION_ON_PIVOT"
    SEVERAL_PIVOTS = "SEVERAL_PIVOTS"
    #: The pivot may be skipped, so the steps after it could fail without a way back or forward.
    CONDITIONAL_PIVOT = "CONDITIONAL_PIVOT"
    #: The step comes after the pivot, but can fail for good.
    NOT_RETRIABLE_AFTER_PIVOT = "NOT_RETRIABLE_AFTER_PIVOT"
    #: The step runs in parallel to the pivot: if it fails, the pivot may already be done.
    PARALLEL_TO_PIVOT = "PARALLEL_TO_PIVOT"
    #: The step does not come after a pivot, so nothing undoes it if another step fails.
    RETRIABLE_WITHOUT_UNDO = "RETRIABLE_WITHOUT_UNDO"
    UNKNOWN_REFERENCE = "UNKNOWN_REFERENCE"
    #: An expression reads a step that may not be done by then.
    NOT_A_DEPENDENCY = "NOT_A_DEPENDENCY"
    UNKNOWN_INPUT = "UNKNOWN_INPUT"


class Fault(Value):
    """Why a definition is refused, and what to do about it. `path` is the place in the document."""

    rule: Rule
    message: str
    step: str | None = None
    path: str = ""

    def __str__(self) -> str:
        where = f"{self.rule} {self.path}" if self.path else self.rule
        return f"{where}: {self.message}"
