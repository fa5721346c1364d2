"""Compiles a definition document to the domain's definition, and reports all faults together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from conveyor.definition import (
    CompensationDocument,
    DefinitionDocument,
    MalformedDefinition,
    RetryDocument,
    StepDocument,
    read_definition,
)
from conveyor.json_text import unstorable_values

from application.definitions.expressions import (
    InvalidExpression,
    ObjectExpression,
    compile_expression,
)
from application.definitions.input_schema import InputSchema, InvalidSchema
from application.ports import Document
from domain.definition.compensation import CompensationAction, CompensationStrategy, Verification
from domain.definition.definition import (
    OnCancel,
    OnFailure,
    StepDefinition,
    StepKind,
    WorkflowDefinition,
    WorkflowType,
)
from domain.definition.dependencies import execution_order
from domain.definition.expression import EMPTY, Expression, Template
from domain.definition.faults import Fault, Rule
from domain.definition.registration import registration_faults
from domain.definition.retry import PRESETS, RetryPolicy


class InvalidDefinition(ValueError):
    """The definition cannot be registered; `faults` holds every reason."""

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        super().__init__("; ".join(str(fault) for fault in faults))
        self.faults = faults


def compile_definition(document: Document) -> WorkflowDefinition:
    """The definition, proved safe, with its steps in execution order.

    Raises InvalidDefinition with every fault.
    """
    unstorable = tuple(
        Fault(rule=Rule.SCHEMA, path=fault["path"], message=fault["message"])
        for fault in unstorable_values(document)
    )
    if unstorable:
        raise InvalidDefinition(unstorable)
    compilation = _Compilation(_read(document))
    unsafe = registration_faults(compilation.definition, compilation.input_schema.has_path)
    faults = (*compilation.faults, *unsafe)
    if faults:
        raise InvalidDefinition(faults)
    return compilation.definition


def restore_definition(document: Document) -> WorkflowDefinition:
    """A definition that was proved when it was registered. Rules added later do not apply, so its runs can continue.

    Raises InvalidDefinition for what this version of the service cannot read.
    """
    compilation = _Compilation(_read(document))
    if compilation.faults:
        raise InvalidDefinition(tuple(compilation.faults))
    return compilation.definition


def _read(document: Document) -> DefinitionDocument:
    try:
        read = read_definition(document)
    except MalformedDefinition as malformed:
        faults = (
            Fault(rule=Rule.SCHEMA, path=path, message=message)
            for path, message in malformed.faults
        )
        raise InvalidDefinition(tuple(faults)) from malformed
    unsupported = tuple(_unsupported(read))
    if read.transitions is not None:
        # A state machine has no steps, so nothing else can be checked.
        raise InvalidDefinition(unsupported)
    return read


def _unsupported(document: DefinitionDocument) -> list[Fault]:
    """Faults of fields that only later versions support. To ignore them would be misleading."""
    fields: dict[tuple[str | None, str], object] = {
        (None, "lockKey"): document.lock_key,
        (None, "lockPolicy"): document.lock_policy,
        (None, "initial"): document.initial,
        (None, "transitions"): document.transitions,
    }
    for step in document.steps:
        fields[step.id, "forEach"] = step.for_each
        fields[step.id, "waitFor"] = step.wait_for
        fields[step.id, "completesOn"] = step.completes_on
        fields[step.id, "transitions"] = step.transitions
    return [
        Fault(
            rule=Rule.NOT_SUPPORTED,
            step=step,
            path=f"steps.{step}.{field}" if step is not None else field,
            message=f"{field} is not supported by this version of Conveyor",
        )
        for (step, field), value in fields.items()
        if value is not None
    ]


class _Compilation:
    """One pass over a document. `faults` holds what could not be compiled."""

    def __init__(self, document: DefinitionDocument) -> None:
        self.faults = _unsupported(document)
        self.input_schema = self._schema(document.input_schema, "inputSchema")
        self._schema(document.output_schema, "outputSchema")
        self.definition = WorkflowDefinition(
            name=document.name,
            version=document.version,
            type=WorkflowType(document.type),
            title=document.title,
            waveless=document.waveless,
            timeout_seconds=document.timeout_seconds,
            on_failure=OnFailure(document.on_failure),
            on_cancel=OnCancel(document.on_cancel),
            max_retries=document.max_retries,
            steps=execution_order(self._steps(document)),
            output=None
            if document.output is None
            else Template(self._shape(document.output, None, "output")),
            input_faults=self.input_schema.faults,
        )

    def _steps(self, document: DefinitionDocument) -> list[StepDefinition]:
        steps: list[StepDefinition] = []
        written_before: tuple[str, ...] = ()
        for step in document.steps:
            depends_on = written_before if step.depends_on is None else step.depends_on
            steps.append(self._step(step, depends_on, document.retry))
            written_before = (step.id,)
        return steps

    def _step(
        self,
        step: StepDocument,
        depends_on: tuple[str, ...],
        default_retry: RetryDocument | str,
    ) -> StepDefinition:
        place = f"steps.{step.id}"
        return StepDefinition(
            id=step.id,
            service=step.service,
            operation=step.operation,
            name=step.name,
            depends_on=tuple(dict.fromkeys(depends_on)),
            input=self._input(step.input, step.id, f"{place}.input"),
            when=None
            if step.when is None
            else self._expression(step.when, step.id, f"{place}.when"),
            timeout_ms=step.timeout_ms,
            retry=_retry_policy(default_retry if step.retry is None else step.retry),
            compensation=None
            if step.compensation is None
            else self._compensation(step.compensation, step, f"{place}.compensation"),
            kind=StepKind(step.kind),
            config=step.config,
            metadata=step.metadata,
        )

    def _compensation(
        self, action: CompensationDocument, step: StepDocument, place: str
    ) -> CompensationAction:
        verify = None
        if action.verify is not None:
            verify = Verification(
                operation=action.verify.operation,
                input=self._input(action.verify.input, step.id, f"{place}.verify.input"),
            )
        return CompensationAction(
            strategy=CompensationStrategy(action.strategy),
            service_name=step.service if action.service is None else action.service,
            operation=action.operation,
            input=self._input(action.input, step.id, f"{place}.input"),
            verify=verify,
        )

    def _input(self, mapping: str | Mapping[str, Any], step: str, path: str) -> Template:
        if not isinstance(mapping, str):
            return Template(self._shape(mapping, step, path)) if mapping else EMPTY
        expression = self._expression(mapping, step, path)
        return EMPTY if expression is None else Template(ObjectExpression(expression))

    def _shape(self, value: Any, step: str | None, path: str) -> Any:
        if isinstance(value, str):
            return self._expression(value, step, path)
        if isinstance(value, dict):
            fields = cast("dict[str, Any]", value)
            return {
                name: self._shape(inner, step, f"{path}.{name}") for name, inner in fields.items()
            }
        if isinstance(value, list):
            items = cast("list[Any]", value)
            return [
                self._shape(inner, step, f"{path}[{index}]") for index, inner in enumerate(items)
            ]
        return value

    def _expression(self, source: str, step: str | None, path: str) -> Expression | None:
        try:
            return compile_expression(source)
        except InvalidExpression as fault:
            self.faults.append(
                Fault(rule=Rule.EXPRESSION, step=step, path=path, message=str(fault))
            )
            return None

    def _schema(self, schema: Mapping[str, Any] | None, path: str) -> InputSchema:
        try:
            return InputSchema({} if schema is None else schema)
        except InvalidSchema as fault:
            self.faults.append(Fault(rule=Rule.INPUT_SCHEMA, path=path, message=str(fault)))
            return InputSchema({})


def _retry_policy(retry: RetryDocument | str) -> RetryPolicy:
    if isinstance(retry, str):
        return PRESETS[retry]
    return RetryPolicy(
        max_retries=retry.max_retries,
        initial_delay_ms=retry.initial_delay_ms,
        max_delay_ms=retry.max_delay_ms,
        backoff_multiplier=retry.backoff_multiplier,
        exponential_backoff=retry.exponential_backoff,
        jitter=retry.jitter,
    )
