"""`POST /api/v1/workflows`."""

from __future__ import annotations

import asyncio
import re
import uuid
from pathlib import Path

import pytest

from adapters.rest.schemas import StartedResponse
from application.use_cases.control import DECISION_SECONDS
from domain.aggregate.ids import derived_id
from tests.adapters.rest.service import WORKFLOWS, Json, Service, order, serving, start_of


async def test_started(service: Service) -> None:
    """A start answers 201 with the place of the workflow and the workflow itself."""
    response = await service.start({"id": "wf-1", **start_of()})

    assert response.status_code == 201
    assert response.headers["location"] == "/api/v1/workflows/wf-1"
    resource = response.json()
    assert resource["id"] == "wf-1"
    assert resource["workflowDefinitionId"] == "order-fulfillment-v1"
    assert resource["inputParameters"] == order()
    StartedResponse.model_validate(resource)
    at_location = (await service.client.get(response.headers["location"])).json()
    assert at_location["version"] >= resource["version"]


async def test_a_service_that_nobody_reads(service: Service) -> None:
    """The start is taken, and says what the workflow will wait for."""
    undo = {"operation": "forget"}
    step = {"id": "look", "service": "nowhere", "operation": "look", "compensation": undo}
    document = {"name": "lost", "version": 1, "type": "LOST", "steps": [step]}
    registered = await service.client.post("/api/v1/definitions", json=document)
    assert registered.status_code == 201, registered.text

    response = await service.start({"definition": "lost"})

    assert response.status_code == 201
    [warning] = response.json()["warnings"]
    assert warning.startswith("nowhere: nobody has ever read its requests")


async def test_id_of_its_own(service: Service) -> None:
    """Without an id and without a key every start makes a new workflow under a UUID."""
    first = await service.start(start_of())
    second = await service.start(start_of())

    assert (first.status_code, second.status_code) == (201, 201)
    assert uuid.UUID(first.json()["id"]) != uuid.UUID(second.json()["id"])


async def test_wait_for_the_end(service: Service) -> None:
    """With `wait` the answer is the ended workflow."""
    response = await service.start(start_of(), wait=20)

    assert response.status_code == 201
    assert response.json()["status"] == "COMPLETED"
    assert response.json()["progress"] == 100


async def test_wait_for_a_compensation(service: Service) -> None:
    """A workflow that fails and compensates has ended when it is compensated, not before."""
    response = await service.start(start_of(failStep="pick-items"), wait=20)

    assert response.json()["status"] == "COMPENSATED"
    assert response.json()["compensatedSteps"] == [
        "assign-robot",
        "charge-payment",
        "reserve-inventory",
    ]
    StartedResponse.model_validate(response.json())


async def test_wait_is_over(unattended: Service) -> None:
    """When the wait is over first, the answer is the workflow as it is."""
    response = await unattended.start(start_of(), wait=0.2)

    assert response.status_code == 201
    assert response.json()["status"] == "EXECUTING"


@pytest.mark.parametrize("wait", ["-1", "61", "soon", "nan", "inf", ""])
async def test_wait_out_of_range(undecided: Service, wait: str) -> None:
    """A wait that is no number of 0 to 60 seconds is refused by its name."""
    response = await undecided.client.post(WORKFLOWS, json=start_of(), params={"wait": wait})

    assert response.status_code == 422
    assert [fault["path"] for fault in response.json()["errors"]] == ["wait"]


async def test_misspelt_option(undecided: Service) -> None:
    """A query parameter that does not exist is refused, not ignored."""
    response = await undecided.client.post(f"{WORKFLOWS}?wiat=5", json=start_of())

    assert response.status_code == 422
    assert [fault["path"] for fault in response.json()["errors"]] == ["wiat"]


# -- idempotency ---------------------------------------------------------------------------------


async def test_derived_id(service: Service) -> None:
    """A key without an id makes the id that the same start over Kafka gets."""
    response = await service.start(start_of(), Idempotency_Key="order-1")

    resource = response.json()
    assert resource["id"] == derived_id("default", "order-fulfillment", "order-1")
    assert resource["idempotencyKey"] == "order-1"


