"""Repairs, previews, and commands for one version only, over REST."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.rest.schemas import Preview
from tests.adapters.rest.service import WORKFLOWS, Service, start_of

WF_1 = f"{WORKFLOWS}/wf-1"
STEP = f"{WF_1}/steps/charge-payment"
WHY = {"reason": "the bank is back"}


@pytest.fixture
async def at_work(unattended: Service) -> Service:
    """`wf-1` waits for its payment, which nobody answers."""
    await unattended.start({"id": "wf-1", **start_of()})
    done = {"stepId": "reserve-inventory", "result": {"output": {"reservationId": "res-1"}}}
    await unattended.client.post(f"{WF_1}/steps/execute", json=done)
    return unattended


async def fail(service: Service) -> None:
    """The payment fails for a passing reason, and waits for its retry."""
    error = {"code": "AWAY", "type": "SERVICE_UNAVAILABLE"}
    body = {"stepId": "charge-payment", "result": {"error": error}}
    assert (await service.client.post(f"{WF_1}/steps/execute", json=body)).status_code == 200


async def preview(service: Service, **body: Any) -> Preview:
    response = await service.client.post(f"{WF_1}/preview", json=body)
    assert response.status_code == 200, response.text
    return Preview.model_validate(response.json())


async def history(service: Service) -> list[dict[str, Any]]:
    return (await service.client.get(f"{WF_1}/history")).json()["items"]


async def test_retry_now(at_work: Service) -> None:
    """The attempt goes out at once; its event says who wanted it, and why."""
    await fail(at_work)
    response = await at_work.client.post(f"{STEP}/retry-now", json=WHY)
    again = await at_work.client.post(f"{STEP}/retry-now", json=WHY)

    assert response.status_code == 200
    assert response.json()["steps"][1]["attempt"] == 2
    assert (again.status_code, again.json()["code"]) == (409, "ILLEGAL_STATUS")
    [sent] = [e for e in await history(at_work) if e["data"].get("reason") == WHY["reason"]]
    assert (sent["eventType"], sent["actor"]) == ("WorkflowStepScheduledEvent", "local")


async def test_skip(at_work: Service) -> None:
    """Refused while something reads the output, or while it may have been performed."""
    running = await at_work.client.post(f"{STEP}/skip", json=WHY)
    assert (running.status_code, running.json()["code"]) == (409, "ILLEGAL_STATUS")
    assert running.json()["allowedCommands"] == ["pause", "cancel", "signal"]

    needed = await at_work.client.post(f"{WF_1}/steps/assign-robot/skip", json=WHY)
    assert (needed.status_code, needed.json()["code"]) == (409, "DEPENDENCY_NOT_MET")
    assert "complete the step" in needed.json()["detail"]

    await fail(at_work)
    skipped = await at_work.client.post(f"{STEP}/skip", json=WHY)
    assert skipped.status_code == 200
    assert skipped.json()["currentStepId"] == "assign-robot"

    ahead = await at_work.client.post(f"{WF_1}/steps/pack-items/skip", json=WHY)
    assert ahead.status_code == 200
    assert [s["status"] for s in ahead.json()["steps"] if s["stepId"] == "pack-items"] == [
        "SKIPPED"
    ]


async def test_complete(at_work: Service) -> None:
    """What was done by hand is the step's output."""
    body = {**WHY, "output": {"paymentId": "by-hand"}}
    response = await at_work.client.post(f"{STEP}/complete", json=body)

    assert response.status_code == 200
    charged = response.json()["steps"][1]
    assert (charged["status"], charged["output"]) == ("COMPLETED", {"paymentId": "by-hand"})


async def test_reset(at_work: Service) -> None:
    """A paused workflow goes back to a step that is done, and from there in a new round."""
    body = {**WHY, "toStep": "reserve-inventory"}
    running = await at_work.client.post(f"{WF_1}/reset", json=body)
    assert (running.status_code, running.json()["code"]) == (409, "ILLEGAL_STATUS")

    await at_work.client.put(f"{WF_1}/pause")
    seen = await preview(at_work, command="reset", **body)
    assert [(e.step_id, e.only_if_performed) for e in seen.undo] == [
        ("charge-payment", True),
        ("reserve-inventory", False),
    ]
    response = await at_work.client.post(f"{WF_1}/reset", json=body)
    assert (response.status_code, response.json()["status"]) == (200, "COMPENSATING")


async def test_patch(at_work: Service) -> None:
    """Fields of the input and of the metadata; each is an event with what was there before."""
    body = {"reason": "typing error", "input": {"note": "x"}, "context": {"shift": 2}}
    response = await at_work.client.patch(WF_1, json=body)

    assert response.status_code == 200
    assert response.json()["inputParameters"]["note"] == "x"
    assert response.json()["metadata"] == {"shift": 2}
    patched = [e["data"] for e in await history(at_work) if "patched" in e["type"]]
    assert [(e["path"], e["after"], e["reason"]) for e in patched] == [
        ("input.note", "x", "typing error"),
        ("context.shift", 2, "typing error"),
    ]

    needed = await at_work.client.patch(WF_1, json={**WHY, "input": {"orderId": "ORD-2"}})
    assert (needed.status_code, needed.json()["code"]) == (409, "DEPENDENCY_NOT_MET")
    wrong = await at_work.client.patch(WF_1, json={**WHY, "input": {"lines": []}})
    assert (wrong.status_code, wrong.json()["errors"][0]["path"]) == (422, "input.lines")


