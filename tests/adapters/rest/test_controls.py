"""Commands on a workflow: `PUT /api/v1/workflows/{id}/cancel` and the others."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.rest.schemas import WorkflowResponse
from tests.adapters.rest.lists import listed, until_listed
from tests.adapters.rest.service import WORKFLOWS, Json, Service, serving, start_of
from tests.waiting import eventually

CONTROLS = ["cancel", "compensate"]


async def test_cancel(unattended: Service) -> None:
    """A cancel answers 200 with the workflow as it is after it, the reason kept."""
    before = (await unattended.start({"id": "wf-1", **start_of()})).json()

    response = await unattended.client.put(
        f"{WORKFLOWS}/wf-1/cancel", json={"reason": "changed my mind", "compensate": False}
    )

    assert response.status_code == 200
    resource = response.json()
    WorkflowResponse.model_validate(resource)
    assert resource["status"] == "CANCELLED"
    assert resource["cancelReason"] == "changed my mind"
    assert resource["version"] > before["version"]


async def test_cancel_undoes_what_was_done(service: Service) -> None:
    """By the definition's choice a cancel compensates."""
    slow = start_of(failStep="pick-items", times=0, latencyMs=3000)
    await service.start({"id": "wf-1", **slow})
    await eventually(lambda: _is_at(service, "pick-items"))

    response = await service.client.put(f"{WORKFLOWS}/wf-1/cancel")

    assert response.status_code == 200
    assert response.json()["status"] == "COMPENSATING"
    resource = await service.until("wf-1", "COMPENSATED")
    assert resource["cancelReason"] is None
    assert "reserve-inventory" in resource["compensatedSteps"]


async def _is_at(service: Service, step_id: str) -> Json | None:
    resource = await service.get("wf-1")
    return resource if resource["currentStepId"] == step_id else None


async def test_compensate(service: Service) -> None:
    """A completed workflow is undone on demand, the reason told to the participants."""
    await service.start({"id": "wf-1", **start_of()}, wait=20)

    response = await service.client.put(f"{WORKFLOWS}/wf-1/compensate", json={"reason": "returned"})

    assert response.status_code == 200
    assert response.json()["status"] in ("COMPENSATING", "COMPENSATED")
    resource = await service.until("wf-1", "COMPENSATED")
    assert len(resource["compensatedSteps"]) == 5


@pytest.mark.parametrize("control", CONTROLS)
@pytest.mark.parametrize("workflow_id", ["wf-none", "rebalance", "-x"])
async def test_unknown(service: Service, control: str, workflow_id: str) -> None:
    """A workflow that does not exist is a 404."""
    response = await service.client.put(f"{WORKFLOWS}/{workflow_id}/{control}")

    assert response.status_code == 404
    assert response.json()["code"] == "WORKFLOW_NOT_FOUND"


async def test_not_in_this_status(service: Service) -> None:
    """A command that the status forbids is a 409, which tells what is possible instead."""
    await service.start({"id": "wf-1", **start_of()}, wait=20)

    response = await service.client.put(f"{WORKFLOWS}/wf-1/cancel", json={"reason": "too late"})

    problem = response.json()
    assert response.status_code == 409
    assert response.headers["content-type"] == "application/problem+json"
    assert (problem["code"], problem["workflowStatus"]) == ("ILLEGAL_STATUS", "COMPLETED")
    assert problem["allowedCommands"] == ["compensate"]
    assert problem["instance"] == "/api/v1/workflows/wf-1/cancel"


async def test_compensate_while_running(unattended: Service) -> None:
    """Only a workflow that has ended is compensated."""
    await unattended.start({"id": "wf-1", **start_of()})

    response = await unattended.client.put(f"{WORKFLOWS}/wf-1/compensate")

    assert response.status_code == 409
    assert response.json()["workflowStatus"] == "EXECUTING"
    assert "cancel" in response.json()["allowedCommands"]


