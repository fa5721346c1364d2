"""The simulated warehouse: what `simulate` does to each step, and what a killed process leaves."""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from conveyor import topics, types
from conveyor.key_store import MemoryKeyStore
from conveyor.memory import MemoryTransport
from conveyor.messages import Message
from conveyor.participant import Participant

from infrastructure.warehouse import FLOOR, Work, build_warehouse
from infrastructure.warehouse_journal import Journal
from tests.sdk.kafka_site import KafkaSite, kafka_site
from tests.sdk.requests_of import data_of, running, seal_request, step_request, undo_request

SERVICES = sorted({work.service for work in FLOOR})


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "journal.jsonl"


def lines(journal: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in journal.read_text().splitlines()]


async def answers(participant: Participant, *requests: Message) -> list[dict[str, Any]]:
    """The replies' data, each request sent when the one before was answered."""
    transport = MemoryTransport()
    async with running(participant, transport, MemoryKeyStore()):
        for count, request in enumerate(requests, start=1):
            await transport.request(request)
            await transport.until_replied(count)
    return [data_of(reply) for reply in transport.replies]


def pick(attempt: int = 1, **simulate: Any) -> Message:
    return step_request(
        service="warehouse-service",
        operation="pick",
        step_id="pick-items",
        attempt=attempt,
        input={"orderId": "o-1", "simulate": simulate},
    )


@pytest.mark.parametrize("work", FLOOR, ids=lambda work: f"{work.service}.{work.operation}")
async def test_every_operation_and_its_undo(work: Work, journal: Path) -> None:
    """Each operation answers an id of its own, is undone, and both stand in the journal."""
    done, undone = await answers(
        build_warehouse(journal),
        step_request(service=work.service, operation=work.operation, attempt=3),
        undo_request(service=work.service, operation=work.undo, step_output={}),
    )

    assert done["output"][work.output].startswith(work.prefix)
    assert undone["compensation"] is True
    assert [(line["operation"], line["attempt"]) for line in lines(journal)] == [
        (work.operation, 3),
        (work.undo, 1),
    ]
    assert lines(journal)[1]["idempotencyKey"] == "wf-1/reserve-inventory/1/undo"


async def test_fails_always_without_times(journal: Path) -> None:
    """A failing step fails every attempt with the default type, finally, and has no effect."""
    replies = await answers(
        build_warehouse(journal), *[pick(n, failStep="pick-items") for n in (1, 2)]
    )

    assert [reply["error"]["type"] for reply in replies] == ["BUSINESS_RULE_VIOLATION"] * 2
    assert [reply["error"]["retryable"] for reply in replies] == [False] * 2
    assert lines(journal) == []


async def test_fails_the_first_times(journal: Path) -> None:
    """With `times` the first attempts fail as asked, by their number, and the next one succeeds."""
    simulate = {
        "failStep": "pick-items",
        "times": 2,
        "errorType": "SERVICE_UNAVAILABLE",
        "retryable": True,
    }
    before_restart = await answers(build_warehouse(journal), pick(1, **simulate))
    second, third = await answers(
        build_warehouse(journal), pick(2, **simulate), pick(3, **simulate)
    )

    for reply in [*before_restart, second]:
        assert reply["error"]["type"] == "SERVICE_UNAVAILABLE"
        assert reply["error"]["retryable"] is True
    assert third["output"]["pickId"]
    assert [line["attempt"] for line in lines(journal)] == [3]


@pytest.mark.parametrize("retryable", [False, True])
async def test_a_failure_settles_what_a_killed_process_began(
    journal: Path, retryable: bool
) -> None:
    """What fails by its number failed in every process: nothing stays unknown, and the step can be sealed."""
    key_store = MemoryKeyStore()
    await key_store.open({"wf-1/pick-items/1": 1})
    await key_store.close()
    transport = MemoryTransport()

    async with running(build_warehouse(journal), transport, key_store):
        await transport.request(
            pick(failStep="pick-items", retryable=retryable),
            seal_request(service="warehouse-service", operation="pick", step_id="pick-items"),
        )
        failed, sealed = await transport.until_replied(2)

    error = data_of(failed)["error"]
    assert error["retryable"] is retryable
    assert "outcomeUnknown" not in error
    assert sealed.type == types.STEP_SEALED
    assert data_of(sealed)["performed"] is False
    assert lines(journal) == []


async def test_only_the_named_step_fails(journal: Path) -> None:
    """Other steps ignore a `failStep` that names none of them."""
    [reply] = await answers(build_warehouse(journal), pick(failStep="pack-items"))

    assert reply["output"]["pickId"]


