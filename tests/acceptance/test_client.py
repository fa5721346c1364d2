"""The SDK's client over HTTP against `conveyor dev`, for asyncio and for code without it."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from conveyor import Client
from conveyor.client import AsyncClient, BlockingClient
from conveyor.errors import (
    OutcomeUnknownError,
    RequestRefusedError,
    ServerUnavailableError,
    UnsupportedError,
    WorkflowFailedError,
)
from conveyor.json_text import UnstorableJson

from deploy.local_services.process import free_port
from tests.acceptance.programs import Program, is_ready, running, until
from tests.acceptance.sites import new_id, order
from tests.tcp_proxy import TcpProxy

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

SIGNALLED = "WorkflowSignalledEvent"
ORDER = "order-fulfillment"
FAILING = {"failStep": "pick-items"}
SLOW = {"failStep": "pick-items", "times": 0, "latencyMs": 2000}


#: One step, and an output.
RESERVATION: dict[str, Any] = {
    "name": "reservation",
    "version": 1,
    "type": "RESERVATION",
    "steps": [
        {
            "id": "reserve",
            "service": "inventory-service",
            "operation": "reserve",
            "input": {"orderId": "input.orderId", "lines": "input.lines"},
            "compensation": {"operation": "release"},
        }
    ],
    "output": {"reservation": "steps.reserve.output.reservationId"},
}


@contextmanager
def dev(folder: Path, port: int) -> Generator[tuple[Program, str]]:
    url = f"http://127.0.0.1:{port}"
    with running(
        "dev", "dev", "--port", str(port), "--orders-per-second", "0", folder=folder
    ) as program:
        until("dev is ready", lambda: is_ready(url), 60, [program])
        yield program, url


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with dev(tmp_path_factory.mktemp("dev"), free_port()) as (_, url):
        httpx.post(f"{url}/api/v1/definitions", json=RESERVATION, timeout=30).raise_for_status()
        yield url


@pytest.fixture
async def client(url: str) -> AsyncIterator[AsyncClient]:
    async with Client(url) as client:
        yield client


@pytest.fixture
def blocking(url: str) -> Iterator[BlockingClient]:
    with Client(url) as client:
        yield client


@pytest.fixture
async def proxy(url: str) -> AsyncIterator[TcpProxy]:
    proxy = TcpProxy("127.0.0.1", urlsplit(url).port or 0)
    await proxy.open()
    yield proxy
    await proxy.close()


async def test_start_and_await(client: AsyncClient) -> None:
    """The output of a workflow that completes, and what can be read of it."""
    run = await client.start(
        "reservation", order("o-1"), labels={"shop": "web"}, correlation_id="c-1"
    )

    output = await run.result(timeout=30)
    resource = await run.get()
    history = await run.history()

    assert output == resource.output
    assert output["reservation"]
    assert (resource.status, resource.is_active) == ("COMPLETED", False)
    assert (resource.labels, resource.correlation_id) == ({"shop": "web"}, "c-1")
    assert resource.completed_at is not None
    assert resource.completed_at >= resource.created_at
    assert {step.status for step in resource.steps} == {"COMPLETED"}
    assert [event.version for event in history] == list(range(1, resource.version + 1))
    assert history[-1].type == "orchestration.workflow.completed"
    assert {event.workflow_id for event in history} == {run.id}
    assert await run.history(after_version=resource.version) == []


async def test_a_workflow_that_fails(client: AsyncClient) -> None:
    """Its result is an error that says why, also when the workflow has ended before."""
    run = await client.start(ORDER, order("o-1", FAILING))
    with pytest.raises(WorkflowFailedError) as failed:
        await run.result(timeout=30)
    with pytest.raises(WorkflowFailedError) as again:
        await client.workflow(run.id).result(timeout=30)

    assert (failed.value.workflow_id, failed.value.status) == (run.id, "COMPENSATED")
    [error, *_] = (await run.get()).errors
    assert (failed.value.code, failed.value.message) == (error.error_code, error.message)
    assert str(again.value) == str(failed.value)


async def test_a_cancelled_workflow(client: AsyncClient) -> None:
    """The reason of the cancel is the reason of the error."""
    run = await client.start(ORDER, order("o-1", SLOW))
    await run.cancel("changed my mind", compensate=False)

    with pytest.raises(WorkflowFailedError) as failed:
        await run.result(timeout=30)

    assert (failed.value.status, failed.value.code, failed.value.message) == (
        "CANCELLED",
        "CANCELLED",
        "changed my mind",
    )


async def test_no_end_in_time(client: AsyncClient) -> None:
    """A result that does not come in time is a time-out that names the workflow."""
    run = await client.start(ORDER, order("o-1", SLOW))

    with pytest.raises(TimeoutError, match=run.id):
        await run.result(timeout=0.1)


async def test_the_same_start(client: AsyncClient) -> None:
    """Under one key nothing is started twice, and another start is refused."""
    key = new_id("key")
    first = await client.start(ORDER, order("o-1"), idempotency_key=key)
    again = await client.start(ORDER, order("o-1"), idempotency_key=key)
    with pytest.raises(RequestRefusedError) as refused:
        await client.start(ORDER, order("o-2"), idempotency_key=key)

    assert again.id == first.id
    assert refused.value.code == "IDEMPOTENCY_CONFLICT"


async def test_refusals(client: AsyncClient) -> None:
    """They have the code, every fault, and what would be possible instead."""
    run = await client.start(ORDER, order("o-1"), workflow_id=new_id("wf"))
    await run.result(timeout=30)

    with pytest.raises(RequestRefusedError) as not_now:
        await run.pause("spill")
    with pytest.raises(RequestRefusedError) as unknown:
        await client.start("nothing", {})
    with pytest.raises(RequestRefusedError) as taken:
        await client.start(ORDER, order("o-1"), workflow_id=run.id)
    with pytest.raises(RequestRefusedError) as missing:
        await client.workflow("wf-none").get()

    assert (not_now.value.code, not_now.value.workflow_status) == ("ILLEGAL_STATUS", "COMPLETED")
    assert not_now.value.workflow_id == run.id
    assert not_now.value.allowed_commands == ("compensate",)
    assert unknown.value.code == "UNKNOWN_DEFINITION"
    assert unknown.value.errors[0]["path"] == "definition"
    assert taken.value.code == "WORKFLOW_EXISTS"
    assert (missing.value.code, missing.value.workflow_id) == ("WORKFLOW_NOT_FOUND", "wf-none")


async def test_what_cannot_be_sent(client: AsyncClient) -> None:
    """It is refused here, before anything is sent."""
    with pytest.raises(UnstorableJson):
        await client.start(ORDER, {"amount": float("nan")})
    with pytest.raises(ValueError, match="idempotency_key"):
        await client.start(ORDER, {}, idempotency_key="ключ")
    with pytest.raises(UnsupportedError, match="over_kafka"):
        client.subscribe(group="shop")


async def test_controls(client: AsyncClient) -> None:
    """Each control is the command of its name."""
    run = await client.start(ORDER, order("o-1", SLOW))
    await run.pause("spill")
    assert (await run.get()).status == "PAUSED"
    await run.signal("paid", {"amount": 3}, idempotency_key="paid-1")
    await run.signal("paid", {"amount": 3}, idempotency_key="paid-1")
    await run.resume("clean")
    await run.result(timeout=30)
    await run.compensate("returned")
    with pytest.raises(WorkflowFailedError, match="returned"):
        await run.result(timeout=30)

    signals = [each for each in await run.history() if each.event_type == SIGNALLED]
    assert [each.data["payload"] for each in signals] == [{"amount": 3}]


async def test_the_events_of_one_workflow(client: AsyncClient) -> None:
    """They come in order until the workflow has ended, from any version on."""
    run = await client.start(ORDER, order("o-1"))

    seen = [event async for event in run.events()]
    later = [event async for event in run.events(after_version=seen[2].version)]

    assert [event.version for event in seen] == list(range(1, len(seen) + 1))
    assert seen[-1].type == "orchestration.workflow.completed"
    assert later == seen[3:]


async def test_lists(client: AsyncClient) -> None:
    """Pages of what the filters hold for."""
    case = new_id("case")
    for number in range(3):
        run = await client.start(ORDER, order(f"o-{number}"), labels={"case": case})
        await run.result(timeout=30)

    async def both_pages() -> list[str]:
        first = await client.list(labels={"case": case}, status=["COMPLETED"], limit=2)
        if first.next_cursor is None:
            return []
        rest = await client.list(
            labels={"case": case}, status=["COMPLETED"], limit=2, cursor=first.next_cursor
        )
        return [item.id for page in (first, rest) for item in page.items]

    async with asyncio.timeout(30):
        while len(found := await both_pages()) < 3:
            pass

    assert len(set(found)) == 3


async def test_a_connection_that_is_lost_in_the_middle_of_a_start(
    client: AsyncClient, proxy: TcpProxy
) -> None:
    """The start is sent again with its key: one workflow, and the caller does not notice."""
    label = new_id("lost")
    async with Client(f"http://127.0.0.1:{proxy.port}") as through_proxy:
        proxy.replies_pass.clear()
        starting = asyncio.create_task(
            through_proxy.start(ORDER, order("o-1"), labels={"try": label})
        )
        async with asyncio.timeout(30):
            while not (await client.list(labels={"try": label})).items:
                pass
        await proxy.cut()
        proxy.replies_pass.set()
        run = await starting
        await run.result(timeout=30)

    page = await client.list(labels={"try": label})
    assert [item.id for item in page.items] == [run.id]


async def test_a_connection_that_is_lost_in_the_middle_of_a_signal(
    client: AsyncClient, proxy: TcpProxy
) -> None:
    """The workflow gets it once, although a signal is possible any number of times."""
    run = await client.start(ORDER, order("o-1", SLOW))
    events = run.events()
    async with Client(f"http://127.0.0.1:{proxy.port}") as through_proxy:
        proxy.replies_pass.clear()
        signalling = asyncio.create_task(through_proxy.workflow(run.id).signal("paid"))
        async with asyncio.timeout(30):
            while (await anext(events)).event_type != SIGNALLED:
                pass
        await proxy.cut()
        proxy.replies_pass.set()
        await signalling
    await run.result(timeout=30)

    signals = [each for each in await run.history() if each.event_type == SIGNALLED]
    assert len(signals) == 1


async def test_no_response_at_all(client: AsyncClient, proxy: TcpProxy) -> None:
    """The outcome is unknown, and with the error's key the start is the same one."""
    async with Client(f"http://127.0.0.1:{proxy.port}", timeout_seconds=0.5) as through_proxy:
        proxy.replies_pass.clear()
        with pytest.raises(OutcomeUnknownError) as unknown:
            await through_proxy.start(ORDER, order("o-1"))
        proxy.replies_pass.set()
    run = await client.start(ORDER, order("o-1"), idempotency_key=unknown.value.idempotency_key)

    assert (await run.get()).idempotency_key == unknown.value.idempotency_key