@pytest.mark.parametrize(
    ("control", "body", "path"),
    [
        ("cancel", b'{"reason": 7}', "reason"),
        ("cancel", b'{"compensate": "perhaps"}', "compensate"),
        ("cancel", b'{"raeson": "x"}', "raeson"),
        ("compensate", b'{"compensate": true}', "compensate"),
        ("compensate", b"[]", "data"),
    ],
)
async def test_faulty_body(undecided: Service, control: str, body: bytes, path: str) -> None:
    """A body with a fault is refused before anything is sent."""
    response = await undecided.client.put(f"{WORKFLOWS}/wf-1/{control}", content=body)

    assert response.status_code == 422
    assert [fault["path"] for fault in response.json()["errors"]] == [path]


@pytest.mark.parametrize("control", CONTROLS)
async def test_no_json(undecided: Service, control: str) -> None:
    """A body that is no JSON is a 400."""
    response = await undecided.client.put(f"{WORKFLOWS}/wf-1/{control}", content=b"reason")

    assert response.status_code == 400
    assert response.json()["code"] == "NOT_JSON"


async def test_undecided(tmp_path: Path) -> None:
    """When the engine does not answer, 202 tells the command's id and the status so far."""
    path = tmp_path / "conveyor.db"
    async with serving(path) as before:
        await before.start({"id": "wf-1", **start_of()}, wait=20)
    async with serving(path, with_engine=False) as silent:
        response = await silent.client.put(f"{WORKFLOWS}/wf-1/compensate")

    assert response.status_code == 202
    document = response.json()
    assert (document["id"], document["status"]) == ("wf-1", "COMPLETED")
    assert document["commandId"]


async def test_pause_and_resume(unattended: Service) -> None:
    """A paused workflow begins nothing until it is resumed; each answer shows the state after it."""
    await unattended.start({"id": "wf-1", **start_of()})

    paused = await unattended.client.put(f"{WORKFLOWS}/wf-1/pause", json={"reason": "spill"})
    again = await unattended.client.put(f"{WORKFLOWS}/wf-1/pause")
    resumed = await unattended.client.put(f"{WORKFLOWS}/wf-1/resume")

    assert (paused.status_code, paused.json()["status"]) == (200, "PAUSED")
    assert (again.status_code, again.json()["allowedCommands"][0]) == (409, "resume")
    assert (resumed.status_code, resumed.json()["status"]) == (200, "EXECUTING")


async def test_retry(service: Service) -> None:
    """Only a failed workflow is retried."""
    await service.start({"id": "wf-1", **start_of()}, wait=20)

    response = await service.client.put(f"{WORKFLOWS}/wf-1/retry")

    assert response.status_code == 409
    assert response.json()["code"] == "ILLEGAL_STATUS"


async def test_signal(unattended: Service) -> None:
    """The payload of a signal stands in the workflow's history, with who sent it."""
    await unattended.start({"id": "wf-1", **start_of()})

    body = {"name": "arrived", "payload": {"dock": 4}}
    response = await unattended.client.post(f"{WORKFLOWS}/wf-1/signal", json=body)
    nameless = await unattended.client.post(f"{WORKFLOWS}/wf-1/signal", json={})

    assert response.status_code == 200
    assert nameless.status_code == 422
    history = (await unattended.client.get(f"{WORKFLOWS}/wf-1/history")).json()["items"]
    assert history[-1]["data"]["payload"] == {"dock": 4}
    assert history[-1]["actor"] == "local"


async def test_execute_step(unattended: Service) -> None:
    """A participant's outcome is recorded in its name."""
    await unattended.start({"id": "wf-1", **start_of()})

    body = {"stepId": "reserve-inventory", "result": {"output": {"reservationId": "res-1"}}}
    response = await unattended.client.post(f"{WORKFLOWS}/wf-1/steps/execute", json=body)

    assert response.status_code == 200
    assert response.json()["executedSteps"] == ["reserve-inventory"]


