"""The kinds of findings in a store, and the report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

#: How many findings a report keeps. Further ones are only counted.
FINDINGS_KEPT = 1_000
_VERSIONS_SHOWN = 20


class Kind(StrEnum):
    """The kinds of findings. The value is the name in reports."""

    #: Versions of a workflow are missing from its log.
    GAP = "gap"
    #: Two commits hold the same version.
    OVERLAP = "overlap"
    #: A commit's key, or its stored last version, does not match its content.
    COMMIT = "commit"
    #: An event's id, version, workflow or type does not match its place in the log.
    EVENT = "event"
    #: The events cannot be folded.
    UNREADABLE = "unreadable"
    #: A projection has no log.
    ORPHAN = "orphan"
    #: A log has no projection.
    MISSING = "missing"
    #: A projection is of a higher version than its log.
    AHEAD = "ahead"
    #: A projection is not the fold of the log at its version.
    PROJECTION = "projection"
    #: A projection did not catch up.
    BEHIND = "behind"
    #: Events of the log are not on the topic.
    UNPUBLISHED = "unpublished"
    #: First publications are not in the order of versions.
    ORDER = "order"
    #: Published events differ from the log.
    PUBLISHED = "published"
    #: Events on the topic are missing from the log.
    UNLOGGED = "unlogged"
    #: A record of the topic is not an event of a workflow.
    FOREIGN = "foreign"
    #: An ended workflow has steps whose outcome is unknown.
    UNRESOLVED = "unresolved"
    #: An ended workflow has steps whose undo is not finished.
    UNDOING = "undoing"

    @property
    def is_damage(self) -> bool:
        """False for a state that is allowed, but that an operator should know about."""
        return self not in _ALLOWED

    @property
    def advice(self) -> str:
        """The meaning of the finding, and what to do."""
        return _ADVICE[self]


_ALLOWED = frozenset({Kind.UNRESOLVED, Kind.UNDOING})

_RESTORE = "stop sending it commands, and restore the event store from a backup"
_PROJECT = (
    "start an engine if none runs; if that does not help, send the workflow any command, so that an engine"
    " reads it from the log and projects it"
)
_REPLAY = (
    "the log is right: stop the engines, delete the document, start them and send the workflow any command,"
    " so that an engine reads it from the log and writes it again"
)
_ADVICE: Mapping[Kind, str] = {
    Kind.GAP: f"commits were lost or deleted: {_RESTORE}",
    Kind.OVERLAP: f"something other than an engine wrote to the log: {_RESTORE}",
    Kind.COMMIT: f"the commit was changed after it was written: {_RESTORE}",
    Kind.EVENT: f"the event was changed after it was written: {_RESTORE}",
    Kind.UNREADABLE: (
        "an event was changed, its definition is not registered, or a newer Conveyor wrote it:"
        " register the definition or use that version"
    ),
    Kind.ORPHAN: (
        "the log of the workflow was lost or deleted: restore it from a backup, or delete the document"
    ),
    Kind.MISSING: f"lists do not show it: {_PROJECT}",
    Kind.AHEAD: f"the newest commits were lost: {_RESTORE}",
    Kind.PROJECTION: f"the document was changed, or its write was lost: {_REPLAY}",
    Kind.BEHIND: f"lists show an old state: {_PROJECT}",
    Kind.UNPUBLISHED: (
        "consumers have not seen it: start an engine, which publishes what the last owner did not;"
        " if that does not help, records of the topic were deleted"
    ),
    Kind.ORDER: "consumers that take only the next version waited, or lost events: report it as a bug",
    Kind.PUBLISHED: "consumers saw something else than the log has: let them read the topic again",
    Kind.UNLOGGED: "consumers saw events that the log does not have: commits were lost, or"
    " something other than an engine wrote to the topic",
    Kind.FOREIGN: "something other than an engine wrote to the topic: find it and stop it",
    Kind.UNRESOLVED: "its service has not replied whether it performed the step: make sure that the service runs",
    Kind.UNDOING: "an undo failed and waits for an operator: compensate again, or force it",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """A finding about a workflow, or about a record that belongs to none."""

    workflow_id: str | None
    kind: Kind
    detail: str


@dataclass(slots=True)
class Report:
    """What was checked, and the findings."""

    instances: int = 0
    commits: int = 0
    events: int = 0
    projections: int = 0
    published: int = 0
    #: Projections that are behind their log, within the allowed delay.
    behind: int = 0
    #: Events so new that they need not be published yet.
    unpublished_yet: int = 0
    #: Events so old that the topic need not have them any more.
    not_checkable: int = 0
    findings: list[Finding] = field(default_factory=list[Finding])
    counts: Counter[Kind] = field(default_factory=Counter[Kind])

    def add(self, finding: Finding) -> None:
        self.counts[finding.kind] += 1
        if len(self.findings) < FINDINGS_KEPT:
            self.findings.append(finding)

    @property
    def is_clean(self) -> bool:
        return not any(kind.is_damage for kind in self.counts)


def shown(versions: Sequence[int]) -> str:
    """`version 3` or `versions 3, 4, 5 and 12 more`."""
    first = ", ".join(map(str, versions[:_VERSIONS_SHOWN]))
    more = len(versions) - _VERSIONS_SHOWN
    return f"version{'s' if len(versions) > 1 else ''} {first}{f' and {more} more' if more > 0 else ''}"