async def test_repeated(service: Service) -> None:
    """The same key and payload again answers 200 with the one workflow, also long after its end."""
    first = await service.start(start_of(), Idempotency_Key="order-1", wait=20)

    again = await service.start(start_of(), Idempotency_Key="order-1")
    in_the_body = await service.start({**start_of(), "idempotencyKey": "order-1"}, wait=20)

    assert (first.status_code, again.status_code, in_the_body.status_code) == (201, 200, 200)
    assert {answer.json()["id"] for answer in (first, again, in_the_body)} == {first.json()["id"]}
    assert again.json()["completedAt"] == first.json()["completedAt"]
    assert again.headers["location"] == first.headers["location"]


async def test_repeated_under_another_name(service: Service) -> None:
    """Definition by name, by id and with its version are the same payload."""
    names: list[Json] = [
        {"definition": "order-fulfillment"},
        {"definition": "order-fulfillment-v1"},
        {"definitionId": "order-fulfillment-v1"},
        {"definition": "order-fulfillment", "version": 1},
        {"definition": "order-fulfillment-v1", "version": 1},
    ]

    answers = [
        await service.start({**name, "input": order()}, Idempotency_Key="order-1") for name in names
    ]

    assert [answer.status_code for answer in answers] == [201, 200, 200, 200, 200]
    assert len({answer.json()["id"] for answer in answers}) == 1


async def test_repeated_at_once(service: Service) -> None:
    """Of equal starts at the same time exactly one is the first."""
    answers = await asyncio.gather(
        *(service.start(start_of(), Idempotency_Key="order-1") for _ in range(20))
    )

    statuses = [answer.status_code for answer in answers]
    assert sorted(statuses) == [200] * 19 + [201]
    assert len({answer.json()["id"] for answer in answers}) == 1


async def test_repeated_through_a_proxy(service: Service) -> None:
    """A repeated request is the same one although its correlation id is another."""
    first = await service.start(start_of(), Idempotency_Key="k", X_Correlation_ID="corr-1")
    again = await service.start(start_of(), Idempotency_Key="k", X_Correlation_ID="corr-2")

    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json()["correlationId"] == "corr-1"


async def test_same_idempotency_key_for_another_start(service: Service) -> None:
    """The key of another payload is a conflict."""
    await service.start(start_of(1), Idempotency_Key="order-1")

    response = await service.start(start_of(2), Idempotency_Key="order-1")

    assert response.status_code == 409
    assert response.json()["code"] == "IDEMPOTENCY_CONFLICT"
    assert response.json()["type"] == "urn:conveyor:problem:idempotency-conflict"


async def test_id_is_taken(service: Service) -> None:
    """An id that exists is a conflict, which tells how the workflow is."""
    await service.start({"id": "wf-1", **start_of()}, wait=20)

    response = await service.start({"id": "wf-1", **start_of()})

    problem = response.json()
    assert response.status_code == 409
    assert (problem["code"], problem["workflowStatus"]) == ("WORKFLOW_EXISTS", "COMPLETED")
    assert problem["allowedCommands"] == ["compensate"]


# -- an engine that does not answer --------------------------------------------------------------


async def test_undecided(undecided: Service) -> None:
    """When the engine does not answer, 202 tells where the workflow will be."""
    loop = asyncio.get_running_loop()
    begun = loop.time()

    response = await undecided.start({"id": "wf-1", **start_of()})

    assert loop.time() - begun >= DECISION_SECONDS
    assert response.status_code == 202
    assert response.headers["location"] == "/api/v1/workflows/wf-1"
    document = response.json()
    assert set(document) == {"id", "commandId", "status"}
    assert (document["id"], document["status"]) == ("wf-1", "PENDING")


