"""A run mode's store and events topic, written by tests and read by the verifier."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import timedelta

from conveyor.messages import Message, Record

from application.aggregates.catalog import CATALOG
from application.ports import Commit, Document, PublishedEvents, StoreScan
from application.verification.findings import Kind, Report
from application.verification.verifier import Verifier
from infrastructure.clock import SystemClock
from tests.contracts.histories import StoreContent, find_definition

Found = list[tuple[str | None, Kind]]


class VerificationSite(ABC):
    """One run mode's store and events topic."""

    scan: StoreScan
    published: PublishedEvents

    @abstractmethod
    async def write(
        self,
        commits: Sequence[Commit],
        documents: Sequence[Document],
        messages: Sequence[Message | Record],
    ) -> None:
        """Write these, each message as a publication of its own."""

    @abstractmethod
    async def drop_events(self, count: int) -> None:
        """Retention takes the oldest records of the topic's first partition."""

    async def write_all(self, content: StoreContent) -> None:
        await self.write(content.commits, content.documents, content.messages)

    async def verify(
        self, settle: timedelta = timedelta(), clock: SystemClock | None = None
    ) -> Report:
        verifier = Verifier(
            self.scan, self.published, find_definition, clock or SystemClock(), CATALOG
        )
        return await verifier.run(settle)

    async def found(self, content: StoreContent) -> Found:
        """What is found in a store of this content."""
        await self.write_all(content)
        report = await self.verify()
        assert report.is_clean is not any(kind.is_damage for kind in report.counts)
        return [(finding.workflow_id, finding.kind) for finding in report.findings]
