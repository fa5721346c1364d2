"""What `conveyor workflow history` says of incidents."""

from __future__ import annotations

from infrastructure.cli.history import Attempts, described


def test_an_incident_and_its_end() -> None:
    about = {"stepId": "charge", "code": "SEAL_UNANSWERED"}
    raised = {"type": "orchestration.workflow.incident-raised", "data": {**about, "detail": "d"}}
    resolved = {
        "type": "orchestration.workflow.incident-resolved",
        "data": {**about, "resolution": "its service has answered"},
    }

    words = [described({"version": 9, **event}, Attempts(iter(()))) for event in (raised, resolved)]

    assert words == [
        "charge: SEAL_UNANSWERED: d",
        "charge: SEAL_UNANSWERED: its service has answered",
    ]
