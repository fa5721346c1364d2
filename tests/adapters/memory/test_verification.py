"""`conveyor verify` on stores in memory."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from conveyor.messages import Message, Record

from adapters.memory.broker import MemoryBroker
from adapters.memory.event_log import MemoryEventLog
from adapters.memory.projections import MemoryProjections
from adapters.memory.publisher import MemoryPublisher
from adapters.memory.verification import MemoryPublishedEvents, MemoryStoreScan
from application.ports import Commit, Document
from tests.contracts.verification_contract import VerificationContract
from tests.contracts.verification_site import VerificationSite


class MemorySite(VerificationSite):
    def __init__(self) -> None:
        self._log = MemoryEventLog()
        self._projections = MemoryProjections()
        self._broker = MemoryBroker()
        self.scan = MemoryStoreScan(self._log, self._projections)
        self.published = MemoryPublishedEvents(self._broker)

    async def write(
        self,
        commits: Sequence[Commit],
        documents: Sequence[Document],
        messages: Sequence[Message | Record],
    ) -> None:
        await self._log.append(commits)
        await self._projections.save(documents)
        await MemoryPublisher(self._broker).publish(messages)

    async def drop_events(self, count: int) -> None:
        self.published = MemoryPublishedEvents(self._broker, first=count)


class TestMemoryVerification(VerificationContract):
    @pytest.fixture
    def site(self) -> MemorySite:
        return MemorySite()