async def test_nothing_listens() -> None:
    """Nothing was sent, and the error says so."""
    async with Client(f"http://127.0.0.1:{free_port()}", timeout_seconds=0.3) as client:
        with pytest.raises(ServerUnavailableError, match=r"127\.0\.0\.1"):
            await client.start(ORDER, {})
        with pytest.raises(ServerUnavailableError, match=r"127\.0\.0\.1"):
            await client.workflow("wf-1").get()


async def test_a_result_across_a_restart(tmp_path: Path) -> None:
    """A waiting caller does not notice that the service is killed and started again."""
    port = free_port()
    with dev(tmp_path, port) as (program, url):
        async with Client(url) as client:
            run = await client.start(ORDER, order("o-1", SLOW))
            waiting = asyncio.create_task(run.result(timeout=60))
            program.kill()
            with dev(tmp_path, port):
                output = await waiting
                resource = await run.get()

    # The definition has no output.
    assert output == {}
    assert resource.status == "COMPLETED"


# -- without asyncio -----------------------------------------------------------------------------


def listed(client: BlockingClient) -> set[str]:
    return {item.id for item in client.list(definition="reservation", limit=200).items}


def test_blocking(blocking: BlockingClient) -> None:
    """The same methods, without `await`."""
    run = blocking.start("reservation", order("o-1"))
    output = run.result(timeout=30)
    events = list(run.events())

    assert output == run.get().output
    assert [event.version for event in run.history()] == [event.version for event in events]
    assert blocking.workflow(run.id).get().status == "COMPLETED"
    until("the list has it", lambda: run.id in listed(blocking))
    with pytest.raises(RequestRefusedError):
        run.pause()
    with pytest.raises(WorkflowFailedError):
        blocking.start(ORDER, order("o-1", FAILING)).result(timeout=30)


