"""`conveyor verify` on MongoDB and Kafka."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from conveyor import topics
from conveyor.messages import Message, Record

from adapters.kafka.errors import TopicMismatchError
from adapters.kafka.published_events import KafkaPublishedEvents
from adapters.kafka.publisher import KafkaPublisher
from adapters.kafka.settings import KafkaSettings
from adapters.kafka.topics import init_topics
from adapters.mongodb import verification
from adapters.mongodb.connection import Database
from adapters.mongodb.projections import MongoProjections
from adapters.mongodb.verification import MongoStoreScan
from application.codec.commits import entry_to_document
from application.ports import Commit, Document, Unavailable
from application.verification.findings import Kind
from tests.adapters.kafka.conftest import delete_topics, unique_settings
from tests.contracts.histories import content
from tests.contracts.verification_contract import VerificationContract
from tests.contracts.verification_site import VerificationSite

pytestmark = [pytest.mark.mongo, pytest.mark.kafka]


def _stored(commit: Commit) -> Document:
    """The document of a commit, however damaged its events are: without the marks that people query."""
    return {
        "_id": commit.id,
        "workflowId": commit.aggregate_id,
        "firstVersion": commit.first_version,
        "lastVersion": commit.last_version,
        "partition": commit.partition,
        "entries": [entry_to_document(entry, bytes.decode) for entry in commit.entries],
    }


class ProductionSite(VerificationSite):
    """Events on one partition, so that what retention takes is known."""

    def __init__(self, database: Database, settings: KafkaSettings) -> None:
        self.database = database
        self._settings = settings
        self.publisher = KafkaPublisher(settings)
        self.scan = MongoStoreScan(database)
        self.published = KafkaPublishedEvents(settings)

    async def write(
        self,
        commits: Sequence[Commit],
        documents: Sequence[Document],
        messages: Sequence[Message | Record],
    ) -> None:
        if commits:
            await self.database["workflow_events"].insert_many([_stored(each) for each in commits])
        await MongoProjections(self.database).save(documents)
        await self.publisher.publish(messages)

    async def drop_events(self, count: int) -> None:
        admin = AdminClient(self._settings.client())
        place = TopicPartition(self._settings.on_broker(topics.EVENTS), 0, count)
        for answer in admin.delete_records([place]).values():
            await asyncio.to_thread(answer.result, 10)


@pytest.fixture
async def site(database: Database, kafka_bootstrap: str) -> AsyncIterator[ProductionSite]:
    settings = unique_settings(kafka_bootstrap)
    created = await init_topics(settings, partitions=1)
    site = ProductionSite(database, settings)
    yield site
    await site.publisher.close()
    delete_topics(settings, list(created))


class TestProductionVerification(VerificationContract):
    @pytest.fixture
    def site(self, site: ProductionSite) -> ProductionSite:  # pyright: ignore[reportIncompatibleMethodOverride]
        return site


async def test_pages_end_anywhere(site: ProductionSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing depends on where a page of commits ends."""
    monkeypatch.setattr(verification, "_COMMITS_AT_ONCE", 2)

    assert await site.found(content()) == []


@pytest.mark.parametrize("change", [{"lastVersion": 9}, {"_id": "wf-running:000002"}])
async def test_a_commit_whose_key_is_not_its_contents(
    site: ProductionSite, change: Document
) -> None:
    """The key of a commit is the fence, its last version what look-ups trust."""
    await site.write_all(content())
    commits = site.database["workflow_events"]
    stored = await commits.find_one({"_id": "wf-running:000001"})
    assert stored is not None
    await commits.delete_one({"_id": stored["_id"]})
    await commits.insert_one({**stored, **change})

    report = await site.verify()

    assert [(f.workflow_id, f.kind) for f in report.findings] == [("wf-running", Kind.COMMIT)]


@pytest.mark.parametrize("change", [{"entries": None}, {"entries": [{"events": 3}]}])
async def test_a_commit_that_cannot_be_read(site: ProductionSite, change: Document) -> None:
    """A commit that is nothing any more is found, and ends no check."""
    await site.write_all(content())
    commits = site.database["workflow_events"]
    await commits.update_one({"_id": "wf-running:000001"}, {"$set": change})

    report = await site.verify()

    assert Kind.COMMIT in report.counts
    assert {finding.workflow_id for finding in report.findings} == {"wf-running"}


async def test_several_partitions_are_read(database: Database, kafka_bootstrap: str) -> None:
    """Every partition is read to its end, those without a record too."""
    settings = unique_settings(kafka_bootstrap)
    created = await init_topics(settings, partitions=5)
    site = ProductionSite(database, settings)

    found = await site.found(content())
    report = await site.verify()

    assert found == []
    assert report.published == len(content().messages)
    await site.publisher.close()
    delete_topics(settings, list(created))


async def test_without_topics(kafka_bootstrap: str) -> None:
    """Before `init` the sentence says what to run."""
    with pytest.raises(TopicMismatchError, match="conveyor init"):
        await KafkaPublishedEvents(unique_settings(kafka_bootstrap)).ranges()


async def test_without_a_broker() -> None:
    """A broker that is away is reported, not waited for."""
    with pytest.raises(Unavailable, match="kafka"):
        await KafkaPublishedEvents(unique_settings("127.0.0.1:1")).ranges()
