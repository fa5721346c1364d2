"""The worker protocol: take, answer, extend (CONTRACT 7)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from tests.adapters.rest.service import DEFINITIONS, Json, Service, start_of
from tests.waiting import eventually

PARTICIPANTS = "/api/v1/participants"
TRIAL: Json = {
    "name": "trial",
    "version": 1,
    "type": "TRIAL",
    "onFailure": "compensate",
    "steps": [
        {
            "id": "lift",
            "service": "crane",
            "operation": "lift",
            "timeoutMs": 2000,
            "retry": {"maxRetries": 0},
            "compensation": {"operation": "lower"},
        },
        {
            "id": "weigh",
            "kind": "read-only",
            "service": "scale",
            "operation": "weigh",
            "retry": {"maxRetries": 0},
        },
    ],
}


@pytest.fixture
async def trial(unattended: Service) -> Service:
    response = await unattended.client.post(DEFINITIONS, json=TRIAL)
    assert response.status_code == 201, response.text
    return unattended


async def post(service: Service, path: str, **body: Any) -> httpx.Response:
    return await service.client.post(f"{PARTICIPANTS}/{path}", json=body)


async def take(service: Service, name: str, **more: Any) -> list[Json]:
    body = {"workerId": "w-1", "max": 10, "waitSeconds": 10, "leaseSeconds": 30, **more}
    response = await post(service, f"{name}/take", **body)
    assert response.status_code == 200, response.text
    return response.json()["requests"]


async def answer(service: Service, name: str, lease: str, **event: Any) -> httpx.Response:
    return await post(service, f"{name}/answer", lease=lease, event=event)


def completed(output: Mapping[str, Any] | None = None) -> Json:
    return {"type": "orchestration.step.completed", "data": {"output": output or {}}}


def failed(code: str, **more: Any) -> Json:
    error = {"code": code, "message": "not possible", "type": "BUSINESS_RULE_VIOLATION", **more}
    return {"type": "orchestration.step.failed", "data": {"error": error}}


async def start(service: Service, workflow_id: str = "wf-1") -> None:
    response = await service.start({"id": workflow_id, "definition": "trial", "input": {}})
    assert response.status_code == 201, response.text


async def test_a_workflow_is_performed_by_workers(trial: Service) -> None:
    """Each request comes with a lease; its answer is what the workflow goes on with."""
    await start(trial)
    [lift] = await take(trial, "crane")
    response = await answer(trial, "crane", lift["lease"], **completed({"height": 3}))
    [weigh] = await take(trial, "scale")
    await answer(trial, "scale", weigh["lease"], **completed())
    resource = await trial.until("wf-1", "COMPLETED")

    assert response.status_code == 202
    assert lift["recovered"] is False
    assert lift["event"]["type"] == "orchestration.step.requested"
    assert lift["event"]["idempotencykey"] == "wf-1/lift/1"
    assert lift["event"]["data"]["operation"] == "lift"
    assert resource["steps"][0]["output"] == {"height": 3}


async def test_what_was_done_is_undone_by_workers(trial: Service) -> None:
    """A final failure leads to an undo, which is a request like any other."""
    await start(trial)
    [lift] = await take(trial, "crane")
    await answer(trial, "crane", lift["lease"], **completed({"height": 3}))
    [weigh] = await take(trial, "scale")
    await answer(trial, "scale", weigh["lease"], **failed("TOO_HEAVY", retryable=False))
    [lower] = await take(trial, "crane")
    await answer(trial, "crane", lower["lease"], **completed())
    resource = await trial.until("wf-1", "COMPENSATED")

    assert lower["event"]["type"] == "orchestration.step.compensation-requested"
    assert lower["event"]["data"]["stepOutput"] == {"height": 3}
    assert resource["compensatedSteps"] == ["lift"]


async def test_many_answers_at_once(trial: Service) -> None:
    """Each has its result: a bad one costs no other."""
    for number in range(3):
        await start(trial, f"wf-{number}")
    taken: list[Json] = []
    while len(taken) < 3:
        taken += await take(trial, "crane")
    answers = [{"lease": each["lease"], "event": completed()} for each in taken]
    answers[1]["event"] = {"type": "orchestration.step.completed", "data": {"attempt": 7}}
    answers.append({"lease": "unknown", "event": completed()})
    response = await post(trial, "crane/answer", answers=answers)

    assert response.status_code == 200
    results = response.json()["results"]
    assert [each["accepted"] for each in results] == [True, False, True, False]
    assert results[1]["code"] == "INVALID_INPUT"
    assert "attempt" in results[1]["detail"]
    assert results[3]["code"] == "LEASE_LOST"


async def test_no_request_is_lent_twice(trial: Service) -> None:
    """Two workers of a service share its requests."""
    for number in range(5):
        await start(trial, f"wf-{number}")
    first = await take(trial, "crane", max=3)
    second = await take(trial, "crane", max=3)
    third = await take(trial, "crane", waitSeconds=0)

    keys = [each["event"]["idempotencykey"] for each in first + second]
    assert len(set(keys)) == len(keys)
    assert third == []


async def test_take_waits_for_the_first_request(trial: Service) -> None:
    """It returns as soon as there is one."""
    taking = asyncio.create_task(take(trial, "crane", waitSeconds=30))
    await start(trial)
    async with asyncio.timeout(10):
        taken = await taking

    assert len(taken) == 1


async def test_an_answer_counts_once(trial: Service) -> None:
    """The lease ends with its answer."""
    await start(trial)
    [lift] = await take(trial, "crane")
    first = await answer(trial, "crane", lift["lease"], **completed({"height": 3}))
    second = await answer(trial, "crane", lift["lease"], **completed({"height": 4}))
    resource = await eventually(lambda: _with_output(trial))

    assert (first.status_code, second.status_code) == (202, 409)
    assert second.json()["code"] == "LEASE_LOST"
    assert resource["steps"][0]["output"] == {"height": 3}


async def _with_output(service: Service) -> Json | None:
    resource = await service.get("wf-1")
    return resource if resource["steps"][0]["output"] is not None else None


async def test_leases_are_extended(trial: Service) -> None:
    """Those that run, and the others are named."""
    await start(trial)
    [lift] = await take(trial, "crane", leaseSeconds=5)
    response = await post(
        trial, "crane/extend", leases=[lift["lease"], "unknown"], leaseSeconds=300
    )

    assert response.status_code == 200
    assert response.json() == {"extended": [lift["lease"]], "lost": ["unknown"]}


@pytest.mark.parametrize("call", ["take", "answer", "extend"])
async def test_an_unknown_service(trial: Service, call: str) -> None:
    """A name that no definition has is probably misspelt; leases of it do not exist."""
    bodies: dict[str, Json] = {
        "take": {"workerId": "w-1"},
        "answer": {"lease": "x", "event": completed()},
        "extend": {"leases": ["x"]},
    }
    response = await post(trial, f"crain/{call}", **bodies[call])

    status, code = {
        "take": (404, "UNKNOWN_SERVICE"),
        "answer": (409, "LEASE_LOST"),
        "extend": (200, None),
    }[call]
    assert response.status_code == status
    assert response.json().get("code") == code


@pytest.mark.parametrize(
    ("event", "path"),
    [
        ({"type": "orchestration.step.sealed", "data": {"performed": True}}, "event.type"),
        ({"data": {}}, "event.type"),
        ({"type": "orchestration.step.completed"}, "event.data"),
        ({"type": "orchestration.step.completed", "data": []}, "event.data"),
        ({**completed(), "idempotencykey": "wf-2/lift/1"}, "event.idempotencykey"),
        (
            {"type": "orchestration.step.completed", "data": {"workflowId": "wf-2"}},
            "event.data.workflowId",
        ),
        ({"type": "orchestration.step.failed", "data": {}}, "event.data.data"),
    ],
)
async def test_an_answer_that_cannot_be_meant(trial: Service, event: Json, path: str) -> None:
    """It is refused with what is wrong, and the lease goes on."""
    await start(trial)
    [lift] = await take(trial, "crane")
    response = await answer(trial, "crane", lift["lease"], **event)
    again = await answer(trial, "crane", lift["lease"], **completed())

    assert response.status_code == 422
    assert [fault["path"] for fault in response.json()["errors"]] == [path]
    assert again.status_code == 202


@pytest.mark.parametrize(
    ("call", "body"),
    [
        ("take", {}),
        ("take", {"workerId": "w", "max": 101}),
        ("take", {"workerId": "w", "leaseSeconds": 4}),
        ("take", {"workerId": "w", "waitSeconds": 31}),
        ("take", {"workerId": "w", "limit": 1}),
        ("answer", {"lease": "x"}),
        ("answer", {"answers": []}),
        ("answer", {"lease": "x", "event": {}, "answers": [{"lease": "x", "event": {}}]}),
        ("extend", {"leases": []}),
    ],
)
async def test_bad_bodies(trial: Service, call: str, body: Json) -> None:
    """Every fault is named."""
    response = await post(trial, f"crane/{call}", **body)

    assert response.status_code == 422
    assert response.json()["errors"]


async def test_a_lost_request_is_sealed_by_a_worker(trial: Service) -> None:
    """A worker takes a step and is gone. The next one is asked for its outcome, and undoes what was done."""
    await start(trial)
    [lost] = await take(trial, "crane", leaseSeconds=5)
    [seal] = await take(trial, "crane", waitSeconds=30)
    event = {"type": "orchestration.step.sealed", "data": {"performed": True, "output": {"n": 1}}}
    response = await answer(trial, "crane", seal["lease"], **event)
    [lower] = await take(trial, "crane")
    await answer(trial, "crane", lower["lease"], **completed())
    await trial.until("wf-1", "COMPENSATED")
    late = await answer(trial, "crane", lost["lease"], **completed())

    assert seal["event"]["type"] == "orchestration.step.seal-requested"
    assert seal["asksAbout"]["operation"] == "lift"
    assert response.status_code == 202
    assert lower["event"]["data"]["stepOutput"] == {"n": 1}
    assert late.status_code == 409


async def test_a_participant_of_the_process_steps_back(service: Service) -> None:
    """While workers take from a service they have all of its requests, the other services go on."""
    assert await take(service, "warehouse-service", waitSeconds=0) == []
    await service.start({"id": "wf-1", **start_of()})
    [pick] = await take(service, "warehouse-service", waitSeconds=30)
    await answer(service, "warehouse-service", pick["lease"], **completed({"pickId": "mine"}))
    resource = await service.until("wf-1", "COMPLETED")

    outputs = {each["stepId"]: each["output"] for each in resource["steps"]}
    assert outputs["pick-items"] == {"pickId": "mine"}
    assert outputs["pack-items"]["packageId"]
