"""Workflow ids, derived ids and idempotency keys."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.aggregate.ids import RESERVED_IDS, StepKey, derived_id, id_fault

PART = st.text(st.characters(exclude_characters="/", exclude_categories=["Cs"]), min_size=1)


@given(
    key=st.builds(
        StepKey,
        workflow_id=PART,
        step_id=PART,
        round=st.integers(1, 10**9),
        item=st.none() | PART,
        purpose=st.sampled_from([None, "undo", "verify"]),
    )
)
def test_an_idempotency_key_round_trips(key: StepKey) -> None:
    """Parsing a key gives its parts back, whatever their characters."""
    assert StepKey.parse(str(key)) == key


@pytest.mark.parametrize(
    ("key", "text"),
    [
        (StepKey("wf-1", "pick", 1), "wf-1/pick/1"),
        (StepKey("wf-1", "pick", 2, item="sku-7"), "wf-1/pick/sku-7/2"),
        (StepKey("wf-1", "pick", 1, purpose="undo"), "wf-1/pick/1/undo"),
        (StepKey("wf-1", "pick", 1, purpose="verify"), "wf-1/pick/1/verify"),
    ],
)
def test_the_form_of_an_idempotency_key(key: StepKey, text: str) -> None:
    """A key is workflow, step, item if any, round and, of an undo, its purpose."""
    assert str(key) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "undo",
        "wf-1",
        "wf-1/pick",
        "wf-1//1",
        "wf-1/pick/0",
        "wf-1/pick/x",
        "wf-1/pick/²",
        "a/b/c/1/2",
    ],
)
def test_a_malformed_idempotency_key_is_refused(text: str) -> None:
    """What is no key is refused and named."""
    with pytest.raises(ValueError, match="is not a step's key"):
        StepKey.parse(text)


@pytest.mark.parametrize("workflow_id", ["wf-001", "a", "ORD-1:2_3.4", "9" * 36, str(uuid.uuid4())])
def test_a_workflow_id(workflow_id: str) -> None:
    """Up to 36 letters, digits and . _ : - make an id."""
    assert id_fault(workflow_id) is None


@pytest.mark.parametrize("workflow_id", ["", "a" * 37, "-a", "a b", "a/b", "ä", "a\n"])
def test_no_workflow_id(workflow_id: str) -> None:
    """Anything else is refused with what an id looks like."""
    assert "is not a valid workflow id" in (id_fault(workflow_id) or "")


@pytest.mark.parametrize(
    "workflow_id", [*sorted(RESERVED_IDS), "queue:default", "lock:x", "inbox:3"]
)
def test_reserved_words_are_no_ids(workflow_id: str) -> None:
    """Words of routes and prefixes of other aggregates name no workflow."""
    assert "reserved" in (id_fault(workflow_id) or "")


def test_derived_ids() -> None:
    """The same start gives the same id; tenant, definition and seed keep starts apart."""
    known = derived_id("default", "order-fulfillment", "order-1")

    assert known == "66e82541-f41a-5617-b8fd-23c51f5fe02c"
    assert id_fault(known) is None
    others = {
        derived_id("other", "order-fulfillment", "order-1"),
        derived_id("default", "returns", "order-1"),
        derived_id("default", "order-fulfillment", "order-2"),
    }
    assert len({known, *others}) == 4
