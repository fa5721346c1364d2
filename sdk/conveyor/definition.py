"""The definition document: what a workflow is registered as, in JSON or YAML.

A step without `dependsOn` depends on the step written before it; one with `dependsOn: []` on none.
Every string in an `input` is a JMESPath expression over `input`, `steps.<id>.output`, `context` and
`signals` (write a text as `'text'` inside it); other JSON values stand for themselves. A step's
`retry` replaces the definition's as a whole.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Annotated, Any, Literal, NamedTuple

import orjson
from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    JsonValue,
    Tag,
    ValidationError,
)
from pydantic.alias_generators import to_camel
from pydantic_core import ErrorDetails

JsonObject = dict[str, JsonValue]
RetryPreset = Literal["default", "aggressive", "conservative"]


def _text_or_object(value: object) -> str:
    return "<text>" if isinstance(value, str) else "<object>"


class _Part(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, frozen=True, extra="forbid", strict=True)


class RetryDocument(_Part):
    """Retries after the first attempt; `jitter` is a share of the delay, 0 to 1."""

    max_retries: int = 3
    initial_delay_ms: int = 1000
    max_delay_ms: int = 10_000
    backoff_multiplier: float = 2.0
    exponential_backoff: bool = True
    jitter: float = 0.0


#: A JMESPath expression that gives an object, or an object of expressions and plain values.
InputMapping = Annotated[
    Annotated[str, Tag("<text>")] | Annotated[JsonObject, Tag("<object>")],
    Discriminator(_text_or_object),
]
RetryChoice = Annotated[
    Annotated[RetryPreset, Tag("<text>")] | Annotated[RetryDocument, Tag("<object>")],
    Discriminator(_text_or_object),
]
_NonEmpty = Annotated[str, Field(min_length=1)]


class VerificationDocument(_Part):
    """An operation that checks an undo before the next one may begin."""

    operation: _NonEmpty
    input: InputMapping = Field(default_factory=dict)


class CompensationDocument(_Part):
    """What undoes a step; without `service` the step's own service does it."""

    strategy: Literal["REVERSE_OPERATION", "DELETE_CREATED", "RESTORE_STATE", "CUSTOM"] = (
        "REVERSE_OPERATION"
    )
    service: _NonEmpty | None = None
    operation: _NonEmpty
    input: InputMapping = Field(default_factory=dict)
    verify: VerificationDocument | None = None


class StepDocument(_Part):
    """One step: `operation` of `service`, when everything in `dependsOn` is done."""

    id: _NonEmpty
    service: _NonEmpty
    operation: _NonEmpty
    name: str = ""
    depends_on: tuple[str, ...] | None = None
    input: InputMapping = Field(default_factory=dict)
    #: A condition (JMESPath); where it gives false, null, 0 or nothing the step is SKIPPED.
    when: str | None = None
    timeout_ms: int = 5000
    retry: RetryChoice | None = None
    compensation: CompensationDocument | None = None
    kind: Literal["compensatable", "pivot", "retriable", "read-only"] = "compensatable"
    config: JsonObject = Field(default_factory=dict)
    metadata: JsonObject = Field(default_factory=dict)
    for_each: JsonValue = None
    wait_for: JsonValue = None
    completes_on: JsonValue = None
    transitions: JsonValue = None


class DefinitionDocument(_Part):
    """A version of a definition; immutable once registered."""

    name: str
    version: int
    type: str
    title: str = ""
    #: JSON Schema (draft 2020-12 unless `$schema` says otherwise) that every start input must fit.
    input_schema: JsonObject | None = None
    #: JSON Schema of the output, for readers; it is not enforced.
    output_schema: JsonObject | None = None
    output: InputMapping | None = None
    waveless: bool = False
    #: Counts from the start of a run; 0: no time-out.
    timeout_seconds: int = 300
    on_failure: Literal["compensate", "hold"] = "compensate"
    on_cancel: Literal["leave", "compensate"] = "leave"
    #: How often an operator may retry a failed run.
    max_retries: int = 3
    retry: RetryChoice = Field(default_factory=RetryDocument)
    steps: tuple[StepDocument, ...] = ()
    lock_key: JsonValue = None
    lock_policy: JsonValue = None
    initial: JsonValue = None
    transitions: JsonValue = None

    @property
    def content_hash(self) -> str:
        """SHA-256 over the canonical JSON; the order of fields and spelt-out defaults do not count."""
        content = orjson.dumps(
            self.model_dump(by_alias=True, mode="json"), option=orjson.OPT_SORT_KEYS
        )
        return hashlib.sha256(content).hexdigest()


class SchemaFault(NamedTuple):
    """`path` as in `steps[0].timeoutMs`."""

    path: str
    message: str


class MalformedDefinition(ValueError):
    """The document does not have the form of a definition; `faults` says where."""

    def __init__(self, faults: tuple[SchemaFault, ...]) -> None:
        super().__init__("; ".join(f"{path}: {message}" for path, message in faults))
        self.faults = faults


def read_definition(document: Mapping[str, Any]) -> DefinitionDocument:
    """Raises MalformedDefinition with every fault of form."""
    try:
        content = orjson.dumps(document, option=orjson.OPT_PASSTHROUGH_DATETIME)
    except TypeError as fault:
        message = f"not JSON: {fault}; write dates and other special values in quotes"
        raise MalformedDefinition((SchemaFault("", message),)) from fault
    try:
        return DefinitionDocument.model_validate_json(content)
    except ValidationError as invalid:
        errors = invalid.errors(include_url=False, include_context=False)
        faults = tuple(SchemaFault(_path(error["loc"]), _message(error)) for error in errors)
        raise MalformedDefinition(faults) from invalid


_MESSAGES = {
    "missing": "is required",
    "string_too_short": "must not be empty",
}


_PARTS: Mapping[str, type[_Part]] = {
    "steps": StepDocument,
    "compensation": CompensationDocument,
    "verify": VerificationDocument,
    "retry": RetryDocument,
}


def _message(error: ErrorDetails) -> str:
    if error["type"] != "extra_forbidden":
        return _MESSAGES.get(error["type"], error["msg"])
    *within, name = [str(part) for part in error["loc"] if isinstance(part, str)]
    named = [part for part in within if not part.startswith("<")]
    part = _PARTS.get(named[-1], DefinitionDocument) if named else DefinitionDocument
    fields = [str(field.alias) for field in part.model_fields.values()]
    close = get_close_matches(to_camel(name), fields, n=1)
    advice = f"did you mean {close[0]}?" if close else f"the fields here are {', '.join(fields)}"
    return f"is not a field of a definition; {advice}"


def _path(location: tuple[int | str, ...]) -> str:
    path = ""
    for part in location:
        if isinstance(part, int):
            path += f"[{part}]"
        elif not part.startswith("<"):
            path += f".{part}" if path else part
    return path
