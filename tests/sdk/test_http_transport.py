"""Requests and replies over HTTP, against a service that answers as it likes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import orjson
import pytest
from conveyor.cloudevents import structured
from conveyor.errors import ServerUnavailableError
from conveyor.http_transport import HttpTransport
from conveyor.keys import KeyRecord, KeyState
from conveyor.messages import Message
from conveyor.participant import Participant
from conveyor.transport import Taken
from conveyor.values import replace

from tests.sdk.requests_of import data_of, running, seal_request, step_request, undo_request
from tests.waiting import until

SERVICE = "inventory-service"
URL = "http://conveyor"
Respond = Callable[[dict[str, Any]], httpx.Response]


class Service:
    """Gives out what it has, once, and keeps the answers."""

    def __init__(self, *requests: dict[str, Any]) -> None:
        self.requests = list(requests)
        self.answers: list[dict[str, Any]] = []
        self.bodies: list[int] = []
        #: Path's end -> what to respond instead.
        self.instead: dict[str, list[httpx.Response]] = {}

    def handle(self, request: httpx.Request) -> httpx.Response:
        body = orjson.loads(request.content)
        call = request.url.path.rpartition("/")[2]
        if self.instead.get(call):
            return self.instead[call].pop(0)
        if call == "take":
            taken, self.requests = self.requests, []
            return httpx.Response(200, content=orjson.dumps({"requests": taken}))
        if call == "answer":
            self.bodies.append(len(request.content))
            self.answers += body["answers"]
            results = [{"lease": each["lease"], "accepted": True} for each in body["answers"]]
            return httpx.Response(200, json={"results": results})
        return httpx.Response(200, json={"extended": body["leases"], "lost": []})

    def transport(self) -> HttpTransport:
        client = httpx.AsyncClient(transport=httpx.MockTransport(self.handle))
        return HttpTransport(URL, worker_id="w-1", client=client)


def lent(message: Message, number: int = 0, **more: Any) -> dict[str, Any]:
    return {"lease": f"lease-{number}", "event": structured(message), "recovered": False, **more}


async def taken_from(transport: HttpTransport) -> list[Taken]:
    await transport.start("inventory", [SERVICE])
    found: list[Taken] = []

    async def look() -> None:
        while not found:
            found.extend(await transport.take(10, 0.1))

    await asyncio.wait_for(look(), 10)
    return found


def participant(output: dict[str, Any]) -> Participant:
    inventory = Participant("inventory")

    @inventory.step(SERVICE, "reserve")
    def reserve() -> dict[str, Any]:
        return output

    @reserve.compensation("release")
    def release() -> None: ...

    assert callable(release)
    return inventory


async def test_a_request_is_what_it_is_on_the_topic() -> None:
    """With its attributes, which the runner reads."""
    message = step_request()
    transport = Service(lent(message)).transport()
    [taken] = await taken_from(transport)
    await transport.close()

    assert taken.message.topic == message.topic
    assert taken.message.extensions == message.extensions
    assert data_of(taken.message) == data_of(message)


@pytest.mark.parametrize(
    ("request_", "key", "record"),
    [
        (lent(step_request()), "wf-1/reserve-inventory/1", KeyRecord()),
        (lent(step_request(), recovered=True), "wf-1/reserve-inventory/1", KeyRecord(claimed=1)),
        (
            lent(seal_request(), recovered=True, asksAbout={"attempt": 2}),
            "wf-1/reserve-inventory/1",
            KeyRecord(claimed=2, request=b'{"attempt":2}'),
        ),
        (
            lent(undo_request(step_output={"n": 1})),
            "wf-1/reserve-inventory/1",
            KeyRecord(state=KeyState.PERFORMED, attempt=1, output=b'{"n":1}'),
        ),
    ],
)
async def test_what_the_service_says_is_the_record(
    request_: dict[str, Any], key: str, record: KeyRecord
) -> None:
    """A request that was given out before, a seal of one, and the step that an undo is for."""
    transport = Service(request_).transport()
    await taken_from(transport)

    assert (await transport.key_store.open({key: 1}))[key] == record
    await transport.close()


async def test_answers_go_out_together() -> None:
    """One call for a batch of them, each with its lease."""
    service = Service(*(lent(step_request(f"wf-{n}"), n) for n in range(20)))
    transport = service.transport()
    async with running(participant({"n": 1}), transport, transport.key_store):
        await until(lambda: len(service.answers) == 20)

    assert {each["lease"] for each in service.answers} == {f"lease-{n}" for n in range(20)}
    assert len(service.bodies) < 20


async def test_large_answers_are_shared_out() -> None:
    """No body is larger than what the service takes."""
    output = {"text": "x" * 400_000}
    service = Service(*(lent(step_request(f"wf-{n}"), n) for n in range(6)))
    transport = service.transport()
    async with running(participant(output), transport, transport.key_store):
        await until(lambda: len(service.answers) == 6)

    assert max(service.bodies) <= 1024 * 1024


async def test_a_server_that_is_away_is_asked_again() -> None:
    """Taking and answering, whatever stands in between responds."""
    service = Service(lent(step_request()))
    service.instead = {
        "take": [httpx.Response(503, text="<html>"), httpx.Response(200, text="no JSON")],
        "answer": [httpx.Response(502), httpx.Response(429), httpx.Response(408)],
    }
    transport = service.transport()
    async with running(participant({}), transport, transport.key_store):
        await until(lambda: service.answers)

    assert [each["lease"] for each in service.answers] == ["lease-0"]


async def test_answers_that_are_refused_end_nothing() -> None:
    """The lease ends, and the request comes again."""
    service = Service(lent(step_request("wf-1"), 1))
    service.instead = {"answer": [httpx.Response(413, json={"code": "TOO_LARGE", "detail": ""})]}
    transport = service.transport()
    async with running(participant({}), transport, transport.key_store):
        await until(lambda: not service.instead["answer"])
        service.requests = [lent(step_request("wf-2"), 2)]
        await until(lambda: service.answers)

    assert [each["lease"] for each in service.answers] == ["lease-2"]


async def test_a_finish_that_fails_is_raised() -> None:
    """The runner calls again until the answer is stored."""
    service = Service(lent(step_request()))
    transport = service.transport()
    taken = await taken_from(transport)
    service.instead = {"answer": [httpx.Response(503)]}
    reply = Message(
        topic="orchestration.step.replies",
        key="wf-1",
        type="orchestration.step.completed",
        source="/test",
        id="r",
        data=b"{}",
        extensions={"causationid": taken[0].message.id},
    )

    with pytest.raises(ServerUnavailableError):
        await transport.finish(taken, [reply])
    await transport.finish(taken, [reply])
    await transport.close()
    assert len(service.answers) == 1


async def test_the_record_of_a_verification_is_not_kept() -> None:
    """A worker that runs for months keeps records of requests that it has, and of no others."""
    asked = step_request()
    key = f"{asked.extensions['idempotencykey']}/verify"
    asked = replace(asked, extensions={**asked.extensions, "idempotencykey": key})
    service = Service(lent(asked, 1))
    transport = service.transport()
    store = transport.key_store
    async with running(participant({"verified": True}), transport, store):
        await until(lambda: bool(service.answers))
        kept = await store.open({f"{key}/1": 0})

    [answer] = service.answers
    assert answer["event"]["idempotencykey"] == key
    assert kept == {f"{key}/1": KeyRecord()}


async def test_a_seal_knows_what_the_worker_did_meanwhile() -> None:
    """It lost its lease while it performed the step, and is asked what became of it: it knows."""
    service = Service(lent(step_request(), 1))
    transport = service.transport()
    began, go_on = asyncio.Event(), asyncio.Event()
    slow = Participant("slow")

    @slow.step(SERVICE, "reserve")
    async def reserve() -> dict[str, int]:
        began.set()
        await go_on.wait()
        return {"n": 1}

    assert callable(reserve)
    async with running(slow, transport, transport.key_store):
        await began.wait()
        asked = data_of(step_request())
        service.requests = [lent(seal_request(), 2, recovered=True, asksAbout=asked)]
        await until(lambda: not service.requests)
        go_on.set()
        await until(lambda: len(service.answers) == 2)

    assert [each["lease"] for each in service.answers] == ["lease-1", "lease-2"]
    sealed = service.answers[1]["event"]["data"]
    assert sealed["performed"] is True
    assert sealed["output"] == {"n": 1}
