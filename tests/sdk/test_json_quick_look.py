"""The quick look at a JSON text overlooks nothing that a careful reading finds."""

from __future__ import annotations

import json
from typing import Any

import pytest
from conveyor import json_text
from conveyor.json_text import read_loosely, unstorable_in, unstorable_values
from hypothesis import given
from hypothesis import strategies as st

_NUMBERS = st.one_of(
    st.integers(-(10**25), 10**25),
    st.floats(),
    st.sampled_from([2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 1e308, 0.1]),
)
_TEXTS = st.one_of(st.text(max_size=8), st.uuids().map(str), st.sampled_from(["1e400", ": 1e400"]))
_VALUES = st.recursive(
    st.one_of(_NUMBERS, _TEXTS, st.booleans(), st.none()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXTS, inner, max_size=4),
    max_leaves=12,
)


@given(value=_VALUES, indent=st.sampled_from([None, 1]))
def test_a_text_has_the_verdict_of_its_values(value: Any, indent: int | None) -> None:
    """Whatever the layout, and however its numbers are written."""
    data = json.dumps(value, indent=indent).encode()

    assert unstorable_in(data) == tuple(unstorable_values(read_loosely(data)))


@pytest.mark.parametrize(
    "text",
    ["1E+400", "-1e400", "[1e400]", '{"a":1e0400}', '{"a":\t12345678901234567890}', "[0,1.5e999]"],
)
def test_a_number_out_of_range_is_seen_wherever_it_stands(text: str) -> None:
    """Every form of JSON's numbers."""
    assert unstorable_in(text.encode())


def test_an_id_with_digits_is_not_read_with_care(monkeypatch: pytest.MonkeyPatch) -> None:
    """UUIDs look like numbers with exponents to a look that ignores where they stand."""
    monkeypatch.setattr(json_text, "read_loosely", None)

    assert (
        unstorable_in(b'{"id":"0f1e4567-e89b-12d3-a456-426614174000","n":"1234567890123456789"}')
        == ()
    )
