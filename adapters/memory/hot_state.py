"""Hot state in dictionaries."""

from __future__ import annotations

from collections.abc import Sequence

from application.ports import Document
from domain.workflow.status import WorkflowStatus


class MemoryHotState:
    """`HotState` in memory. Remembers permanently at which version an instance ended."""

    def __init__(self, owner: str) -> None:
        #: The newest state of each active instance, by id.
        self.states: dict[str, Document] = {}
        #: `<owner>:<version>` of each active instance, by id.
        self.locks: dict[str, str] = {}
        self._owner = owner
        self._versions: dict[str, int] = {}

    async def save(self, documents: Sequence[Document]) -> None:
        for document in documents:
            workflow_id, version = document["_id"], document["version"]
            if version <= self._versions.get(workflow_id, 0):
                continue
            self._versions[workflow_id] = version
            if WorkflowStatus(document["status"]).is_terminal:
                self.states.pop(workflow_id, None)
                self.locks.pop(workflow_id, None)
            else:
                self.states[workflow_id] = document
                self.locks[workflow_id] = f"{self._owner}:{version}"
