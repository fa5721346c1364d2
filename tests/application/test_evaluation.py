"""Expressions stay within bounds: what cannot be evaluated is an ExpressionError, at once."""

from __future__ import annotations

import time
from typing import Any

import pytest

from application.definitions import evaluation
from application.definitions.evaluation import DEPTH_MAX
from application.definitions.expressions import InvalidExpression, compile_expression
from domain.definition.expression import ExpressionError
from tests.scripts import check_in_time

DOCUMENT: dict[str, Any] = {
    "input": {"lines": [{"sku": f"SKU-{number}", "quantity": 1} for number in range(200)]},
    "steps": {},
}
CPU_SECONDS_MAX = 5.0


@pytest.fixture(autouse=True)
def few_values(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is refused at the real bound is refused at this one sooner."""
    monkeypatch.setattr(evaluation, "EVALUATION_MAX", 20_000)


def piped(expression: str, times: int) -> str:
    """The expression, on what it gives, on what that gives, ..."""
    return " | ".join([expression] * times)


@pytest.mark.parametrize(
    "source",
    [
        piped("[@, @][]", 40),
        piped("[@, @]", 60),
        piped("{a: @, b: @}", 60),
        piped("join('', [to_string(@), to_string(@)])", 60),
        f"to_string({piped('[@, @]', 60)})",
        f"{piped('[@, @]', 60)} | @ == [@]",
        f"contains([`1`], {piped('[@, @]', 60)})",
        f"abs({piped('[@, @]', 60)})",
        f"sort_by([{piped('[@, @]', 60)}], &@)",
        f"{piped('[@, @][]', 17)} | map(&sort(keys(@)), @)",
        f"{piped('[@, @][]', 12)} | [*].[@, @][] | [*].[@, @, @, @, @, @, @][].[@, @, @, @, @, @][]",
        f"[@] | {piped('[@[], @[], @[], @[]]', 30)}",
        f"[@] | {piped('[@[::], @[::]][]', 40)}",
    ],
)
def test_what_would_never_end_is_refused(source: str) -> None:
    """A few characters that ask for more than any memory holds fail soon, with a message of a few lines."""
    compiled = compile_expression(source)
    began = time.process_time()

    with pytest.raises(ExpressionError) as refused:
        compiled.evaluate(DOCUMENT)

    assert time.process_time() - began < CPU_SECONDS_MAX
    assert len(str(refused.value)) < 2 * len(source) + 500


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("&input", "& belongs into"),
        ("[&input]", "& belongs into"),
        ("not_null(&input)", "& belongs into"),
        ("to_string(&input)", "& belongs into"),
        ("to_number('inf')", "number inf"),
        ("to_number('nan')", "number nan"),
        ("`1e999`", "number inf"),
        ("`123456789012345678901234567890`", "64 bits"),
        ("sum([`18446744073709551615`, `1`])", "64 bits"),
        ("to_number('9223372036854775808')", "64 bits"),
        ("abs(`-9223372036854775808`)", "64 bits"),
        ("`-9223372036854775809`", "64 bits"),
        ('`"\\ud800"`', "utf-8"),
        ('{"\\ud800": input}', "utf-8"),
        (piped("[@]", DEPTH_MAX + 2), "deep"),
        ("`" + "[" * 200 + "]" * 200 + "`", "deep"),
    ],
)
def test_what_is_no_json_is_refused(source: str, reason: str) -> None:
    """No input of a step has a value that could not be stored as it is."""
    with pytest.raises(ExpressionError, match=reason):
        compile_expression(source).evaluate(DOCUMENT)


@pytest.mark.parametrize("source", [f"input[{'9' * 5000}]", f"input[:{'9' * 5000}]"])
def test_an_index_beyond_every_list_is_no_expression(source: str) -> None:
    """Digits that Python refuses to read as a number are a fault of the definition."""
    with pytest.raises(InvalidExpression, match="not a JMESPath"):
        compile_expression(source)


@pytest.mark.parametrize(
    ("source", "length"),
    [
        ("input.lines[*].{s: sku, q: quantity}", 200),
        ("sort_by(input.lines, &sku)[?quantity == `1`].sku", 200),
        ("map(&to_string(@), input.lines)", 200),
        ("input.lines[].[sku, quantity][]", 400),
        ("join(',', input.lines[*].sku)", 1489),
        ("input.lines[?contains(sku, '1')].sku", 119),
    ],
)
def test_what_orders_need_is_far_within_the_bounds(source: str, length: int) -> None:
    """An order of two hundred lines is mapped within a small part of the real bound."""
    value = compile_expression(source).evaluate(DOCUMENT)

    assert len(value) == length


#: In a process of its own: what hangs in the interpreter's own code no time-out of a test ends.
_LONG_INTEGER = """
from application.definitions.expressions import compile_expression

class Long(int):
    '''As a store's driver may return a 64 bit integer.'''

document = {"input": {"at": Long(2**40)}, "steps": {}, "context": {}}
assert compile_expression("input.at > `1`").evaluate(document) is True
"""


def test_integers_may_be_of_a_derived_type() -> None:
    """An integer as the document store's driver returns it is evaluated within the time of any other."""
    check_in_time(_LONG_INTEGER)
