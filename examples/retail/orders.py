"""The invoices of one morning: which are orders, and what a cancellation is about."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Invoice:
    """One line of the file."""

    id: str
    customer: str
    skus: frozenset[str]
    #: The line as it stands there; an order's is the input of its workflow.
    document: dict[str, Any]

    @property
    def is_cancellation(self) -> bool:
        return self.id.startswith("C")


def read_invoices(path: Path) -> list[Invoice]:
    """All invoices in file order."""
    return [_invoice(json.loads(line)) for line in path.read_text("utf-8").splitlines()]


def cancelled_order(cancellation: Invoice, earlier: Sequence[Invoice]) -> Invoice | None:
    """The latest earlier order of the same customer with one of its SKUs; None: there is none."""
    for invoice in reversed(earlier):
        is_theirs = not invoice.is_cancellation and invoice.customer == cancellation.customer
        if is_theirs and invoice.skus & cancellation.skus:
            return invoice
    return None


def _invoice(document: dict[str, Any]) -> Invoice:
    return Invoice(
        id=document["orderId"],
        customer=document["customerId"],
        skus=frozenset(line["sku"] for line in document["lines"]),
        document=document,
    )