async def test_decided_in_silence(tmp_path: Path) -> None:
    """Without an event to go by, the stored workflow decides between 200 and the conflicts."""
    path = tmp_path / "conveyor.db"
    async with serving(path) as before:
        await before.start({"id": "wf-1", **start_of()}, Idempotency_Key="order-1", wait=20)
    async with serving(path, with_engine=False) as silent:
        body: Json = {"id": "wf-1", **start_of()}
        same, other, none = await asyncio.gather(
            silent.start(body, Idempotency_Key="order-1"),
            silent.start({"id": "wf-1", **start_of(2)}, Idempotency_Key="order-1"),
            silent.start(body),
        )

    assert (same.status_code, same.json()["status"]) == (200, "COMPLETED")
    assert (other.status_code, other.json()["code"]) == (409, "IDEMPOTENCY_CONFLICT")
    assert (none.status_code, none.json()["code"]) == (409, "WORKFLOW_EXISTS")


# -- faults --------------------------------------------------------------------------------------


async def test_every_fault(undecided: Service) -> None:
    """Whatever is wrong with a start is told at once, and nothing is sent."""
    body = {
        "id": "re/served",
        "definition": "order-fulfillment",
        "input": {"lines": [{"sku": "A", "quantity": 0}]},
        "priority": "URGENT",
        "colour": "red",
    }
    sent = (await undecided.store.topic("orchestration.workflow.commands")).end

    response = await undecided.client.post(
        WORKFLOWS, json=body, headers={"Idempotency-Key": "x" * 300}
    )

    problem = response.json()
    assert response.status_code == 422
    assert response.headers["content-type"] == "application/problem+json"
    assert problem["code"] == "INVALID_INPUT"
    assert {fault["path"] for fault in problem["errors"]} == {
        "id",
        "priority",
        "colour",
        "Idempotency-Key",
        "input.orderId",
        "input.lines[0].quantity",
    }
    assert (await undecided.store.topic("orchestration.workflow.commands")).end == sent


@pytest.mark.parametrize(
    "asked",
    [
        {"definition": "nothing"},
        {"definition": "order-fulfillment", "version": 99},
        {"definition": "order-fulfillment-v99"},
        {"definitionId": "order-fulfillment-v99"},
    ],
)
async def test_unknown_definition(undecided: Service, asked: Json) -> None:
    """A definition or version that is not registered is refused with its own code."""
    response = await undecided.start({**asked, "input": order()})

    assert response.status_code == 422
    assert response.json()["code"] == "UNKNOWN_DEFINITION"
    assert [fault["path"] for fault in response.json()["errors"]] == [next(iter(asked))]


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"id": ""}, "id"),
        ({"id": "x" * 37}, "id"),
        ({"id": "-x"}, "id"),
        ({"id": "rebalance"}, "id"),
        ({"id": "inbox:0"}, "id"),
        ({"id": 7}, "id"),
        ({"definition": None}, "data"),
        ({"definition": 7}, "definition"),
        ({"definitionId": "order-fulfillment"}, "data"),
        ({"version": 0}, "version"),
        ({"input": []}, "input"),
        ({"input": None}, "input"),
        ({"labels": {"a": 1}}, "labels.a"),
        ({"dueAt": "tomorrow"}, "dueAt"),
        ({"timeoutSeconds": -1}, "timeoutSeconds"),
        ({"releaseQueue": "default"}, "releaseQueue"),
        ({"lockKey": "order-1"}, "lockKey"),
    ],
)
async def test_faulty_field(undecided: Service, change: Json, path: str) -> None:
    """A field of a wrong kind is refused by its name."""
    response = await undecided.start({**start_of(), **change})

    assert response.status_code == 422
    assert path in [fault["path"] for fault in response.json()["errors"]]


async def test_two_idempotency_keys(undecided: Service) -> None:
    """A header and a field that name different keys contradict each other."""
    response = await undecided.start({**start_of(), "idempotencyKey": "a"}, Idempotency_Key="b")

    assert response.status_code == 422
    assert [fault["path"] for fault in response.json()["errors"]] == ["idempotencyKey"]


