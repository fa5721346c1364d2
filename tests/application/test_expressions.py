"""JMESPath expressions: the fast path, what they refer to, what they refuse."""

from __future__ import annotations

from typing import Any

import jmespath
import pytest
from hypothesis import given
from hypothesis import strategies as st

from application.definitions.expressions import (
    FieldPath,
    InvalidExpression,
    JmesPath,
    ObjectExpression,
    compile_expression,
)
from domain.definition.expression import ExpressionError

NAMES = ("input", "steps", "a", "reserve-inventory", "output", "x y", 'quote"d', "é")
names: st.SearchStrategy[str] = st.sampled_from(NAMES)
scalars = st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4),
    max_leaves=12,
)
documents: st.SearchStrategy[dict[str, Any]] = st.dictionaries(names, values, max_size=5)


def quoted(name: str) -> str:
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def on_the_way(document: Any, draw: st.DrawFn) -> list[str]:
    """Names that lead into the document, for a while."""
    path: list[str] = []
    while isinstance(document, dict) and document:
        path.append(draw(st.sampled_from(sorted(document))))
        document = document[path[-1]]
    return path


@st.composite
def documents_and_paths(draw: st.DrawFn) -> tuple[dict[str, Any], tuple[str, ...]]:
    document = draw(documents)
    path = on_the_way(document, draw) + draw(st.lists(names, max_size=2))
    return document, tuple(path or ["input"])


@given(documents_and_paths())
def test_a_field_path_gives_what_jmespath_gives(
    given_: tuple[dict[str, Any], tuple[str, ...]],
) -> None:
    """The walk and the interpreter agree on every chain of fields and every document."""
    document, path = given_
    source = ".".join(quoted(name) for name in path)

    compiled = compile_expression(source)

    assert isinstance(compiled, FieldPath)
    assert compiled.references == {path}
    assert compiled.evaluate(document) == jmespath.search(source, document)


EXPRESSIONS = (
    "input.a[0].output",
    "input.a[*].output",
    "steps.*.output",
    "input.a[?output > `1`].a",
    "{x: input.a, y: [steps.a, input]}",
    "not_null(input.a, steps.a, 'none')",
    "input.a || steps.a.output && !input",
    "input | a",
    "(input.a == steps.a) | [@]",
    "input.a[].output | [0]",
    "input.a[-2:]",
    "type(@)",
)


@given(documents, st.sampled_from(EXPRESSIONS))
def test_other_expressions_are_jmespath(document: dict[str, Any], source: str) -> None:
    """What is no chain of fields is left to jmespath."""
    compiled = compile_expression(source)

    assert isinstance(compiled, JmesPath) or source == "input | a"
    assert compiled.evaluate(document) == jmespath.search(source, document)


@pytest.mark.parametrize(
    ("source", "references"),
    [
        ("input.order.id", {("input", "order", "id")}),
        ('steps."reserve-inventory".output', {("steps", "reserve-inventory", "output")}),
        ("'text'", set()),
        ('`{"a": 1}`', set()),
        ("input.lines[0].sku", {("input", "lines")}),
        ("input.lines[*].sku", {("input", "lines")}),
        ("input.lines[1:].sku", {("input", "lines")}),
        ("input.lines[].sku", {("input", "lines")}),
        ("input.lines[?sku == 'a'].{s: sku, q: quantity}", {("input", "lines")}),
        ("steps.*.output", {("steps",)}),
        ("@", {()}),
        ("keys(@)", {()}),
        ("*", {()}),
        (
            "steps.a.output.{x: x, y: y.z}",
            {("steps", "a", "output", "x"), ("steps", "a", "output", "y", "z")},
        ),
        ("steps.a.output.[x, y]", {("steps", "a", "output", "x"), ("steps", "a", "output", "y")}),
        ("steps.a.output | x", {("steps", "a", "output", "x")}),
        ("steps.a.output.lines.length(@)", {("steps", "a", "output", "lines")}),
        ("sort_by(input.lines, &sku)[0]", {("input", "lines")}),
        ("input.a || steps.b.output", {("input", "a"), ("steps", "b", "output")}),
        ("!(input.a) && input.b == `1`", {("input", "a"), ("input", "b")}),
        ("[input.a, [input.b]] | [0].c", {("input", "a"), ("input", "b")}),
    ],
)
def test_references(source: str, references: set[tuple[str, ...]]) -> None:
    """Every fixed path is known, up to where an index, a projection or a function takes over."""
    assert compile_expression(source).references == references


@given(documents, st.sampled_from(EXPRESSIONS))
def test_nothing_but_the_references_is_read(document: dict[str, Any], source: str) -> None:
    """A document cut down to the referenced paths gives the same value."""
    compiled = compile_expression(source)
    if () in compiled.references:
        return

    cut = cut_down(document, compiled.references)

    assert compiled.evaluate(cut) == compiled.evaluate(document)


def cut_down(document: dict[str, Any], paths: frozenset[tuple[str, ...]]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for name, value in document.items():
        below = frozenset(path[1:] for path in paths if path and path[0] == name)
        if not below:
            continue
        whole = () in below or not isinstance(value, dict)
        kept[name] = value if whole else cut_down(value, below)
    return kept


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("", "not a JMESPath"),
        ("input.", "not a JMESPath"),
        ("a-b", "not a JMESPath"),
        ("input.lines[", "not a JMESPath"),
        ("uppercase(input.a)", "no function uppercase"),
        ("input.a[?nope(@)]", "no function nope"),
        ("length()", "length() takes 1"),
        ("length(input.a, input.b)", "length() takes 1"),
        ("merge()", "merge() takes 1"),
        ("!input.a", "write !(a.b)"),
        ("!input[?a].b || input.c", "write !(a.b)"),
        ("!input.*", "write !(a.b)"),
        ("!input[]", "write !(a.b)"),
        ("input.a[?!b.c]", "write !(a.b)"),
        ("(" * 3000 + "a" + ")" * 3000, "not a JMESPath"),
    ],
)
def test_invalid_expressions(source: str, reason: str) -> None:
    """A mistake is found when the definition is registered, unknown functions included."""
    with pytest.raises(InvalidExpression) as refused:
        compile_expression(source)

    assert reason in str(refused.value)


@pytest.mark.parametrize(
    "source", ["length(input.n)", "sum(input.lines)", "sort_by(input.lines, &sku)", "abs(input.s)"]
)
def test_an_expression_that_fails_says_which_and_why(source: str) -> None:
    """A value that a function refuses is an ExpressionError, never a bug of the engine."""
    document = {"input": {"n": 1, "s": "x", "lines": [{"sku": 1}, {"sku": "a"}]}}

    with pytest.raises(ExpressionError) as failed:
        compile_expression(source).evaluate(document)

    assert repr(source) in str(failed.value)


@pytest.mark.parametrize(("value", "kind"), [(None, "null"), ("x", "str"), ([1], "list")])
def test_a_whole_input_must_be_an_object(value: Any, kind: str) -> None:
    """A participant takes an object, so another value fails the step instead of reaching it."""
    whole = ObjectExpression(compile_expression("input.order"))

    assert whole.evaluate({"input": {"order": {"id": 1}}}) == {"id": 1}
    assert (whole.source, whole.references) == ("input.order", {("input", "order")})
    with pytest.raises(ExpressionError, match=f"gives {kind}"):
        whole.evaluate({"input": {"order": value}})
