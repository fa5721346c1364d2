"""Checks one instance: its commits must have no gap, and its projection must equal their fold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson

from application.aggregates.aggregate import Aggregate
from application.codec.events import catalog_of, restore
from application.codec.times import parse_time
from application.ports import (
    Commit,
    DefinitionOf,
    Document,
    Entry,
    RecordedEvent,
    StoredCommit,
    commit_id,
)
from application.verification.findings import Finding, Kind, shown
from application.verification.memory import ExpectedMemory
from application.verification.publications import Seen, added, digest_of
from domain.aggregate.kind import HistoryError
from domain.inbox import PartitionClaimed
from domain.workflow.status import IllegalTransition

#: What codec and domain raise for a stored document that was tampered with.
_UNREADABLE = (
    HistoryError,
    IllegalTransition,
    ArithmeticError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
)
#: The engine's memory of messages; `ExpectedMemory` compares it with the log.
_REMEMBERED = ("applied", "commandIds", "size")


@dataclass(frozen=True, slots=True)
class Unseen:
    """An event that the topic does not have."""

    version: int
    partition: int
    occurred_at: datetime


@dataclass(slots=True)
class History:
    """Takes the commits of one instance in order; `findings` are complete after `end`."""

    aggregate: Aggregate[Any]
    aggregate_id: str
    #: Its projection, read before its commits.
    document: Document | None
    #: Its first publications.
    seen: Seen
    definition_of: DefinitionOf
    findings: list[Finding] = field(default_factory=list[Finding])
    unseen: list[Unseen] = field(default_factory=list[Unseen])
    late: list[Unseen] = field(default_factory=list[Unseen])
    version: int = 0
    #: Events that need neither be published nor be part of a projection.
    claims: int = 0
    #: The version that a projection must have.
    to_project: int = 0
    #: The time of the first event that the projection lacks.
    behind_since: datetime | None = None
    #: The version of the projection, 0 without one.
    projected: int = 0
    #: Bit n: version n is in the log.
    _logged: int = 0
    _digest: int = 0
    _is_compared: bool = False
    _is_foldable: bool = True
    _state: Any = None
    _memory: ExpectedMemory = field(default_factory=ExpectedMemory)

    def __post_init__(self) -> None:
        version = self.document.get("version") if self.document is not None else 0
        if isinstance(version, int):
            self.projected = version
        else:
            self._found(Kind.PROJECTION, f"its version is {version!r}")

    def add(self, stored: StoredCommit) -> None:
        """The next commit."""
        commit = stored.commit
        self._check_place(stored)
        self.version = commit.first_version - 1
        for entry in commit.entries:
            self._add_entry(commit, entry)
        if self.version == self.projected and self.document is not None:
            self._compare(self.document, commit.partition)

    def end(self) -> None:
        """There are no more commits."""
        if self.projected > self.version:
            detail = f"projected at version {self.projected}, the log ends at {self.version}"
            self._found(Kind.AHEAD, detail)
        elif self.projected and self._is_foldable and not self._is_compared:
            self._found(Kind.PROJECTION, f"no commit ends at its version {self.projected}")
        unlogged = [version for version in self.seen if not self._logged >> version & 1]
        if unlogged:
            detail = f"{shown(unlogged)} published, not in the log"
            self._found(Kind.UNLOGGED, detail)
        elif self._digest != self.seen.digest:
            count = self.seen.versions.bit_count()
            detail = f"of {count} published events at least one is not as the log has it"
            self._found(Kind.PUBLISHED, detail)
        self.findings.extend(self._at_the_end())

    # -- the log -------------------------------------------------------------------------------

    def _check_place(self, stored: StoredCommit) -> None:
        commit = stored.commit
        expected = self.version + 1
        if commit.first_version > expected:
            missing = range(expected, commit.first_version)
            self._found(Kind.GAP, f"{shown(missing)} missing before commit {stored.id}")
            self._is_foldable = False
        elif commit.first_version < expected:
            detail = f"commit {stored.id} begins at {commit.first_version}, the one before it ends at {self.version}"
            self._found(Kind.OVERLAP, detail)
            self._is_foldable = False
        if stored.id != commit_id(self.aggregate_id, commit.first_version):
            detail = f"commit {stored.id} begins at {commit.first_version}"
            self._found(Kind.COMMIT, detail)
        if stored.last_version != commit.last_version or not commit.entries:
            detail = f"commit {stored.id} should end at {stored.last_version}, its events end at {commit.last_version}"
            self._found(Kind.COMMIT, detail)

    def _add_entry(self, commit: Commit, entry: Entry) -> None:
        for event in entry.events:
            self.version += 1
            is_claim = event.type == PartitionClaimed.TYPE
            if is_claim:
                self.claims += 1
            else:
                self.to_project = self.version
            try:
                occurred_at = parse_time(event.head.occurred_at)
                if event.is_public:
                    self._match(event, entry, Unseen(self.version, commit.partition, occurred_at))
                self._fold(event)
            except _UNREADABLE as fault:
                self._is_foldable = False
                self._found(
                    Kind.UNREADABLE, f"version {self.version} ({event.type}): {_told(fault)}"
                )
                continue
            is_missed = self.version > self.projected and not is_claim
            if is_missed and self.behind_since is None:
                self.behind_since = occurred_at
        self._memory.add(entry)

    def _match(self, event: RecordedEvent, entry: Entry, here: Unseen) -> None:
        """Compare with what was published."""
        if self._logged >> self.version & 1:
            return
        self._logged |= 1 << self.version
        if not self.seen.has(self.version):
            self.unseen.append(here)
            return
        self._digest = added(self._digest, digest_of(event, entry.message_id.partition(" ")[2]))
        # Events that are published for different aggregates have no order among them.
        if self.version in self.seen.late and event.head.aggregate_id == self.aggregate_id:
            self.late.append(here)

    def _fold(self, event: RecordedEvent) -> None:
        kind = self.aggregate.kind
        restored = restore(kind, event, self.definition_of)
        if self._is_foldable:
            self._state = kind.evolve(self._state, restored, self.aggregate_id)
            self._check_event(event, self.aggregate.common(self._state, restored, self.version))

    def _check_event(self, event: RecordedEvent, common: Document) -> None:
        """Check that the event's id, version and type match its place in the log."""
        expected = {
            "eventId": f"{self.aggregate_id}:{self.version}",
            "eventType": catalog_of(self.aggregate.kind)[event.type].NAME,
            **common,
        }
        data = event.data
        wrong = [
            f"{name} is {data.get(name)!r}, not {value!r}"
            for name, value in expected.items()
            if data.get(name) != value
        ]
        if wrong:
            self._found(Kind.EVENT, f"version {self.version}: {'; '.join(wrong)}")

    # -- the projection ------------------------------------------------------------------------

    def _compare(self, document: Document, partition: int) -> None:
        """Compare the projection with the fold at its version."""
        self._is_compared = True
        if not self._is_foldable or self._state is None:
            return
        try:
            different = list(self._memory.differences(document["engine"]))
            if not different:
                different = self._differences(document, partition)
        except _UNREADABLE as fault:
            different = [_told(fault)]
        if different:
            detail = f"at version {self.version} not the fold of the log: {', '.join(different)}"
            self._found(Kind.PROJECTION, detail)

    def _differences(self, document: Document, partition: int) -> list[str]:
        """The fields of the document that differ from the expected ones."""
        engine: Document = document["engine"]
        taken = {name: engine[name] for name in _REMEMBERED}
        expected: Document = orjson.loads(
            orjson.dumps(self.aggregate.to_document(self._state, partition, taken), default=dict)
        )
        is_whole = self.aggregate.is_whole(document)
        names = sorted(expected.keys() | document.keys() if is_whole else document.keys())
        different = [name for name in names if expected.get(name) != document.get(name)]
        if (
            not different
            and is_whole
            and self.aggregate.from_document(document, self.definition_of) != self._state
        ):
            return ["what is read from it"]
        return different

    def _at_the_end(self) -> Iterator[Finding]:
        if self._is_foldable and self._state is not None:
            for code, detail in self.aggregate.unfinished(self._state):
                yield Finding(self.aggregate_id, Kind[code], detail)

    def _found(self, kind: Kind, detail: str) -> None:
        self.findings.append(Finding(self.aggregate_id, kind, detail))


def _told(fault: Exception) -> str:
    return f"{type(fault).__name__}: {fault}"
