"""Definition documents: their form, and what they compile to."""

from __future__ import annotations

from datetime import date

import pytest
from conveyor.definition import read_definition

from application.definitions import InvalidDefinition, compile_definition, services_of
from application.ports import Document
from domain.definition.compensation import CompensationStrategy
from domain.definition.definition import OnCancel, OnFailure, StepKind, WorkflowType
from domain.definition.retry import RetryPolicy
from tests.documents import UNDO, document, pivot, step


def refusal(bad: Document) -> set[tuple[str, str, str]]:
    with pytest.raises(InvalidDefinition) as refused:
        compile_definition(bad)
    return {(fault.rule, fault.path, fault.message) for fault in refused.value.faults}


def test_defaults() -> None:
    """What is left out has the documented value."""
    definition = compile_definition(document(step("a")))
    (only,) = definition.steps

    assert (definition.id, definition.type, definition.title) == ("order-v1", "ORDER", "")
    assert isinstance(definition.type, WorkflowType)
    assert (definition.timeout_seconds, definition.max_retries) == (300, 3)
    assert (definition.on_failure, definition.on_cancel) == (OnFailure.COMPENSATE, OnCancel.LEAVE)
    assert (definition.waveless, definition.output) == (False, None)
    assert (only.kind, only.timeout_ms, only.retry) == (
        StepKind.COMPENSATABLE,
        5000,
        RetryPolicy(),
    )
    assert (only.name, only.when, only.config, only.metadata) == ("", None, {}, {})
    assert only.compensation is not None
    assert only.compensation.strategy is CompensationStrategy.REVERSE_OPERATION
    assert only.compensation.service_name == only.service
    assert only.input.render({}) == {}


def test_everything_is_carried_over() -> None:
    """No field of the document is lost on the way to the domain."""
    definition = compile_definition(
        document(
            pivot(
                "a",
                name="Step A",
                when="input.wanted",
                timeoutMs=7,
                retry={
                    "maxRetries": 5,
                    "initialDelayMs": 2000,
                    "maxDelayMs": 30000,
                    "backoffMultiplier": 3,
                },
                config={"k": "v"},
                metadata={"m": 1},
            ),
            title="An order",
            timeoutSeconds=0,
            maxRetries=9,
            waveless=True,
            onFailure="hold",
            onCancel="compensate",
            output="input.result",
        )
    )
    (only,) = definition.steps

    assert (definition.title, definition.timeout_seconds) == ("An order", 0)
    assert (definition.max_retries, definition.waveless) == (9, True)
    assert (definition.on_failure, definition.on_cancel) == (OnFailure.HOLD, OnCancel.COMPENSATE)
    assert definition.output is not None
    assert definition.output.render({"input": {"result": [1]}}) == [1]
    assert (only.name, only.timeout_ms, only.kind) == ("Step A", 7, StepKind.PIVOT)
    assert only.when is not None
    assert only.when.evaluate({"input": {"wanted": True}}) is True
    assert [only.retry.calculate_delay(n) for n in (2, 3)] == [18000, 30000]
    assert (only.config, only.metadata) == ({"k": "v"}, {"m": 1})


def test_undo_and_its_verification() -> None:
    """A compensation may belong to another service and be checked before the next one begins."""
    action = {
        "strategy": "CUSTOM",
        "service": "other",
        "operation": "fix",
        "input": {"x": "steps.a.output.x"},
        "verify": {"operation": "look", "input": "steps.a.output"},
    }
    definition = compile_definition(document(step("a", compensation=action)))

    undo = definition.compensation_of("a")

    seen = {"steps": {"a": {"output": {"x": 1}}}}
    assert undo is not None
    assert undo.verify is not None
    assert (undo.strategy, undo.service_name, undo.operation) == ("CUSTOM", "other", "fix")
    assert undo.input.render(seen) == {"x": 1}
    assert (undo.verify.operation, undo.verify.input.render(seen)) == ("look", {"x": 1})
    assert services_of(definition) == {"a-service", "other"}


def test_retry_presets() -> None:
    """A preset is named; a step's own choice replaces the definition's as a whole."""
    definition = compile_definition(
        document(
            step("a"),
            step("b", retry="conservative"),
            step("c", retry={"maxRetries": 1}),
            retry="aggressive",
        )
    )

    assert [s.retry for s in definition.steps] == [
        RetryPolicy.aggressive_policy(),
        RetryPolicy.conservative_policy(),
        RetryPolicy(max_retries=1),
    ]


def test_default_dependencies() -> None:
    """Without `dependsOn` a step follows the one written before it; with an empty one nothing."""
    definition = compile_definition(
        document(
            step("a"), step("b"), step("c", dependsOn=[]), step("d", dependsOn=["a", "a", "c"])
        )
    )

    depends_on = {s.id: s.depends_on for s in definition.steps}
    assert depends_on == {"a": (), "b": ("a",), "c": (), "d": ("a", "c")}


