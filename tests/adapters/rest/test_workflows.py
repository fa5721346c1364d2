"""Reading workflows: the list, one, its status and its history."""

from __future__ import annotations

import pytest

from adapters.rest.schemas import HistoryPage, WorkflowStatusResponse
from tests.adapters.rest.lists import listed, until_listed
from tests.adapters.rest.service import WORKFLOWS, Service, start_of

UNKNOWN = ["wf-none", "rebalance", "inbox:0", "-x", "x" * 37, "a b"]


# -- the list ------------------------------------------------------------------------------------


async def test_newest_first(service: Service) -> None:
    """The list begins with the newest workflow, or by `sort` with the oldest."""
    for number in range(3):
        await service.start({"id": f"wf-{number}", **start_of(number)}, wait=20)

    assert await until_listed(service, 3) == ["wf-2", "wf-1", "wf-0"]
    assert await listed(service, "sort=startedAt") == ["wf-0", "wf-1", "wf-2"]


async def test_pages(service: Service) -> None:
    """`limit` and `nextCursor` go through the list without gap or repetition."""
    for number in range(5):
        await service.start({"id": f"wf-{number}", **start_of(number)}, wait=20)
    await until_listed(service, 5)

    seen: list[str] = []
    cursor = ""
    while cursor is not None:
        query = "limit=2" + (f"&cursor={cursor}" if cursor else "")
        page = (await service.client.get(f"{WORKFLOWS}?{query}")).json()
        seen += [item["id"] for item in page["items"]]
        cursor = page["nextCursor"]

    assert seen == ["wf-4", "wf-3", "wf-2", "wf-1", "wf-0"]


async def test_filters(service: Service) -> None:
    """Every filter leaves those that match."""
    fields = {
        "correlationId": "corr-1",
        "userId": "u-1",
        "wallet": "w-1",
        "labels": {"channel": "web", "note": "a:b"},
    }
    await service.start({"id": "good", **start_of(), **fields}, wait=20)
    failing = start_of(2, failStep="pick-items")
    await service.start({"id": "bad", **failing, "labels": {"channel": "web"}}, wait=20)
    started_at = (await service.get("bad"))["startedAt"]
    await until_listed(service, 2, "active=false")

    assert await listed(service, "status=COMPLETED") == ["good"]
    assert await listed(service, "status=COMPLETED&status=COMPENSATED") == ["bad", "good"]
    assert await listed(service, "status=FAILED") == []
    assert await listed(service, "active=true") == []
    assert await listed(service, "type=ORDER_FULFILLMENT") == ["bad", "good"]
    assert await listed(service, "type=OTHER") == []
    assert await listed(service, "definition=order-fulfillment") == ["bad", "good"]
    assert await listed(service, "correlationId=corr-1") == ["good"]
    assert await listed(service, "userId=u-1&wallet=w-1") == ["good"]
    assert await listed(service, "label=channel:web") == ["bad", "good"]
    assert await listed(service, "label=channel:web&label=note:a:b") == ["good"]
    assert await listed(service, f"startedBefore={started_at}") == ["good"]
    assert await listed(service, f"startedAfter={started_at}") == []
    assert await listed(service, "startedAfter=2020-01-01T00:00:00Z") == ["bad", "good"]


async def test_item_of_the_list(service: Service) -> None:
    """An item is the workflow without its steps and data."""
    await service.start({"id": "wf-1", **start_of()}, wait=20)
    await until_listed(service, 1, "status=COMPLETED")

    item = (await service.client.get(WORKFLOWS)).json()["items"][0]

    resource = await service.get("wf-1")
    left_out = {"steps", "executionContext", "inputParameters", "output"}
    assert item == {name: value for name, value in resource.items() if name not in left_out}


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=many", "limit"),
        ("status=DONE", "status.0"),
        ("status=", "status.0"),
        ("active=perhaps", "active"),
        ("label=channel", "label.0"),
        ("label=:web", "label.0"),
        ("startedAfter=yesterday", "startedAfter"),
        ("startedBefore=2026-11-21T02:30:00", "startedBefore"),
        ("sort=version", "sort"),
        ("incident=INTERN", "incident"),
        ("incident=", "incident"),
        ("cursor=nonsense", "cursor"),
        ("cursor=", "cursor"),
        ("definition=", "definition"),
        ("statsu=FAILED", "statsu"),
    ],
)
async def test_wrong_parameter(undecided: Service, query: str, parameter: str) -> None:
    """A parameter that cannot be used is refused by its name."""
    response = await undecided.client.get(f"{WORKFLOWS}?{query}")

    assert response.status_code == 422
    assert response.json()["code"] == "INVALID_INPUT"
    assert [fault["path"] for fault in response.json()["errors"]] == [parameter]