@pytest.mark.parametrize(
    ("simulate", "is_late"),
    [
        ({"latencyMs": 60}, True),
        ({"latencyMs": 60, "failStep": "pick-items", "times": 0}, True),
        ({"latencyMs": 60, "failStep": "pack-items"}, False),
    ],
)
async def test_latency(simulate: dict[str, Any], is_late: bool, journal: Path) -> None:
    """`latencyMs` delays every step, or only `failStep`; with `times: 0` it is only late."""
    [reply] = await answers(build_warehouse(journal), pick(**simulate))

    assert reply["output"]["pickId"]
    assert (reply["executionTimeMs"] >= 60) is is_late


async def test_a_late_failure(journal: Path) -> None:
    """A failing step that is late as well fails after the delay."""
    [reply] = await answers(build_warehouse(journal), pick(latencyMs=20, failStep="pick-items"))

    assert reply["error"]["code"] == "SIMULATED_FAILURE"


async def test_sealed_while_late(journal: Path) -> None:
    """A seal that overtakes nothing: it is answered after the late step, as performed."""
    transport = MemoryTransport()
    async with running(build_warehouse(journal), transport, MemoryKeyStore()):
        await transport.request(
            pick(latencyMs=30),
            seal_request(service="warehouse-service", operation="pick", step_id="pick-items"),
        )
        replies = await transport.until_replied(2)

    assert [reply.type for reply in replies] == [types.STEP_COMPLETED, types.STEP_SEALED]
    assert data_of(replies[1])["performed"] is True


async def test_bad_simulation_is_invalid_input(journal: Path) -> None:
    """A nonsensical `simulate` fails the step as a validation error."""
    [reply] = await answers(build_warehouse(journal), pick(times=-1))

    assert reply["error"]["type"] == "VALIDATION_ERROR"


async def test_failure_rate(journal: Path) -> None:
    """About the given share of attempts fails, retryable, and the same ones each time."""
    requests = [step_request(f"wf-{n}") for n in range(400)]

    first = await answers(build_warehouse(journal, failure_rate=0.25), *requests)
    second = await answers(build_warehouse(failure_rate=0.25), *requests)

    failed = [reply["workflowId"] for reply in first if "error" in reply]
    assert 60 < len(failed) < 140
    assert failed == [reply["workflowId"] for reply in second if "error" in reply]
    assert len(lines(journal)) == 400 - len(failed)


def test_the_journal_knows_other_processes_keys(journal: Path) -> None:
    """A key that any process has written is not written again."""
    first, second = Journal(journal), Journal(journal)

    assert first.do_once("a", "reserve", 1)
    assert second.do_once("b", "reserve", 1)
    assert not first.do_once("b", "reserve", 2)
    assert not second.do_once("a", "reserve", 2)
    first.close()
    second.close()

    assert [line["idempotencyKey"] for line in lines(journal)] == ["a", "b"]


@pytest.mark.kafka
@pytest.mark.redis
@pytest.mark.slow
@pytest.mark.timeout(180)
class TestProcesses:
    @pytest.fixture
    async def site(self, kafka_bootstrap: str) -> AsyncIterator[KafkaSite]:
        async with kafka_site(kafka_bootstrap, services=SERVICES) as site:
            yield site

    async def test_kill_and_restart(self, site: KafkaSite, redis_url: str, journal: Path) -> None:
        """After kill -9 in the middle of the work every step is answered, each effect done once."""
        replies = site.reader(topics.REPLIES)
        requests = [
            step_request(f"{site.prefix}{n}", input={"simulate": {"latencyMs": 10 * n}})
            for n in range(300)
        ]
        first = await start_process(site, redis_url, journal)
        await site.write(*requests)
        answered = await replies.messages(30)

        first.kill()
        await first.wait()
        done_by_first = len(lines(journal))
        second = await start_process(site, redis_url, journal)
        while len({reply.id for reply in answered}) < len(requests):
            answered += await replies.messages(1)
        second.terminate()
        exit_code = await second.wait()
        replies.close()

        assert 30 <= done_by_first < len(requests)
        assert exit_code == 0
        assert {reply.type for reply in answered} == {types.STEP_COMPLETED}
        done = Counter(line["idempotencyKey"] for line in lines(journal))
        assert done == dict.fromkeys(
            (request.extensions["idempotencykey"] for request in requests), 1
        )


PROCESS = """
import asyncio, signal, sys
from pathlib import Path
from infrastructure.warehouse_kafka import run_warehouse_kafka

async def main():
    bootstrap, prefix, redis, journal = sys.argv[1:]
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await run_warehouse_kafka(
        bootstrap_servers=bootstrap, topic_prefix=prefix, redis_url=redis, stop=stop,
        journal=Path(journal),
    )

asyncio.run(main())
"""


async def start_process(
    site: KafkaSite, redis_url: str, journal: Path
) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROCESS, site.bootstrap, site.prefix, redis_url, str(journal)
    )
