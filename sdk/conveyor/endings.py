"""How a workflow ends, read from its events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from conveyor import types
from conveyor.errors import WorkflowFailedError

#: After such an event a workflow may have ended.
ENDS = frozenset({types.COMPLETED, types.FAILED, types.CANCELLED, types.COMPENSATION_COMPLETED})


class Ending:
    """Takes the events of one workflow in order, and knows after each whether the workflow has ended."""

    def __init__(self, workflow_id: str) -> None:
        self._workflow_id = workflow_id
        self._status: str | None = None
        self._output: dict[str, Any] = {}
        self._code: str | None = None
        self._message = ""

    def take(self, event_type: str, data: Mapping[str, Any]) -> None:
        """Types that have nothing to do with an end change nothing."""
        match event_type:
            case types.COMPLETED:
                self._status, self._output = "COMPLETED", data.get("output") or {}
            case types.FAILED:
                self._status = None if data["willCompensate"] else "FAILED"
                self._code, self._message = data["error"]["errorCode"], data["error"]["message"]
            case types.CANCELLED:
                self._status = None if data["willCompensate"] else "CANCELLED"
                self._code, self._message = "CANCELLED", data.get("reason") or ""
            case types.COMPENSATION_COMPLETED:
                self._status = "COMPENSATED" if data["success"] else "FAILED"
            case types.COMPENSATION_STARTED:
                self._status = None
                if self._code is None:
                    self._message = data.get("reason") or ""
            case types.RETRIED | types.RESET:
                self._status = None
            case _:
                pass

    @property
    def has_come(self) -> bool:
        return self._status is not None

    def result(self) -> dict[str, Any]:
        """The output. Raises WorkflowFailedError for any other end."""
        assert self._status is not None, "the workflow has not ended"
        if self._status == "COMPLETED":
            return self._output
        code = self._code or self._status
        raise WorkflowFailedError(self._workflow_id, self._status, code, self._message)
