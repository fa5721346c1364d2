"""The proof at registration: what is refused, under which rule, and that what passes is safe."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from application.definitions import InvalidDefinition, compile_definition
from application.ports import Document
from domain.definition.faults import Fault, Rule
from domain.definition.registration import registration_faults
from tests.documents import UNDO, document, pivot, read_only, retriable, step

CLOSED = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "orderId": {"type": "string"},
        "customer": {
            "type": "object",
            "additionalProperties": False,
            "properties": {"name": {"type": "string"}},
        },
        "extra": {
            "type": "object",
            "additionalProperties": False,
            "patternProperties": {"^x-": {}},
        },
        "lines": {"type": "array"},
        "anything": True,
    },
}


def faults_of(bad: Document) -> tuple[Fault, ...]:
    with pytest.raises(InvalidDefinition) as refused:
        compile_definition(bad)
    return refused.value.faults


def undo(**fields: Any) -> Document:
    return {**UNDO, **fields}


def nested(depth: int) -> Any:
    """Objects and lists within each other, around an expression."""
    value: Any = "input.orderId"
    for level in range(depth):
        value = [value] if (depth - level) % 2 == 0 else {"a": value}
    return value


#: What is wrong -> the document, and every fault of the answer as (rule, path).
BAD: dict[str, tuple[Document, set[tuple[str, str]]]] = {
    "no steps": (document(), {("NO_STEPS", "steps")}),
    "duplicate step": (
        document(step("a"), step("a")),
        {("DUPLICATE_STEP", "steps.a.id")},
    ),
    "duplicate step without dependencies": (
        document(step("a", dependsOn=[]), step("a", dependsOn=[])),
        {("DUPLICATE_STEP", "steps.a.id")},
    ),
    "unknown dependency": (
        document(step("a", dependsOn=["b"])),
        {("UNKNOWN_DEPENDENCY", "steps.a.dependsOn")},
    ),
    "depends on itself": (document(step("a", dependsOn=["a"])), {("CYCLE", "steps.a.dependsOn")}),
    "cycle": (
        document(step("a", dependsOn=["c"]), step("b"), step("c")),
        {("CYCLE", "steps.a.dependsOn")},
    ),
    "two cycles": (
        document(
            step("a", dependsOn=["b"]),
            step("b", dependsOn=["a"]),
            step("c", dependsOn=["d"]),
            step("d", dependsOn=["c"]),
        ),
        {("CYCLE", "steps.a.dependsOn"), ("CYCLE", "steps.c.dependsOn")},
    ),
    "cycles with a common step": (
        document(
            step("a", dependsOn=["b", "c"]), step("b", dependsOn=["a"]), step("c", dependsOn=["a"])
        ),
        {("CYCLE", "steps.a.dependsOn")},
    ),
    "a cycle inside another": (
        document(
            step("a", dependsOn=["b"]), step("b", dependsOn=["c"]), step("c", dependsOn=["a", "b"])
        ),
        {("CYCLE", "steps.a.dependsOn")},
    ),
    "a cycle through the pivot is not blamed on its kinds": (
        document(
            step("a", dependsOn=["c"]), pivot("b", dependsOn=["a"]), retriable("c", dependsOn=["b"])
        ),
        {("CYCLE", "steps.a.dependsOn")},
    ),
    "a cycle does not excuse reading oneself": (
        document(step("a", dependsOn=["a"], input="steps.a.output")),
        {("CYCLE", "steps.a.dependsOn"), ("NOT_A_DEPENDENCY", "steps.a.input")},
    ),
    "no compensation": (
        document(step("a", compensation=None)),
        {("COMPENSATION_MISSING", "steps.a.compensation")},
    ),
    "compensation on read-only": (
        document(step("a", kind="read-only")),
        {("COMPENSATION_ON_READ_ONLY", "steps.a.compensation")},
    ),
    "compensation on pivot": (
        document(step("a", kind="pivot")),
        {("COMPENSATION_ON_PIVOT", "steps.a.compensation")},
    ),
    "two pivots on a path": (
        document(pivot("a"), pivot("b")),
        {("SEVERAL_PIVOTS", "steps.b.kind")},
    ),
    "two parallel pivots": (
        document(pivot("a"), pivot("b", dependsOn=[])),
        {("SEVERAL_PIVOTS", "steps.b.kind")},
    ),
    "compensatable right after a pivot": (
        document(pivot("a"), step("b")),
        {("NOT_RETRIABLE_AFTER_PIVOT", "steps.b.kind")},
    ),
    "compensatable far behind a pivot": (
        document(pivot("a"), read_only("b"), retriable("c"), step("d")),
        {("NOT_RETRIABLE_AFTER_PIVOT", "steps.d.kind")},
    ),
    "compensatable beside a pivot": (
        document(step("a"), pivot("b"), step("c", dependsOn=["a"])),
        {("PARALLEL_TO_PIVOT", "steps.c.dependsOn")},
    ),
    "retriable without undo and no pivot": (
        document(retriable("a")),
        {("RETRIABLE_WITHOUT_UNDO", "steps.a.kind")},
    ),
    "retriable without undo before a pivot": (
        document(retriable("a"), pivot("b")),
        {("RETRIABLE_WITHOUT_UNDO", "steps.a.kind")},
    ),
    "retriable without undo beside a pivot": (
        document(pivot("a"), retriable("b", dependsOn=[])),
        {("RETRIABLE_WITHOUT_UNDO", "steps.b.kind")},
    ),
    "a pivot that may be skipped protects nothing": (
        document(pivot("a", when="input.ship"), retriable("b")),
        {("CONDITIONAL_PIVOT", "steps.a.when")},
    ),
    "input reads a step that is not there": (
        document(step("a", input={"x": "steps.z.output.x"})),
        {("UNKNOWN_REFERENCE", "steps.a.input.x")},
    ),
    "input reads a parallel step": (
        document(step("a"), step("b", dependsOn=[], input={"x": "steps.a.output.x"})),
        {("NOT_A_DEPENDENCY", "steps.b.input.x")},
    ),
    "input reads a later step": (
        document(step("a", input={"x": [{"y": "steps.b.output"}]}), step("b")),
        {("NOT_A_DEPENDENCY", "steps.a.input.x[0].y")},
    ),
    "input reads its own output": (
        document(step("a", input="steps.a.output")),
        {("NOT_A_DEPENDENCY", "steps.a.input")},
    ),
    "input reads all steps": (
        document(step("a"), step("b", input={"x": "steps.*.output"})),
        {("NOT_A_DEPENDENCY", "steps.b.input.x")},
    ),
    "input reads the whole document": (
        document(step("a", input={"x": "@"})),
        {("NOT_A_DEPENDENCY", "steps.a.input.x")},
    ),
    "condition reads a parallel step": (
        document(step("a"), step("b", dependsOn=[], when="length(steps.a.output.lines) > `1`")),
        {("NOT_A_DEPENDENCY", "steps.b.when")},
    ),
    "compensation reads a later step": (
        document(step("a", compensation=undo(input={"x": "steps.b.output.x"})), step("b")),
        {("NOT_A_DEPENDENCY", "steps.a.compensation.input.x")},
    ),
    "verification reads a later step": (
        document(
            step(
                "a",
                compensation=undo(verify={"operation": "look", "input": "steps.b.output"}),
            ),
            step("b"),
        ),
        {("NOT_A_DEPENDENCY", "steps.a.compensation.verify.input")},
    ),
    "a step has no such field": (
        document(step("a"), step("b", input={"x": "steps.a.result.x"})),
        {("UNKNOWN_REFERENCE", "steps.b.input.x")},
    ),
    "no such root": (
        document(step("a", input={"x": "order.id || inputs.id"})),
        {("UNKNOWN_REFERENCE", "steps.a.input.x")},
    ),
    "output reads a step that is not there": (
        document(step("a"), output={"x": "steps.b.output"}),
        {("UNKNOWN_REFERENCE", "output.x")},
    ),
    "input field that a closed schema excludes": (
        document(step("a", input={"x": "input.orderID"}), inputSchema=CLOSED),
        {("UNKNOWN_INPUT", "steps.a.input.x")},
    ),
    "nested input field that a closed schema excludes": (
        document(step("a", when="input.customer.nmae == 'x'"), inputSchema=CLOSED),
        {("UNKNOWN_INPUT", "steps.a.when")},
    ),
    "definition name": (document(step("a"), name="Order 1"), {("NAME", "name")}),
    "definition name like an id": (document(step("a"), name="order-v2"), {("NAME", "name")}),
    "definition name too long": (document(step("a"), name="x" * 256), {("NAME", "name")}),
    "type": (document(step("a"), type=""), {("NAME", "type")}),
    "step id": (document(step("a/b")), {("NAME", "steps.a/b.id")}),
    "service": (
        document(step("a", service="A Service")),
        {("NAME", "steps.a.service"), ("NAME", "steps.a.compensation.service")},
    ),
    "service too long for a topic": (
        document(step("a", service="x" * 201, compensation=undo(service="s"))),
        {("NAME", "steps.a.service")},
    ),
    "operation": (document(step("a", operation="do it")), {("NAME", "steps.a.operation")}),
    "operations of the undo": (
        document(step("a", compensation={"operation": "un do", "verify": {"operation": "look\n"}})),
        {
            ("NAME", "steps.a.compensation.operation"),
            ("NAME", "steps.a.compensation.verify.operation"),
        },
    ),
    "version": (document(step("a"), version=0), {("LIMIT", "version")}),
    "nested templates": (
        document(
            step(
                "a",
                input=nested(33),
                compensation=undo(
                    input=nested(33), verify={"operation": "look", "input": nested(33)}
                ),
            ),
            output=nested(33),
        ),
        {
            ("LIMIT", "output"),
            ("LIMIT", "steps.a.input"),
            ("LIMIT", "steps.a.compensation.input"),
            ("LIMIT", "steps.a.compensation.verify.input"),
        },
    ),
    "workflow time-out": (
        document(step("a"), timeoutSeconds=-1),
        {("LIMIT", "timeoutSeconds")},
    ),
    "workflow retries": (document(step("a"), maxRetries=-1), {("LIMIT", "maxRetries")}),
    "step time-out": (document(step("a", timeoutMs=0)), {("LIMIT", "steps.a.timeoutMs")}),
    "retry numbers": (
        document(
            step(
                "a",
                retry={
                    "maxRetries": -1,
                    "initialDelayMs": 0,
                    "maxDelayMs": 0,
                    "backoffMultiplier": 0.5,
                    "jitter": 1.5,
                },
            )
        ),
        {
            ("LIMIT", f"steps.a.retry.{field}")
            for field in (
                "maxRetries",
                "initialDelayMs",
                "maxDelayMs",
                "backoffMultiplier",
                "jitter",
            )
        },
    ),
    "the definition's retry counts for every step without its own": (
        document(step("a"), step("b", retry="aggressive"), retry={"jitter": -0.1}),
        {("LIMIT", "steps.a.retry.jitter")},
    ),
    "everything at once": (
        document(
            step("a", dependsOn=["z"], compensation=None, input={"x": "steps.b.output"}),
            pivot("b", timeoutMs=-5),
            step("c", when="nowhere"),
            retriable("d", dependsOn=["a"]),
            name="UPPER",
        ),
        {
            ("NAME", "name"),
            ("LIMIT", "steps.b.timeoutMs"),
            ("UNKNOWN_DEPENDENCY", "steps.a.dependsOn"),
            ("COMPENSATION_MISSING", "steps.a.compensation"),
            ("NOT_RETRIABLE_AFTER_PIVOT", "steps.c.kind"),
            ("RETRIABLE_WITHOUT_UNDO", "steps.d.kind"),
            ("NOT_A_DEPENDENCY", "steps.a.input.x"),
            ("UNKNOWN_REFERENCE", "steps.c.when"),
        },
    ),
}


@pytest.mark.parametrize(("bad", "expected"), BAD.values(), ids=BAD.keys())
def test_a_bad_definition_is_refused_with_every_fault(
    bad: Document, expected: set[tuple[str, str]]
) -> None:
    """Each fault comes with its rule, its place and its step, and none is missing or made up."""
    faults = faults_of(bad)

    assert {(fault.rule, fault.path) for fault in faults} == expected
    for fault in faults:
        named = fault.path.removeprefix("steps.").rpartition(".")[0]
        assert (fault.step is not None) == fault.path.startswith("steps.")
        assert fault.step is None or named.startswith(fault.step)
        assert len(fault.message) > 10


GOOD: dict[str, Document] = {
    "chain": document(step("a"), step("b", input={"x": "steps.a.output.x"})),
    "read-only before, beside and after a pivot": document(
        read_only("a"), pivot("b"), read_only("c", dependsOn=[]), read_only("d", dependsOn=["b"])
    ),
    "retriable with an undo before a pivot": document(
        retriable("a", compensation=UNDO), pivot("b")
    ),
    "retriable with an undo beside a pivot": document(
        pivot("a"), retriable("b", dependsOn=[], compensation=UNDO)
    ),
    "conditional pivot with nothing that needs it": document(
        step("a"), pivot("b", when="input.ship"), read_only("c"), retriable("d", compensation=UNDO)
    ),
    "transitive dependency": document(
        step("a"), step("b"), step("c", when="steps.a.output.x", input="steps.a.output")
    ),
    "undo reads its own step and one before it": document(
        step("a"),
        step("b", compensation=undo(input={"a": "steps.a.output", "b": "steps.b.output.id"})),
    ),
    "output reads everything": document(
        step("a"), step("b"), output={"all": "steps.*.output", "last": "steps.b.status"}
    ),
    "what a closed schema lists": document(
        step(
            "a",
            input={
                "name": "input.customer.name",
                "free": 'input.extra."x-1"',
                "first": "input.lines[0].sku",
                "any": "input.anything.below",
                "who": "context.userId",
                "go": "signals.go.payload",
            },
        ),
        inputSchema=CLOSED,
    ),
    "no time-out": document(step("a"), timeoutSeconds=0),
}


@pytest.mark.parametrize("good", GOOD.values(), ids=GOOD.keys())
def test_a_good_definition_is_accepted(good: Document) -> None:
    """What can neither strand nor read into the void is not refused."""
    assert registration_faults(compile_definition(good)) == ()


def test_the_cycle_is_named() -> None:
    """The author sees the way round."""
    (fault,) = faults_of(document(step("a"), step("b", dependsOn=["d"]), step("c"), step("d")))

    assert "b -> d -> c -> b" in fault.message
    assert str(fault).startswith("CYCLE steps.b.dependsOn: ")


def test_steps_come_out_in_execution_order() -> None:
    """Dependencies come first, and otherwise the order is the one that was written."""
    written = document(
        step("ship", dependsOn=["pack", "charge"]),
        step("pack", dependsOn=["pick"]),
        step("charge", dependsOn=[]),
        step("pick", dependsOn=[]),
    )

    assert [s.id for s in compile_definition(written).steps] == ["charge", "pick", "pack", "ship"]


def test_steps_out_of_order_are_found() -> None:
    """A definition that was not compiled from a document is held to the order as well."""
    compiled = compile_definition(document(step("a"), step("b")))

    (fault,) = registration_faults(replace(compiled, steps=compiled.steps[::-1]))

    assert (fault.rule, fault.step) == (Rule.STEP_ORDER, "b")
