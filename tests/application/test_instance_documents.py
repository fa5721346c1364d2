"""A stored document holds the whole state of a workflow (PROTOCOL rule 12)."""

from __future__ import annotations

from application.codec.instances import from_document, to_document
from domain.workflow.instance import WorkflowInstance
from tests.domain.sagas import Saga
from tests.domain.test_unusable_output import stored_by_an_older_version

APPLIED = {"applied": [], "commandIds": []}


def stored(instance: WorkflowInstance) -> WorkflowInstance:
    """The instance after it was written and read."""
    document = to_document(instance, 0, APPLIED)
    return from_document(document, lambda _, __: instance.definition)


def test_an_undo_that_failed_before_its_first_attempt_keeps_its_error() -> None:
    saga: Saga = stored_by_an_older_version().fails("charge")
    assert saga.instance.steps["reserve"].undo.error is not None

    assert stored(saga.instance) == saga.instance


def test_open_incidents_are_part_of_the_state() -> None:
    saga = stored_by_an_older_version().fails("charge")
    assert saga.instance.incidents

    assert stored(saga.instance).incidents == saga.instance.incidents
