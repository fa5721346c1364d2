"""Resources as clients see them: all that the API shows. What a newer service adds does no harm."""

from __future__ import annotations

import msgspec
import pytest
from conveyor import resources
from conveyor.values import Value
from pydantic import BaseModel

from adapters.rest import schemas
from domain.workflow.status import WorkflowStatus

PAIRS: list[tuple[type[Value], type[BaseModel]]] = [
    (resources.WorkflowResource, schemas.WorkflowResponse),
    (resources.WorkflowSummary, schemas.WorkflowListItem),
    (resources.WorkflowPage, schemas.WorkflowPage),
    (resources.WorkflowError, schemas.WorkflowErrorResponse),
    (resources.Incident, schemas.IncidentResponse),
    (resources.Step, schemas.StepResponse),
    (resources.RetryPolicy, schemas.RetryPolicyResponse),
    (resources.CompensationAction, schemas.CompensationActionResponse),
]


@pytest.mark.parametrize(("resource", "schema"), PAIRS)
def test_fields(resource: type[Value], schema: type[BaseModel]) -> None:
    """A resource has the fields of its schema, under the same names."""
    fields = {field.encode_name for field in msgspec.structs.fields(resource)}

    assert fields == {field.alias for field in schema.model_fields.values()}


def test_an_event() -> None:
    """It has the fields of a history item; whose event it is, and where a subscription goes on."""
    fields = {field.encode_name for field in msgspec.structs.fields(resources.Event)}

    items = {field.alias for field in schemas.HistoryEvent.model_fields.values()}
    assert fields == (items - {"kind"}) | {"workflowId", "position"}


def test_what_a_newer_service_adds() -> None:
    """Unknown fields are left out, and an unknown status is a text like any other."""
    page = msgspec.json.decode(
        b'{"items": [], "nextCursor": null, "asOf": "2026-11-21T02:30:00.123Z", "new": {"a": 1}}',
        type=resources.WorkflowPage,
    )

    assert page.items == ()
    assert page.as_of.tzinfo is not None


def test_active() -> None:
    """The same statuses are active as in the engine."""
    assert {each.value for each in WorkflowStatus if each.is_active} == resources.ACTIVE
