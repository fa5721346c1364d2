"""The SDK's client over Kafka, against an engine at work."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from conveyor import Client, types
from conveyor.client import BlockingClient
from conveyor.errors import RequestRefusedError, WorkflowFailedError
from conveyor.resources import Event

from tests.acceptance.sites import RunningSite, new_id, order
from tests.docs.pages import snippets

pytestmark = [pytest.mark.e2e, pytest.mark.kafka, pytest.mark.mongo, pytest.mark.redis]
pytestmark += [pytest.mark.timeout(240)]

ORDER = "order-fulfillment"
FAILING = {"failStep": "pick-items"}
SLOW = {"failStep": "pick-items", "times": 0, "latencyMs": 1000}


@pytest.fixture(params=[False, True], ids=["alone", "with-url"])
def client(site: RunningSite, request: pytest.FixtureRequest) -> Client:
    """Without an address to read from, and with one."""
    return Client.over_kafka(
        site.kafka,
        source="/order-service",
        topic_prefix=site.prefix,
        url=site.url if request.param else None,
        timeout_seconds=30,
    )


async def test_start_and_await(client: Client) -> None:
    """Results of every kind, of workflows that end now and that have ended before."""
    key = new_id("key")
    async with client as opened:
        run = await opened.start(ORDER, order("o-1"), idempotency_key=key)
        output = await run.result(timeout=60)
        again = await opened.start(ORDER, order("o-1"), idempotency_key=key)
        output_again = await again.result(timeout=60)
        failing = await opened.start(ORDER, order("o-2", FAILING))
        with pytest.raises(WorkflowFailedError) as failed:
            await failing.result(timeout=60)
        with pytest.raises(RequestRefusedError) as refused:
            await run.pause("too late")
    async with client as opened:
        later = await opened.workflow(run.id).result(timeout=60)
        with pytest.raises(WorkflowFailedError) as failed_later:
            await opened.workflow(failing.id).result(timeout=60)

    assert again.id == run.id
    assert output == output_again == later
    assert failed.value.status == "COMPENSATED"
    assert str(failed_later.value) == str(failed.value)
    assert refused.value.code == "ILLEGAL_STATUS"
    assert refused.value.workflow_status == "COMPLETED"


async def test_many_at_once(client: Client) -> None:
    """Each gets its own result."""
    async with client as opened:

        async def one(number: int) -> str:
            run = await opened.start(ORDER, order(f"o-{number}", SLOW))
            await run.result(timeout=60)
            return run.id

        ids = await asyncio.gather(*map(one, range(20)))

    assert len(set(ids)) == 20


async def test_reads_with_an_address(site: RunningSite) -> None:
    """What over HTTP can be read, too."""
    over_kafka = Client.over_kafka(
        site.kafka, source="/order-service", topic_prefix=site.prefix, url=site.url
    )
    async with over_kafka as client:
        run = await client.start(ORDER, order("o-1"))
        seen = [event async for event in run.events()]
        workflow = await run.get()

    assert workflow.status == "COMPLETED"
    assert [event.version for event in seen] == list(range(1, workflow.version + 1))
    assert seen[0].actor == "/order-service"


def test_the_consumer_of_the_page(
    site: RunningSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It follows what happens, and goes on where it was."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    [code] = snippets("docs/howto/consume-events.md", "consumer")
    exec(code, names)  # noqa: S102 - our own page
    shop = names["shop"]
    over_kafka = Client.over_kafka(site.kafka, source="/shop", topic_prefix=site.prefix)

    class Enough(Exception):
        """The order has been delivered."""

    def follow_until_delivered(workflow_id: str) -> None:
        take = names["take"]

        def take_and_look(event: Any) -> None:
            take(event)
            if (workflow_id,) in shop.execute("SELECT workflow FROM delivered").fetchall():
                raise Enough

        names["take"] = take_and_look
        with over_kafka as client, pytest.raises(Enough):
            names["follow"](client)
        names["take"] = take

    for number in range(2):
        with over_kafka as client:
            run = client.start(ORDER, order(f"o-{number}"))
        follow_until_delivered(run.id)

    delivered = [row[0] for row in shop.execute("SELECT workflow FROM delivered").fetchall()]
    assert len(delivered) == len(set(delivered))
    shop.close()


def test_the_program_of_the_page(site: RunningSite, capsys: pytest.CaptureFixture[str]) -> None:
    """It prints that its order is done."""
    [code] = snippets("docs/howto/start-and-await.md", "kafka")
    printed = '"127.0.0.1:9092", source="/order-service"'
    assert printed in code
    here = f'"{site.kafka}", source="/order-service", topic_prefix="{site.prefix}"'

    exec(code.replace(printed, here), {})  # noqa: S102 - our own page

    assert capsys.readouterr().out.endswith(" is done\n")


def test_a_group_goes_on_where_it_was(site: RunningSite) -> None:
    """What a group has done is not done again by its next member."""
    group = new_id("group")
    over_kafka = Client.over_kafka(site.kafka, source="/shop", topic_prefix=site.prefix)

    def seen_until_completed(client: BlockingClient, *workflow_ids: str) -> list[Event]:
        seen: list[Event] = []
        missing = set(workflow_ids)
        for event in client.subscribe(group=group):
            seen.append(event)
            if event.type == types.COMPLETED:
                missing.discard(event.workflow_id)
            if not missing:
                break
        return seen

    with over_kafka as client:
        run = client.start(ORDER, order("o-1"))
        first = seen_until_completed(client, run.id)
        later = client.start(ORDER, order("o-2"))
        # Partitions are read in any order.
        second = seen_until_completed(client, run.id, later.id)

    versions = [event.version for event in first if event.workflow_id == run.id]
    assert versions == list(range(1, len(versions) + 1))
    # The last one was not done yet when its loop was left.
    assert [event for event in second if event.workflow_id == run.id] == first[-1:]
