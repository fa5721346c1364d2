"""The inbox on a real broker, in both group protocols."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Literal, cast

import pytest
from conveyor.messages import Record

from adapters.kafka.inbox import KafkaInbox
from adapters.kafka.settings import KafkaSettings
from application.ports import Inbox
from tests.adapters.kafka.conftest import PARTITIONS, Topics
from tests.contracts.inbox_contract import InboxContract, InboxSite


class KafkaInboxSite(InboxSite):
    def __init__(self, settings: KafkaSettings, topics: Topics) -> None:
        self._settings = settings
        self._topics = topics
        self._opened: list[KafkaInbox] = []
        self.inbox = self._open()

    async def put(self, *records: Record) -> None:
        await self._topics.put(*records)

    async def reopen(self) -> Inbox:
        await self.close()
        return self._open()

    async def close(self) -> None:
        for inbox in self._opened:
            await inbox.close()
        self._opened.clear()

    def _open(self) -> KafkaInbox:
        inbox = KafkaInbox(self._settings, PARTITIONS)
        self._opened.append(inbox)
        return inbox


@pytest.mark.kafka
class TestKafkaInbox(InboxContract):
    @pytest.fixture(params=["classic", "consumer"])
    async def site(
        self, request: pytest.FixtureRequest, settings: KafkaSettings, broker_topics: Topics
    ) -> AsyncIterator[KafkaInboxSite]:
        protocol = cast(Literal["classic", "consumer"], request.param)
        site = KafkaInboxSite(replace(settings, group_protocol=protocol), broker_topics)
        yield site
        await site.close()