# -- one -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("workflow_id", UNKNOWN)
@pytest.mark.parametrize("route", ["", "/status", "/history"])
async def test_unknown(undecided: Service, workflow_id: str, route: str) -> None:
    """What does not exist, or never could, is a 404 on every route."""
    response = await undecided.client.get(f"{WORKFLOWS}/{workflow_id}{route}")

    assert response.status_code == 404
    assert response.json()["code"] == "WORKFLOW_NOT_FOUND"


async def test_status(service: Service) -> None:
    """The status is the part of the workflow that pollers need."""
    resource = (await service.start({"id": "wf-1", **start_of()}, wait=20)).json()

    response = await service.client.get(f"{WORKFLOWS}/wf-1/status")

    assert response.json() == {
        "id": "wf-1",
        "status": "COMPLETED",
        "version": resource["version"],
        "progress": 100,
        "currentStepId": None,
        "compensationStatus": "NONE",
    }
    WorkflowStatusResponse.model_validate(response.json())


async def test_read_your_writes(service: Service) -> None:
    """No reading is older than an answer that was given before it."""
    for number in range(20):
        answered = (await service.start({"id": f"wf-{number}", **start_of(number)})).json()

        assert (await service.get(f"wf-{number}"))["version"] >= answered["version"]


# -- history -------------------------------------------------------------------------------------


async def test_history(service: Service) -> None:
    """The history holds every event, without a gap, with what caused it."""
    resource = (await service.start({"id": "wf-1", **start_of()}, wait=20)).json()

    response = await service.client.get(f"{WORKFLOWS}/wf-1/history")

    page = response.json()
    HistoryPage.model_validate(page)
    assert [item["version"] for item in page["items"]] == list(range(1, resource["version"] + 1))
    assert page["items"][0]["type"] == "orchestration.workflow.started"
    assert page["items"][0]["eventId"] == "wf-1:1"
    assert page["items"][-1]["eventType"] == "WorkflowCompletedEvent"
    assert all(item["causationId"] for item in page["items"])


async def test_history_in_pages(service: Service) -> None:
    """`after` and `limit` go through the history in parts."""
    resource = (await service.start({"id": "wf-1", **start_of()}, wait=20)).json()

    versions: list[int] = []
    after: str | None = "0"
    while after is not None:
        query = f"after={after}&limit=3"
        page = (await service.client.get(f"{WORKFLOWS}/wf-1/history?{query}")).json()
        versions += [item["version"] for item in page["items"]]
        after = page["nextCursor"]

    assert versions == list(range(1, resource["version"] + 1))


async def test_history_filtered(service: Service) -> None:
    """`type` and `kind` leave those events only, and none of an existing workflow is an empty page."""
    failing = start_of(failStep="pick-items")
    await service.start({"id": "wf-1", **failing}, wait=20)
    history = f"{WORKFLOWS}/wf-1/history"

    executed = await service.client.get(f"{history}?type=orchestration.workflow.step.executed")
    saga = await service.client.get(f"{history}?kind=SAGA_COMPENSATION")
    none = await service.client.get(f"{history}?type=orchestration.workflow.paused")

    assert [item["data"]["stepId"] for item in executed.json()["items"]] == [
        "reserve-inventory",
        "charge-payment",
        "assign-robot",
    ]
    assert saga.json()["items"]
    assert {item["kind"] for item in saga.json()["items"]} == {"SAGA_COMPENSATION"}
    assert none.json() == {"workflowId": "wf-1", "items": [], "nextCursor": None}


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("after=-1", "after"),
        ("after=last", "after"),
        ("type=", "type"),
        ("sort=version", "sort"),
    ],
)
async def test_wrong_history_parameter(undecided: Service, query: str, parameter: str) -> None:
    """A parameter that cannot be used is refused by its name."""
    response = await undecided.client.get(f"{WORKFLOWS}/wf-1/history?{query}")

    assert response.status_code == 422
    assert [fault["path"] for fault in response.json()["errors"]] == [parameter]
