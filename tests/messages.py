"""Messages that a producer sends to a workflow."""

from __future__ import annotations

from typing import Any

from conveyor import topics
from conveyor.messages import Message


def message_of(
    message_type: str, data: bytes = b"{}", workflow_id: str = "wf-1", **fields: Any
) -> Message:
    """A message on the commands topic; `fields` override the defaults of the others."""
    defaults: dict[str, Any] = {
        "topic": topics.COMMANDS,
        "key": workflow_id,
        "subject": workflow_id,
        "source": "/test",
        "id": "1",
    }
    return Message(type=message_type, data=data, **defaults | fields)
