"""Values that are nested deeply: what is accepted can be written and read again, everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
from conveyor.payloads import NESTING_MAX

from domain.definition.limits import MAX_TEMPLATE_DEPTH
from tests.adapters.rest.service import DEFINITIONS, WORKFLOWS, Json, Service, serving
from tests.waiting import eventually

#: More than any reader of JSON takes.
TOO_DEEP = 210


def nested(depth: int, inner: Any) -> Any:
    for _ in range(depth):
        inner = {"a": inner}
    return inner


async def test_the_deepest_input_in_the_deepest_template(tmp_path: Path) -> None:
    """The deepest accepted input, put as deep into a step's input as may be, ends no engine."""
    async with serving(tmp_path / "deep.db", with_warehouse=False) as service:
        registered = await service.client.post(DEFINITIONS, json=definition(MAX_TEMPLATE_DEPTH))
        refused = await service.client.post(DEFINITIONS, json=definition(MAX_TEMPLATE_DEPTH + 1))

        depth, workflow_id = await deepest_start(service)
        resource = await service.get(workflow_id)

        async def listed() -> Json | None:
            page = (await service.client.get(WORKFLOWS, params={"definition": "deep"})).json()
            return page["items"][0] if page["items"] else None

        # Lists show what was projected: the engine would have died of that.
        item = await eventually(listed)
        again = await service.client.post(WORKFLOWS, json={"definition": "deep", "input": {}})

    assert (registered.status_code, refused.status_code) == (201, 422)
    # The body and the input are two levels of their own.
    assert depth == NESTING_MAX - 2
    assert resource["steps"][0]["inputData"] == nested(MAX_TEMPLATE_DEPTH, nested(depth, 1))
    assert item["id"] == workflow_id
    assert again.status_code == 201


def definition(depth: int) -> dict[str, Any]:
    step = {
        "id": "pack",
        "service": "packing-service",
        "operation": "pack",
        "input": nested(depth, "input.deep"),
        "compensation": {"operation": "unpack"},
    }
    return {"name": "deep", "version": depth, "type": "PARCEL", "steps": [step]}


async def deepest_start(service: Service) -> tuple[int, str]:
    """Starts with less and less nested inputs, until one is accepted."""
    for depth in range(TOO_DEEP, 0, -1):
        body = {"definition": "deep", "input": {"deep": nested(depth, 1)}}
        response = await service.client.post(WORKFLOWS, content=orjson.dumps(body))
        if response.status_code == 201:
            return depth, response.json()["id"]
        assert response.status_code in (400, 422)
    raise AssertionError("nothing was accepted")
