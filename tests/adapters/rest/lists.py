"""Reading the list of workflows."""

from __future__ import annotations

from adapters.rest.schemas import WorkflowPage
from tests.adapters.rest.service import WORKFLOWS, Service
from tests.waiting import eventually


async def listed(service: Service, query: str = "") -> list[str]:
    """The ids on one page."""
    response = await service.client.get(f"{WORKFLOWS}?{query}")
    assert response.status_code == 200, response.text
    WorkflowPage.model_validate(response.json())
    return [item["id"] for item in response.json()["items"]]


async def until_listed(service: Service, count: int, query: str = "") -> list[str]:
    """The page once the list has caught up: it may be a second behind."""

    async def has_all() -> list[str] | None:
        found = await listed(service, query)
        return found if len(found) == count else None

    return await eventually(has_all)