def test_input_mapping() -> None:
    """Strings are expressions at any depth, other values stand for themselves."""
    mapping = {
        "id": "input.id",
        "fixed": "'text'",
        "nested": {"list": ["input.lines[0].sku", 1, True, None], "empty": {}},
    }
    definition = compile_definition(document(step("a", input=mapping)))

    rendered = definition.step("a").input.render({"input": {"id": 7, "lines": [{"sku": "x"}]}})

    assert rendered == {
        "id": 7,
        "fixed": "text",
        "nested": {"list": ["x", 1, True, None], "empty": {}},
    }


@pytest.mark.parametrize(
    ("bad", "path", "message"),
    [
        (document(step("a"), versoin=2), "versoin", "is not a field of a definition"),
        (document(step("a", dependson=[])), "steps[0].dependson", "is not a field"),
        (document(step("a", service=None)), "steps[0].service", "is required"),
        (document(step("a", operation="")), "steps[0].operation", "must not be empty"),
        (document(step("a"), version="1"), "version", "valid integer"),
        (document(step("a"), waveless="no"), "waveless", "valid boolean"),
        (document(step("a"), onFailure="explode"), "onFailure", "'compensate' or 'hold'"),
        (document(step("a", kind="optional")), "steps[0].kind", "'compensatable'"),
        (document(step("a"), step("b", retry="eager")), "steps[1].retry", "'aggressive'"),
        (document(step("a", retry={"tries": 1})), "steps[0].retry.tries", "is not a field"),
        (document(step("a", input=5)), "steps[0].input", "should be an object"),
        (document(step("a", compensation={})), "steps[0].compensation.operation", "is required"),
        (document(step("a", config={"on": date(2026, 1, 1)})), "steps[0].config.on", "in quotes"),
        (document(step("a", config={1: 2})), "steps[0].config", "in quotes"),
    ],
)
def test_a_wrong_form_is_refused_with_its_place(bad: Document, path: str, message: str) -> None:
    """A typing mistake is named by path; nothing is ignored or converted."""
    ((rule, found_path, found_message),) = refusal(bad)

    assert (rule, found_path) == ("SCHEMA", path)
    assert message in found_message


def test_faults_of_form_come_together() -> None:
    """All of them are in one answer."""
    bad = {"name": 5, "steps": [{"id": "a", "timeoutMs": "soon"}]}

    assert {path for _, path, _ in refusal(bad)} == {
        "name",
        "version",
        "type",
        "steps[0].service",
        "steps[0].operation",
        "steps[0].timeoutMs",
    }


@pytest.mark.parametrize("field", ["lockKey", "lockPolicy", "initial"])
def test_fields_of_later_versions_are_refused(field: str) -> None:
    """What this version does not do is not accepted silently."""
    message = f"{field} is not supported by this version of Conveyor"

    assert refusal(document(step("a"), **{field: "x"})) == {("NOT_SUPPORTED", field, message)}


@pytest.mark.parametrize("field", ["forEach", "waitFor", "completesOn", "transitions"])
def test_step_fields_of_later_versions_are_refused(field: str) -> None:
    """The refusal stands beside the other faults."""
    message = f"{field} is not supported by this version of Conveyor"

    found = refusal(document(step("a", compensation=None, **{field: "x"})))

    assert ("NOT_SUPPORTED", f"steps.a.{field}", message) in found
    assert {rule for rule, _, _ in found} == {"NOT_SUPPORTED", "COMPENSATION_MISSING"}


def test_a_state_machine_is_refused_as_such() -> None:
    """It is told that transitions are not supported, not that steps are missing."""
    machine = {"name": "m", "version": 1, "type": "T", "initial": "A", "transitions": [{}]}

    assert {(rule, path) for rule, path, _ in refusal(machine)} == {
        ("NOT_SUPPORTED", "initial"),
        ("NOT_SUPPORTED", "transitions"),
    }


def test_expressions_and_schemas_that_do_not_compile() -> None:
    """They are named by place, together with what the safety proof finds."""
    bad = document(
        step("a", input={"x": ["input.", "input.ok"]}, when="nope(input)", compensation=None),
        step("b", input="length()"),
        output={"y": "=="},
        inputSchema={"type": "thing"},
        outputSchema={"$ref": "http://127.0.0.1:9/schema.json"},
    )

    assert {(rule, path) for rule, path, _ in refusal(bad)} == {
        ("EXPRESSION", "steps.a.input.x[0]"),
        ("EXPRESSION", "steps.a.when"),
        ("EXPRESSION", "steps.b.input"),
        ("EXPRESSION", "output.y"),
        ("INPUT_SCHEMA", "inputSchema"),
        ("INPUT_SCHEMA", "outputSchema"),
        ("COMPENSATION_MISSING", "steps.a.compensation"),
    }


def test_content_hash_tells_contents_apart() -> None:
    """Any change of meaning changes the hash, the order of steps included."""
    base = document(step("a"), step("b"))
    others = (
        document(step("b"), step("a")),
        document(step("a"), step("b", compensation={**UNDO, "strategy": "CUSTOM"})),
        document(step("a"), step("b"), inputSchema={}),
    )

    hashes = {read_definition(each).content_hash for each in (base, *others)}

    assert len(hashes) == 4