@pytest.mark.parametrize("body", [b"", b"{", b"{'a': 1}", b"\xff", b"[" * 5000])
async def test_no_json(undecided: Service, body: bytes) -> None:
    """A body that is no JSON is a 400."""
    response = await undecided.client.post(WORKFLOWS, content=body)

    assert response.status_code == 400
    assert response.json()["code"] == "NOT_JSON"


@pytest.mark.parametrize(
    "body",
    [b"[]", b'"text"', b"7", b"null", b"true", b'{"input": NaN}', b'"\\ud800"'],
)
async def test_no_object(undecided: Service, body: bytes) -> None:
    """JSON that is no object, or cannot be stored, is a 422."""
    response = await undecided.client.post(WORKFLOWS, content=body)

    assert response.status_code == 422
    assert response.json()["errors"]


async def test_deeply_nested(undecided: Service) -> None:
    """A body that the engine could not read is refused here."""
    nested = b"[" * 600 + b"]" * 600
    body = b'{"definition": "order-fulfillment", "input": {"x": ' + nested + b"}}"

    response = await undecided.client.post(WORKFLOWS, content=body)

    assert response.status_code == 422
    assert response.json()["errors"][0]["path"].startswith("input.x[0][0]")


async def test_refused_by_the_engine(service: Service) -> None:
    """What only the engine can tell is refused with its code: here that a message would be too large."""
    text = "x" * 1_020_000

    response = await service.start({**start_of(), "metadata": {"text": text}})

    assert response.status_code == 413
    assert response.json()["code"] == "TOO_LARGE"


# -- correlation and trace -----------------------------------------------------------------------


@pytest.mark.parametrize("given", [" ", " corr-1", "corr-1 ", "corr\u00e9", "corr\n1"])
async def test_a_correlation_id_that_a_header_cannot_hold(service: Service, given: str) -> None:
    """It is the workflow's all the same; the answer has one of its own."""
    response = await service.start({**start_of(), "correlationId": given})

    assert response.json()["correlationId"] == given
    assert re.fullmatch(r"[0-9a-f-]{36}", response.headers["X-Correlation-ID"])


async def test_correlation_id_from_the_header(service: Service) -> None:
    """The header's correlation id is the workflow's when the body names none."""
    from_header = await service.start(start_of(), X_Correlation_ID="corr-1")
    from_body = await service.start(
        {**start_of(), "correlationId": "corr-2"}, X_Correlation_ID="corr-1"
    )
    only_body = await service.start({**start_of(), "correlationId": "corr-3"})

    assert from_header.json()["correlationId"] == "corr-1"
    assert from_header.headers["X-Correlation-ID"] == "corr-1"
    assert from_body.json()["correlationId"] == "corr-2"
    assert from_body.headers["X-Correlation-ID"] == "corr-1"
    assert only_body.headers["X-Correlation-ID"] == "corr-3"


async def test_traceparent(service: Service) -> None:
    """The trace of the request goes on in the workflow's events; what is no trace is left out."""
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    await service.start({"id": "wf-1", **start_of()}, traceparent=trace)
    await service.start({"id": "wf-2", **start_of()}, traceparent="nonsense")

    traced = (await service.client.get(f"{WORKFLOWS}/wf-1/history")).json()["items"][0]["data"]
    untraced = (await service.client.get(f"{WORKFLOWS}/wf-2/history")).json()["items"][0]["data"]
    assert traced["traceparent"] == trace
    assert "traceparent" not in untraced


async def test_all_fields(service: Service) -> None:
    """Every field of a start reaches the workflow."""
    fields = {
        "priority": "HIGH",
        "correlationId": "corr-1",
        "triggeredBy": "shop",
        "userId": "u-1",
        "wallet": "w-1",
        "tenant": "north",
        "labels": {"channel": "web"},
        "metadata": {"note": [1, 2]},
        "dueAt": "2026-11-21T03:30:00.000Z",
        "timeoutSeconds": 60,
        "maxRetries": 1,
    }

    response = await service.start({**start_of(), **fields})

    assert response.status_code == 201
    resource = response.json()
    assert {name: resource[name] for name in fields} == fields
