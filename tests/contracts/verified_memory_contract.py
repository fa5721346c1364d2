"""What `conveyor verify` finds in what engines remember of their inbox. Part of `VerificationContract`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from application.engine.memory import COMMAND_IDS_KEPT
from application.verification.findings import Kind
from tests.contracts.histories import StoreContent, content, projection, refused
from tests.contracts.samples import COMMANDS
from tests.contracts.verification_site import Found, VerificationSite


class VerifiedMemoryContract(ABC):
    """Positions and command ids of projections."""

    @pytest.fixture
    @abstractmethod
    def site(self) -> VerificationSite: ...

    async def test_an_applied_position_that_is_too_high(self, site: VerificationSite) -> None:
        """An engine would take messages for applied that are not."""
        stored = content()
        stored.document_of("wf-running")["engine"]["applied"][0]["offset"] += 100

        assert await site.found(stored) == [("wf-running", Kind.PROJECTION)]

    @pytest.mark.parametrize("workflow_id", ["wf-running", "inbox:0"])
    @pytest.mark.parametrize(
        "damaged",
        [
            lambda ids: ids[1:],
            lambda ids: ids[:-1],
            lambda ids: ids[::-1],
            lambda ids: [*ids, ["/orders of-nobody", 0]],
            lambda ids: [],
            lambda ids: None,
        ],
        ids=["oldest lost", "newest lost", "another order", "one too many", "all lost", "no list"],
    )
    async def test_command_ids(
        self, site: VerificationSite, workflow_id: str, damaged: Callable[[Any], Any]
    ) -> None:
        """An engine would apply a copy of a command, or refuse a command that never came."""
        stored = content()
        engine = stored.document_of(workflow_id)["engine"]
        engine["commandIds"] = damaged(commands_of(stored, workflow_id))

        assert await site.found(stored) == [(workflow_id, Kind.PROJECTION)]

    async def test_command_ids_without_those_of_replies(self, site: VerificationSite) -> None:
        """Whoever decided the replies does not keep their ids; who read them from the log does."""
        stored = content()
        for workflow_id in ("wf-running", "wf-completed"):
            engine = stored.document_of(workflow_id)["engine"]
            commands = commands_of(stored, workflow_id)
            assert len(commands) < len(engine["commandIds"])
            engine["commandIds"] = commands

        assert await site.found(stored) == []

    @pytest.mark.parametrize(
        ("lost", "found"), [(0, []), (1, [("inbox:0", Kind.PROJECTION)])], ids=["kept", "lost"]
    )
    async def test_the_newest_command_ids(
        self, site: VerificationSite, lost: int, found: Found
    ) -> None:
        """Of more commands than are kept, the newest thousand have to be there."""
        commits = refused(range(1, COMMAND_IDS_KEPT + 6), datetime.now(UTC))
        document = projection(commits)
        del document["engine"]["commandIds"][:lost]

        assert await site.found(StoreContent(commits, [document], [])) == found


def commands_of(stored: StoreContent, workflow_id: str) -> list[list[Any]]:
    """What the document has to keep of its commands."""
    commands = {
        entry.message_id
        for commit in stored.commits_of(workflow_id)
        for entry in commit.entries
        if entry.cause.topic == COMMANDS
    }
    kept: list[list[Any]] = stored.document_of(workflow_id)["engine"]["commandIds"]
    return [each for each in kept if each[0] in commands]
