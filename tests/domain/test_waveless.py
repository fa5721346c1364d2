"""Release without waves, as far as one workflow is concerned."""

from __future__ import annotations

import pytest

from domain.aggregate.rejection import RejectionCode
from domain.definition.definition import WorkflowType
from domain.workflow.commands import EnableWaveless
from domain.workflow.events import WavelessProcessingEnabled
from tests.domain.definitions import chain
from tests.domain.sagas import Saga


def test_an_eligible_workflow_is_enabled() -> None:
    """The event names the queue and its settings, and the workflow knows its queue."""
    saga = Saga(chain("reserve")).starts()
    assert saga.instance.can_transition_to_waveless

    saga.send(EnableWaveless(release_queue="dock-4", batch_size=5, processing_interval_ms=500))

    enabled = saga.expect_events(WavelessProcessingEnabled).the(WavelessProcessingEnabled)
    assert (enabled.release_queue, enabled.batch_size) == ("dock-4", 5)
    assert enabled.processing_interval_ms == 500
    assert (saga.instance.waveless, saga.instance.release_queue) == (True, "dock-4")


@pytest.mark.parametrize(
    ("workflow_type", "flag", "eligible"),
    [
        ("ORDER_FULFILLMENT", False, True),
        ("RETURNS", True, True),
        ("RETURNS", False, False),
    ],
)
def test_type_or_definition_makes_it_eligible(
    workflow_type: str, flag: bool, eligible: bool
) -> None:
    """A definition may support waveless release by its type or by its own word."""
    definition = chain("reserve", type=WorkflowType(workflow_type), waveless=flag)

    assert Saga(definition).starts().instance.can_transition_to_waveless is eligible


def test_it_is_enabled_once() -> None:
    """A workflow that is waveless already, or started in a queue, is refused."""
    saga = Saga(chain("reserve")).starts(release_queue="default")

    saga.send(EnableWaveless()).expect_refusal(
        RejectionCode.NOT_WAVELESS, "ORDER_FULFILLMENT, EXECUTING"
    )


def test_an_ended_workflow_is_refused() -> None:
    """What has ended is released no more."""
    saga = Saga(chain("reserve")).starts().succeeds("reserve")

    saga.send(EnableWaveless()).expect_refusal(RejectionCode.NOT_WAVELESS, "COMPLETED")
