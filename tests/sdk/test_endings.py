"""How a workflow ended, from its events."""

from __future__ import annotations

import pytest
from conveyor import types
from conveyor.endings import Ending

ERROR = {"errorCode": "NO", "message": "no"}


@pytest.mark.parametrize("goes_on", [types.RETRIED, types.RESET, types.COMPENSATION_STARTED])
def test_a_failed_workflow_may_go_on(goes_on: str) -> None:
    """By a retry, a reset or a compensation: then its failure was not its end."""
    ending = Ending("wf-1")
    ending.take(types.FAILED, {"willCompensate": False, "error": ERROR})
    assert ending.has_come

    ending.take(goes_on, {"reason": "again"})
    assert not ending.has_come

    ending.take(types.COMPLETED, {"output": {"n": 1}})
    assert ending.result() == {"n": 1}