async def test_force_compensate(unattended: Service) -> None:
    """Whatever a saga is stuck at, its administrator can force it, in the embedded mode too."""
    await unattended.start({"id": "wf-1", **start_of()})
    done = {"stepId": "reserve-inventory", "result": {"output": {}}}
    await unattended.client.post(f"{WORKFLOWS}/wf-1/steps/execute", json=done)
    failed = {
        "stepId": "charge-payment",
        "result": {"error": {"code": "X", "type": "BUSINESS_RULE_VIOLATION"}},
    }
    await unattended.client.post(f"{WORKFLOWS}/wf-1/steps/execute", json=failed)
    stuck = await unattended.get("wf-1")

    forced = await unattended.client.post("/admin/workflows/wf-1/force-compensate")

    assert stuck["status"] == "COMPENSATING"
    assert stuck["allowedCommands"] == ["force-compensate"]
    assert forced.status_code == 200
    assert forced.json()["version"] > stuck["version"]


async def test_an_open_incident_is_shown(unattended: Service) -> None:
    """Somebody gave a step up that may have been performed: the workflow says what to look at, and since when.

    It is found in the list by the incident.
    """
    await unattended.start({"id": "wf-1", **start_of()})
    done = {"stepId": "reserve-inventory", "result": {"output": {}}}
    await unattended.client.post(f"{WORKFLOWS}/wf-1/steps/execute", json=done)
    await unattended.client.put(f"{WORKFLOWS}/wf-1/cancel")
    assert (await unattended.get("wf-1"))["incidents"] == []

    forced = await unattended.client.post("/admin/workflows/wf-1/force-compensate")

    resource = await unattended.get("wf-1")
    assert forced.json()["incidents"] == resource["incidents"]
    (incident,) = resource["incidents"]
    assert (incident["code"], incident["stepId"]) == ("UNRESOLVED", "charge-payment")
    assert incident["raisedAt"] <= resource["updatedAt"]
    assert "look at its service" in incident["detail"]
    WorkflowResponse.model_validate(resource)
    for wanted in ("any", "UNRESOLVED"):
        assert await until_listed(unattended, 1, f"incident={wanted}") == ["wf-1"]
    assert await listed(unattended, "incident=INTERNAL") == []


async def test_only_json(undecided: Service) -> None:
    """A web page can send text without asking; the service does not take it."""
    for media_type in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        response = await undecided.client.put(
            f"{WORKFLOWS}/wf-1/cancel", content=b"{}", headers={"content-type": media_type}
        )
        assert response.status_code == 415
        assert response.json()["code"] == "UNSUPPORTED_MEDIA_TYPE"


async def test_a_repeated_command_is_carried_out_once(service: Service) -> None:
    """By its idempotency key, with the same body; another body is another command."""
    slow = start_of(failStep="pick-items", times=0, latencyMs=3000)
    await service.start({"id": "wf-1", **slow})

    async def signal(name: str) -> int:
        response = await service.client.post(
            f"{WORKFLOWS}/wf-1/signal", json={"name": name}, headers={"Idempotency-Key": "k"}
        )
        return response.status_code

    statuses = [await signal("a"), await signal("a"), await signal("b")]

    history = await service.client.get(
        f"{WORKFLOWS}/wf-1/history", params={"type": "orchestration.workflow.signalled"}
    )
    assert statuses == [200, 200, 200]
    assert [item["data"]["name"] for item in history.json()["items"]] == ["a", "b"]


@pytest.mark.parametrize("key", ["", "k" * 256])
async def test_a_key_that_cannot_be(service: Service, key: str) -> None:
    """It is refused as that of a start is."""
    response = await service.client.put(f"{WORKFLOWS}/wf-1/pause", headers={"Idempotency-Key": key})

    assert response.status_code == 422
    assert response.json()["errors"][0]["path"] == "Idempotency-Key"
