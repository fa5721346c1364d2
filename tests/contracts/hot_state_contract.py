"""What every `HotState` promises. An adapter's tests subclass `HotStateContract`."""

from __future__ import annotations

from abc import ABC, abstractmethod

import pytest

from application.ports import Document, HotState
from tests.contracts.samples import AWKWARD_JSON, workflow

OWNER = "engine-1"


class HotStateSite(ABC):
    """One adapter's hot state with the owner `engine-1`, and a way to see what it wrote."""

    hot_state: HotState

    @abstractmethod
    async def state(self, workflow_id: str) -> Document | None:
        """The document that fast readers see."""

    @abstractmethod
    async def lock(self, workflow_id: str) -> str | None:
        """What the instance's lock key holds."""


@pytest.mark.contract
class HotStateContract(ABC):
    """Subclass it as `Test...` and define the fixture `site`: empty, closed afterwards."""

    @pytest.fixture
    @abstractmethod
    def site(self) -> HotStateSite: ...

    async def test_an_active_instance_is_seen_and_locked(self, site: HotStateSite) -> None:
        """The whole document is there, and the lock names its owner and the version."""
        document = workflow("wf-1", 3, inputParameters=AWKWARD_JSON)

        await site.hot_state.save([document])

        assert await site.state("wf-1") == document
        assert await site.lock("wf-1") == f"{OWNER}:3"

    @pytest.mark.parametrize("status", ["PENDING", "EXECUTING", "PAUSED", "COMPENSATING", "FAILED"])
    async def test_what_may_go_on_stays(self, site: HotStateSite, status: str) -> None:
        """FAILED too: it waits for a retry or a compensation."""
        await site.hot_state.save([workflow("wf-1", 3, status=status)])

        assert await site.state("wf-1") is not None

    @pytest.mark.parametrize("status", ["COMPLETED", "COMPENSATED", "CANCELLED"])
    async def test_an_ended_instance_is_removed(self, site: HotStateSite, status: str) -> None:
        """State and lock go with the end, and an instance that is new and ended never comes."""
        await site.hot_state.save([workflow("wf-1", 3)])

        await site.hot_state.save(
            [workflow("wf-1", 4, status=status), workflow("wf-2", 9, status=status)]
        )

        for workflow_id in ("wf-1", "wf-2"):
            assert await site.state(workflow_id) is None
            assert await site.lock(workflow_id) is None

    async def test_only_lower_versions_are_replaced(self, site: HotStateSite) -> None:
        """What a stalled engine writes late changes nothing (PROTOCOL rule 12)."""
        await site.hot_state.save([workflow("wf-1", 5), workflow("wf-2", 5)])

        await site.hot_state.save(
            [workflow("wf-1", 4, status="PAUSED"), workflow("wf-2", 10, currentStepId=None)]
        )

        assert await site.state("wf-1") == workflow("wf-1", 5)
        assert await site.lock("wf-1") == f"{OWNER}:5"
        assert await site.state("wf-2") == workflow("wf-2", 10, currentStepId=None)

    async def test_a_late_end_does_not_remove_a_newer_state(self, site: HotStateSite) -> None:
        """A completed instance that is being compensated stays in sight."""
        await site.hot_state.save([workflow("wf-1", 8, status="COMPENSATING")])

        await site.hot_state.save([workflow("wf-1", 7, status="COMPLETED")])

        assert await site.state("wf-1") == workflow("wf-1", 8, status="COMPENSATING")

    async def test_a_late_state_does_not_bring_an_ended_instance_back(
        self, site: HotStateSite
    ) -> None:
        """Only a later version does: an operator compensates a completed run."""
        await site.hot_state.save([workflow("wf-1", 7, status="COMPLETED")])

        await site.hot_state.save([workflow("wf-1", 6)])
        assert await site.state("wf-1") is None
        assert await site.lock("wf-1") is None

        await site.hot_state.save([workflow("wf-1", 8, status="COMPENSATING")])
        assert await site.state("wf-1") == workflow("wf-1", 8, status="COMPENSATING")

    async def test_many_at_once(self, site: HotStateSite) -> None:
        """Any number of documents in one call, none included."""
        await site.hot_state.save([])

        await site.hot_state.save([workflow(f"wf-{number}") for number in range(1000)])

        states = [await site.state(f"wf-{number}") for number in range(1000)]
        assert [state and state["_id"] for state in states] == [f"wf-{n}" for n in range(1000)]
