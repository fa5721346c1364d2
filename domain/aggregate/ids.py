"""Identities: workflow ids, idempotency keys, derived start ids (CONTRACT 1, PROTOCOL rules 10 and 17)."""

from __future__ import annotations

import re
import uuid
from typing import NamedTuple

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,35}")
_KEY_PART = re.compile(r"[^/]+")

#: Not allowed as workflow ids: path words of the REST routes (C-33) and the prefixes of other kinds of aggregates.
RESERVED_IDS = frozenset(
    [
        "actions",
        "batch",
        "cleanup",
        "compensatable",
        "config",
        "dashboard",
        "dead-letters",
        "events",
        "health",
        "incidents",
        "jobs",
        "locks",
        "metrics",
        "rebalance",
        "recovery",
        "replay",
        "search",
        "statistics",
        "status",
        "system",
        "audit",
    ]
)
RESERVED_PREFIXES = ("inbox:", "lock:", "queue:", "share:", "schedule:", "batch:", "chunk:")


def id_fault(workflow_id: str) -> str | None:
    """Why this is not a valid workflow id, or None."""
    if not _ID.fullmatch(workflow_id):
        return (
            f"'{workflow_id[:60]}' is not a valid workflow id: 1 to 36 characters, letters, digits and . _ : -,"
            " beginning with a letter or digit"
        )
    if workflow_id in RESERVED_IDS or workflow_id.startswith(RESERVED_PREFIXES):
        return f"'{workflow_id}' is a reserved word; choose another id"
    return None


def derived_id(tenant: str, definition: str, seed: str) -> str:
    """The id of a workflow whose start names none, so that a repeated start gives the same workflow.

    `seed` is the idempotency key or, if there is none, the CloudEvent's source and id.
    """
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"conveyor:{tenant}:{definition}:{seed}"))


class StepKey(NamedTuple):
    """The idempotency key of all attempts of one round of a step.

    Written `<workflow>/<step>[/<item>]/<round>[/undo|/verify]`.
    """

    workflow_id: str
    step_id: str
    round: int
    item: str | None = None
    #: `undo` or `verify`, None for the forward step.
    purpose: str | None = None

    def __str__(self) -> str:
        item = f"/{self.item}" if self.item is not None else ""
        purpose = f"/{self.purpose}" if self.purpose is not None else ""
        return f"{self.workflow_id}/{self.step_id}{item}/{self.round}{purpose}"

    @staticmethod
    def parse(key: str) -> StepKey:
        """The parts of a key. Raises ValueError for a text that is not a step's key."""
        parts = key.split("/")
        purpose = parts.pop() if parts[-1] in ("undo", "verify") else None
        if len(parts) not in (3, 4) or not all(_KEY_PART.fullmatch(part) for part in parts):
            raise ValueError(f"'{key}' is not a step's key: <workflow>/<step>[/<item>]/<round>")
        if not parts[-1].isascii() or not parts[-1].isdigit() or int(parts[-1]) < 1:
            raise ValueError(
                f"'{key}' is not a step's key: the round '{parts[-1]}' is not a number from 1"
            )
        item = parts[2] if len(parts) == 4 else None
        return StepKey(parts[0], parts[1], int(parts[-1]), item, purpose)
