"""Production mode: steps that answer after their time-out, and what was then really done."""

from __future__ import annotations

from typing import Any

import pytest

from tests.acceptance.programs import until
from tests.acceptance.sites import RunningSite, new_id

pytestmark = [pytest.mark.e2e, pytest.mark.kafka, pytest.mark.mongo, pytest.mark.redis]
pytestmark += [pytest.mark.slow, pytest.mark.timeout(180)]

UNDONE = ["return-items", "unassign", "refund", "release"]


def test_late_picks(site: RunningSite) -> None:
    """A late success completes; a pick that is later than all retries, or cancelled, is sealed and undone."""
    late, too_late, cancelled = new_id("late"), new_id("too-late"), new_id("cancelled")
    site.start(late, {"failStep": "pick-items", "times": 0, "latencyMs": 6_000})
    site.start(too_late, {"failStep": "pick-items", "latencyMs": 40_000, "times": 0})
    site.start(cancelled, {"failStep": "pick-items", "latencyMs": 40_000, "times": 0})
    site.flush()

    until("the pick of the one to cancel", lambda: _is_picking(site, cancelled))
    answer = site.http.put(f"/api/v1/workflows/{cancelled}/cancel", json={"reason": "changed mind"})
    waiting = answer.json()
    site.courses.until_ended([late, too_late, cancelled], seconds=90)

    assert answer.status_code == 200
    assert waiting["unresolved"] == ["pick-items"]
    assert waiting["cancelReason"] == "changed mind"
    _assert_completed_late(site, late)
    _assert_sealed_and_undone(site, too_late)
    _assert_sealed_and_undone(site, cancelled)
    assert site.courses.of_type(too_late, "failed")[0]["error"]["errorType"] == "TIMEOUT"
    assert len(site.courses.of_type(too_late, "step.failed")) == 4
    assert "cancelled" in site.courses.types(cancelled)


def _is_picking(site: RunningSite, workflow_id: str) -> bool:
    site.courses.read()
    scheduled = site.courses.of_type(workflow_id, "step.scheduled")
    return any(event["stepId"] == "pick-items" for event in scheduled)


def _assert_completed_late(site: RunningSite, workflow_id: str) -> None:
    [time_out] = site.courses.of_type(workflow_id, "step.failed")
    [picked] = [
        event
        for event in site.courses.of_type(workflow_id, "step.executed")
        if event["stepId"] == "pick-items"
    ]
    assert time_out["errorType"] == "TIMEOUT"
    assert picked["attempt"] == 1
    assert site.courses.end_of(workflow_id) == "completed"
    assert site.operations(workflow_id).count("pick") == 1


def _seal_answers(site: RunningSite, workflow_id: str) -> list[dict[str, Any]]:
    """What the participant answered to the engine's question whether the step was performed."""
    site.replies.poll()
    return [
        reply.data
        for reply in site.replies.records
        if reply.key == workflow_id and reply.type == "orchestration.step.sealed"
    ]


def _assert_sealed_and_undone(site: RunningSite, workflow_id: str) -> None:
    """Nothing is undone before the pick has told what it did; then all of it is, and nothing stays picked."""
    types = site.courses.types(workflow_id)
    answers = until("the seal's answer", lambda: _seal_answers(site, workflow_id))
    # The pick's own late reply comes just before the answer to the seal, and tells the same.
    picked_at = types.index("step.executed", types.index("step.unresolved"))
    assert all(answer["performed"] and answer["output"]["pickId"] for answer in answers)
    assert "step.compensated" not in types[:picked_at]
    assert site.operations(workflow_id) == ["reserve", "charge", "assign", "pick", *UNDONE]
    resource = site.http.get(f"/api/v1/workflows/{workflow_id}").json()
    assert resource["status"] == "COMPENSATED"
    assert resource["unresolved"] == []