def test_blocking_events_that_are_left_early(blocking: BlockingClient) -> None:
    """Leaving the loop closes what it read from."""
    run = blocking.start(ORDER, order("o-1", SLOW))

    for event in run.events():
        assert event.version == 1
        break


def test_threads_share_a_client(blocking: BlockingClient) -> None:
    """As the threads of a web server do."""
    outputs: list[dict[str, Any]] = []

    def work() -> None:
        outputs.append(blocking.start(ORDER, order("o-1")).result(timeout=30))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(outputs) == 8


def test_an_interrupt(blocking: BlockingClient) -> None:
    """Ctrl-C ends a call that waits, and the client goes on."""
    run = blocking.start(ORDER, order("o-1", SLOW))
    interrupt = threading.Timer(0.3, signal.raise_signal, [signal.SIGINT])

    interrupt.start()
    with pytest.raises(KeyboardInterrupt):
        for _ in run.events():
            pass
    interrupt.join()

    run.result(timeout=30)


def test_a_client_that_is_closed(url: str) -> None:
    """A call says so, instead of waiting forever."""
    with Client(url) as client:
        run = client.workflow("wf-1")

    with pytest.raises(RuntimeError, match="closed"):
        run.get()


def test_a_client_of_before_a_fork(
    blocking: BlockingClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its thread is not in the new process, and a call says so."""
    monkeypatch.setattr("conveyor.blocking_client.os.getpid", lambda: -1)

    with pytest.raises(RuntimeError, match="fork"):
        blocking.list()


def test_a_client_is_opened_once_at_a_time(url: str) -> None:
    """A second opening would close the first one's connections. It can be opened again later."""
    client = Client(url)
    with client, pytest.raises(RuntimeError, match="open"), client:
        pass
    with client as again:
        assert again.list(limit=1).as_of is not None


def test_an_opening_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing stays open, and it can be tried again."""
    monkeypatch.setattr("conveyor.kafka_events._START_SECONDS", 0.2)
    client = Client.over_kafka("127.0.0.1:9", source="/s")

    for _ in range(2):
        with pytest.raises(ServerUnavailableError), client:
            pass


@pytest.mark.parametrize("name", ["start", "workflow", "list", "subscribe"])
def test_a_client_that_is_not_open(name: str) -> None:
    """The error says how to open it."""
    with pytest.raises(RuntimeError, match="with Client"):
        getattr(Client(), name)


def test_the_environment(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The address that the command line uses, too."""
    monkeypatch.setenv("CONVEYOR_URL", url)
    with Client() as client:
        assert client.list(limit=1).as_of is not None


@pytest.mark.parametrize("wrong", ["localhost:8080", "ftp://localhost"])
def test_a_wrong_address(wrong: str) -> None:
    """It is refused when the client is made."""
    with pytest.raises(ValueError, match="not an address"):
        Client(wrong)