@pytest.mark.parametrize(
    ("method", "path", "body", "missing"),
    [
        ("POST", f"{STEP}/skip", {}, "reason"),
        ("POST", f"{STEP}/retry-now", {"reason": ""}, "reason"),
        ("POST", f"{STEP}/complete", {"output": {}}, "reason"),
        ("PATCH", WF_1, {"input": {"n": 1}}, "reason"),
        ("PATCH", WF_1, {"reason": "none"}, "data"),
        ("POST", f"{WF_1}/preview", {}, "command"),
        ("POST", f"{WF_1}/preview", {"command": "destroy"}, "command"),
    ],
)
async def test_bad_bodies(
    undecided: Service, method: str, path: str, body: dict[str, Any], missing: str
) -> None:
    """Each names the field, and a repair always needs its reason."""
    response = await undecided.client.request(method, path, json=body)
    assert (response.status_code, response.json()["code"]) == (422, "INVALID_INPUT")
    assert response.json()["errors"][0]["path"] == missing


async def test_an_unknown_step(at_work: Service) -> None:
    """The refusal names the steps that there are."""
    response = await at_work.client.post(f"{WF_1}/steps/fly/skip", json=WHY)
    assert response.status_code == 422
    assert "it has reserve-inventory, charge-payment" in response.json()["detail"]


# -- preview -------------------------------------------------------------------------------------


async def test_what_a_cancel_would_undo(at_work: Service) -> None:
    """Nothing happens, and the steps are named in the order in which they would be undone."""
    before = await at_work.get("wf-1")
    undone = await preview(at_work, command="cancel", compensate=True)
    left = await preview(at_work, command="cancel", compensate=False)

    assert (undone.allowed, undone.status_after, undone.version) == (True, "COMPENSATING", 4)
    assert [(e.step_id, e.operation, e.only_if_performed) for e in undone.undo] == [
        ("charge-payment", "refund", True),
        ("reserve-inventory", "release", False),
    ]
    assert undone.lost == []
    assert left.status_after == "CANCELLED"
    assert left.undo == []
    assert [e.step_id for e in left.lost] == ["reserve-inventory", "charge-payment"]
    assert await at_work.get("wf-1") == before


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"command": "retry"}, "ILLEGAL_STATUS"),
        ({"command": "step.skip", "stepId": "charge-payment", "reason": "x"}, "ILLEGAL_STATUS"),
        ({"command": "step.skip", "stepId": "charge-payment"}, "INVALID_INPUT"),
        ({"command": "pause", "reson": "x"}, "INVALID_INPUT"),
    ],
)
async def test_what_would_be_refused(at_work: Service, body: dict[str, Any], code: str) -> None:
    """With the code and the sentence of the refusal."""
    found = await preview(at_work, **body)
    assert not found.allowed
    assert [refusal.code for refusal in found.refusals] == [code]
    assert found.status_after == "EXECUTING"


# -- versions ------------------------------------------------------------------------------------


async def test_a_command_for_one_version(at_work: Service) -> None:
    """The ETag of a read is the condition of a command; what has changed since is not overlooked."""
    read = await at_work.client.get(WF_1)
    stale = {"If-Match": read.headers["etag"]}
    await at_work.client.post(f"{WF_1}/signal", json={"name": "truck"})

    refused = await at_work.client.put(f"{WF_1}/pause", headers=stale)
    assert (refused.status_code, refused.json()["code"]) == (412, "STALE")
    assert refused.json()["workflowStatus"] == "EXECUTING"

    fresh = {"If-Match": (await at_work.client.get(WF_1)).headers["etag"]}
    paused = await at_work.client.put(f"{WF_1}/pause", headers=fresh)
    assert (paused.status_code, paused.json()["status"]) == (200, "PAUSED")
    assert paused.headers["etag"] == f'"{paused.json()["version"]}"'
    anyhow = await at_work.client.put(f"{WF_1}/resume", headers={"If-Match": "*"})
    assert anyhow.status_code == 200


@pytest.mark.parametrize("value", ["7", 'W/"7"', '"x"', '"0"', ""])
async def test_a_condition_that_is_none(undecided: Service, value: str) -> None:
    """It must not be taken for a command without a condition."""
    response = await undecided.client.put(f"{WF_1}/pause", headers={"If-Match": value})
    assert (response.status_code, response.json()["errors"][0]["path"]) == (422, "If-Match")


async def test_a_workflow_as_it_was(at_work: Service) -> None:
    """After any of its events."""
    now = await at_work.get("wf-1")
    first = (await at_work.client.get(WF_1, params={"version": 1})).json()
    last = (await at_work.client.get(WF_1, params={"version": now["version"]})).json()
    later = await at_work.client.get(WF_1, params={"version": now["version"] + 1})
    nobody = await at_work.client.get(f"{WORKFLOWS}/wf-2", params={"version": 1})
    zero = await at_work.client.get(WF_1, params={"version": 0})

    assert (first["version"], first["executedSteps"]) == (1, [])
    assert last == now
    assert (later.status_code, later.json()["errors"][0]["path"]) == (422, "version")
    assert f"1 to {now['version']}" in later.json()["detail"]
    assert (nobody.status_code, zero.status_code) == (404, 422)
