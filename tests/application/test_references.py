"""How a definition is named."""

from __future__ import annotations

import pytest
from conveyor import types
from conveyor.messages import Message

from application.aggregates.catalog import CATALOG
from application.codec.references import definition_named, parse_reference
from tests.messages import message_of


@pytest.mark.parametrize(
    ("reference", "parsed"),
    [
        ("order-fulfillment-v1", ("order-fulfillment", 1)),
        ("order-v12", ("order", 12)),
        ("order-v2147483647", ("order", 2**31 - 1)),
        ("order-v2147483648", ("order-v2147483648", None)),
        ("order-v99999999999999999999", ("order-v99999999999999999999", None)),
        ("order-v²", ("order-v²", None)),
        ("order-v١", ("order-v١", None)),
        ("order", ("order", None)),
        ("order-v", ("order-v", None)),
        ("order-v0", ("order-v0", None)),
        ("-v1", ("-v1", None)),
        ("", ("", None)),
    ],
)
def test_an_id_ends_in_its_version(reference: str, parsed: tuple[str, int | None]) -> None:
    """Anything else is a name."""
    assert parse_reference(reference) == parsed


def test_an_id_and_another_version_name_nothing() -> None:
    """A contradiction is not resolved in favour of one side."""
    assert definition_named("order-v1", 1) == ("order", 1)
    assert definition_named("order-v1", 2) is None
    assert definition_named("order", 2) == ("order", 2)


def test_one_idempotency_key_derives_one_id() -> None:
    """However the definition is named (PROTOCOL rule 17)."""
    named = (
        b'"definition":"order-v1"',
        b'"definition":"order-v1","version":1',
        b'"definition":"order","version":1',
        b'"definitionId":"order-v1"',
        b'"definition":"order"',
    )
    ids = {CATALOG.decode(_start(definition)).aggregate_id for definition in named}
    assert len(ids) == 1


def _start(definition: bytes) -> Message:
    data = b"{" + definition + b',"idempotencyKey":"k-1"}'
    return message_of(types.START, data, key=None, subject=None)
