"""Lists over the projections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from application.ports.document import Document

#: The largest fields of a document. Lists do not show them (CONTRACT 6), so a store need not read them.
NOT_LISTED = ("steps", "executionContext", "inputParameters", "output", "engine")

#: In place of a code: every workflow with an open incident.
ANY_INCIDENT = "any"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowFilter:
    """Filters of the list. An empty filter matches everything."""

    status: tuple[str, ...] = ()
    active: bool | None = None
    type: str | None = None
    definition: str | None = None
    correlation_id: str | None = None
    user_id: str | None = None
    wallet: str | None = None
    #: Names and values, all of which must hold.
    labels: tuple[tuple[str, str], ...] = ()
    tenant: str | None = None
    #: With an open incident of this code, or `ANY_INCIDENT`.
    incident: str | None = None
    started_after: str | None = None
    started_before: str | None = None
    ascending: bool = False

    @property
    def exact(self) -> Mapping[str, str]:
        """The fields of a document that must have exactly this value."""
        wanted = {
            "workflowType": self.type,
            "definition": self.definition,
            "correlationId": self.correlation_id,
            "userId": self.user_id,
            "wallet": self.wallet,
            "tenant": self.tenant,
        }
        return {name: value for name, value in wanted.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Page:
    items: Sequence[Document]
    next_cursor: str | None


class WorkflowQueries(Protocol):
    """Lists of projections, which are up to a second behind."""

    async def find(self, filter: WorkflowFilter, limit: int, cursor: str | None) -> Page:
        """One page ordered by `startedAt` (newest first unless ascending), then id.

        Raises ValueError for a cursor that it did not issue.
        """
        ...

    async def count_by_status(self) -> Mapping[str, int]: ...

    async def open_incidents(self) -> int:
        """How many incidents of all workflows are open. Reads those workflows only. Raises `Unavailable`."""
        ...
