"""What every `WorkflowQueries` promises. An adapter's tests subclass `QueriesContract`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import pytest

from application.ports import (
    ANY_INCIDENT,
    Document,
    Projections,
    WorkflowFilter,
    WorkflowQueries,
)
from tests.contracts.samples import AWKWARD_JSON, workflow


@dataclass(frozen=True)
class QuerySite:
    """The queries of one adapter, and the projections that they read."""

    projections: Projections
    queries: WorkflowQueries


def started(workflow_id: str, second: int | None, **fields: Any) -> Document:
    """A workflow that started in this second of a minute, or has not started."""
    started_at = None if second is None else f"2026-11-21T02:30:{second:02d}.000Z"
    return workflow(workflow_id, startedAt=started_at, **fields)


def incidents(*codes: str) -> list[Document]:
    """Open incidents with these codes."""
    return [
        {
            "code": code,
            "stepId": None,
            "version": number,
            "raisedAt": "2026-11-21T02:30:00.000Z",
            "detail": "look at it",
        }
        for number, code in enumerate(codes, start=1)
    ]


@pytest.mark.contract
class QueriesContract(ABC):
    """Subclass it as `Test...` and define the fixture `site`: empty, closed afterwards."""

    @pytest.fixture
    @abstractmethod
    def site(self) -> QuerySite: ...

    async def test_newest_first(self, site: QuerySite) -> None:
        """Ordered by start, then id, both descending; what has not started comes last."""
        await site.projections.save(
            [started("b", 1), started("c", 2), started("a", 1), started("waiting", None)]
        )

        assert await found(site, WorkflowFilter()) == ["c", "b", "a", "waiting"]

    async def test_ascending_is_the_same_order_reversed(self, site: QuerySite) -> None:
        """What has not started comes first, then the oldest."""
        await site.projections.save(
            [started("b", 1), started("c", 2), started("a", 1), started("waiting", None)]
        )

        assert await found(site, WorkflowFilter(ascending=True)) == ["waiting", "a", "b", "c"]

    @pytest.mark.parametrize("ascending", [False, True])
    @pytest.mark.parametrize("limit", [1, 2, 3])
    async def test_pages_join_to_the_whole_list(
        self, site: QuerySite, limit: int, ascending: bool
    ) -> None:
        """No workflow is lost or doubled between pages, equal starts and missing ones included."""
        seconds = [1, 1, 1, 2, None, None, 3, 3]
        documents = [started(f"wf-{number}", second) for number, second in enumerate(seconds)]
        await site.projections.save(documents)
        wanted = WorkflowFilter(ascending=ascending)

        pages: list[list[str]] = []
        cursor = None
        while True:
            page = await site.queries.find(wanted, limit, cursor)
            pages.append([item["_id"] for item in page.items])
            cursor = page.next_cursor
            if cursor is None:
                break

        assert [key for page in pages for key in page] == await found(site, wanted)
        assert [len(page) for page in pages[:-1]] == [limit] * (len(pages) - 1)
        assert 0 < len(pages[-1]) <= limit

    async def test_a_page_is_stable_while_newer_ones_start(self, site: QuerySite) -> None:
        """A cursor continues where its page ended, not at a number of items."""
        await site.projections.save([started("a", 1), started("b", 2), started("c", 3)])
        first = await site.queries.find(WorkflowFilter(), 2, None)

        await site.projections.save([started("d", 4)])
        second = await site.queries.find(WorkflowFilter(), 2, first.next_cursor)

        assert [item["_id"] for item in second.items] == ["a"]
        assert second.next_cursor is None

    async def test_the_last_full_page_has_no_cursor(self, site: QuerySite) -> None:
        """A cursor promises that something follows."""
        await site.projections.save([started("a", 1), started("b", 2)])

        assert (await site.queries.find(WorkflowFilter(), 2, None)).next_cursor is None
        assert (await site.queries.find(WorkflowFilter(), 1, None)).next_cursor is not None

    @pytest.mark.parametrize("cursor", ["", "!", "bm8", "WzEsMl0", "e30", "å"])
    async def test_a_foreign_cursor_is_refused(self, site: QuerySite, cursor: str) -> None:
        """A text that no page handed out is an error of the caller, never an empty page."""
        await site.projections.save([started("a", 1)])

        with pytest.raises(ValueError, match="cursor"):
            await site.queries.find(WorkflowFilter(), 10, cursor)

    @pytest.mark.parametrize(
        ("wanted", "expected"),
        [
            (WorkflowFilter(status=("PAUSED",)), ["paused"]),
            (WorkflowFilter(status=("PAUSED", "FAILED")), ["failed", "paused"]),
            (WorkflowFilter(active=True), ["shop", "paused", "plain"]),
            (WorkflowFilter(active=False), ["failed", "done"]),
            (WorkflowFilter(active=True, status=("PAUSED", "FAILED")), ["paused"]),
            (WorkflowFilter(type="CART"), ["done"]),
            (WorkflowFilter(definition="complete-cart"), ["done"]),
            (WorkflowFilter(correlation_id="corr-shop"), ["shop"]),
            (WorkflowFilter(user_id="u1"), ["shop", "paused"]),
            (WorkflowFilter(wallet="w1"), ["shop"]),
            (WorkflowFilter(labels=(("app.kubernetes.io/name", "shop"),)), ["shop"]),
            (WorkflowFilter(labels=(("carrier", "DHL"),)), ["shop", "paused"]),
            (WorkflowFilter(labels=(("carrier", "DHL"), ("app.kubernetes.io/name", "x"))), []),
            (WorkflowFilter(labels=(("carrier", "DHL"), ("carrier", "UPS"))), []),
            (WorkflowFilter(tenant="acme"), ["paused"]),
            (WorkflowFilter(tenant="default"), ["shop", "failed", "done", "plain"]),
            (WorkflowFilter(tenant="acm"), []),
            (WorkflowFilter(tenant="acme", labels=(("carrier", "UPS"),)), []),
            (WorkflowFilter(started_after="2026-11-21T02:30:02.500Z"), ["shop", "failed"]),
            (WorkflowFilter(started_before="2026-11-21T02:30:01.500Z"), ["plain"]),
            (
                WorkflowFilter(
                    started_after="2026-11-21T02:30:01.500Z",
                    started_before="2026-11-21T02:30:03.500Z",
                    user_id="u1",
                ),
                ["paused"],
            ),
        ],
    )
    async def test_filters(
        self, site: QuerySite, wanted: WorkflowFilter, expected: list[str]
    ) -> None:
        """Every filter narrows the list, and all that are given hold together."""
        shop = {"carrier": "DHL", "app.kubernetes.io/name": "shop"}
        await site.projections.save(
            [
                started("plain", 1),
                started(
                    "paused",
                    2,
                    status="PAUSED",
                    userId="u1",
                    labels={"carrier": "DHL"},
                    tenant="acme",
                ),
                started("failed", 3, status="FAILED"),
                started("shop", 4, userId="u1", wallet="w1", labels=shop),
                started(
                    "done", 2, status="COMPLETED", workflowType="CART", definition="complete-cart"
                ),
            ]
        )

        ordered = await found(site, wanted)

        assert ordered == expected

    @pytest.mark.parametrize(
        ("wanted", "expected"),
        [
            (WorkflowFilter(incident=ANY_INCIDENT), ["two", "same", "one"]),
            (WorkflowFilter(incident="INTERNAL"), ["two", "one"]),
            (WorkflowFilter(incident="TOO_LARGE"), ["two"]),
            (WorkflowFilter(incident="UNRESOLVED"), []),
            (WorkflowFilter(incident="INTERN"), []),
            (WorkflowFilter(incident="INTERNAL", status=("FAILED",)), ["two"]),
        ],
    )
    async def test_filter_by_incident(
        self, site: QuerySite, wanted: WorkflowFilter, expected: list[str]
    ) -> None:
        """Each workflow with such an incident is listed once, however many it has."""
        await site.projections.save(
            [
                started("of-an-older-release", 1),
                started("none", 2, incidents=[]),
                started("one", 3, incidents=incidents("INTERNAL")),
                started("same", 4, incidents=incidents("PAST_PIVOT", "PAST_PIVOT")),
                started("two", 5, status="FAILED", incidents=incidents("INTERNAL", "TOO_LARGE")),
            ]
        )

        assert await found(site, wanted) == expected

    @pytest.mark.parametrize("wanted", [ANY_INCIDENT, "INTERNAL"])
    async def test_pages_of_incidents_join(self, site: QuerySite, wanted: str) -> None:
        """The filter changes neither the order nor what a cursor means."""
        await site.projections.save(
            [started(f"wf-{n}", n % 3 or None, incidents=incidents("INTERNAL")) for n in range(7)]
        )
        filter = WorkflowFilter(incident=wanted)

        seen: list[str] = []
        cursor = None
        while True:
            page = await site.queries.find(filter, 2, cursor)
            seen += [item["_id"] for item in page.items]
            cursor = page.next_cursor
            if cursor is None:
                break

        assert seen == await found(site, filter)
        assert len(seen) == 7

    async def test_open_incidents_are_counted(self, site: QuerySite) -> None:
        """Each one, also several of one workflow; a later version of the workflow counts alone."""
        assert await site.queries.open_incidents() == 0

        await site.projections.save(
            [
                started("of-an-older-release", 1),
                started("none", 2, incidents=[]),
                started("one", 3, incidents=incidents("INTERNAL")),
                started("two", 4, incidents=incidents("PAST_PIVOT", "PAST_PIVOT")),
            ]
        )
        assert await site.queries.open_incidents() == 3

        await site.projections.save(
            [
                started("none", 2, version=2, incidents=incidents("UNRESOLVED")),
                started("two", 4, version=2, incidents=[]),
            ]
        )
        assert await site.queries.open_incidents() == 2

    async def test_items_are_the_projected_documents(self, site: QuerySite) -> None:
        """An item has the fields that a list shows, as they were saved."""
        metadata = {"$ref": "#/x", "nested": AWKWARD_JSON}
        document = started("wf-1", 1, labels={"a.b": "c"}, metadata=metadata)
        await site.projections.save([document])

        [item] = (await site.queries.find(WorkflowFilter(), 10, None)).items

        shown = ("_id", "status", "version", "startedAt", "labels", "metadata", "progress")
        assert {name: item[name] for name in shown} == {name: document[name] for name in shown}
        assert item.items() <= document.items()

    async def test_coordinators_are_no_workflows(self, site: QuerySite) -> None:
        """States without a status are neither listed nor counted."""
        coordinators = [
            {"_id": name, "version": 1, "partition": 0} for name in ("inbox:0", "inbox:1")
        ]
        await site.projections.save([*coordinators, started("wf-1", 1)])

        assert await found(site, WorkflowFilter()) == ["wf-1"]
        assert await found(site, WorkflowFilter(active=False)) == []
        assert await site.queries.count_by_status() == {"EXECUTING": 1}

    async def test_counts_by_status(self, site: QuerySite) -> None:
        """Every status that occurs with its number; nothing where there is nothing."""
        assert await site.queries.count_by_status() == {}

        statuses = ["EXECUTING", "EXECUTING", "COMPLETED", "FAILED", "EXECUTING"]
        await site.projections.save(
            [workflow(f"wf-{number}", status=status) for number, status in enumerate(statuses)]
        )

        counts = await site.queries.count_by_status()
        assert counts == {"EXECUTING": 3, "COMPLETED": 1, "FAILED": 1}


async def found(site: QuerySite, wanted: WorkflowFilter) -> list[str]:
    """The ids of the whole list."""
    page = await site.queries.find(wanted, 100, None)
    assert page.next_cursor is None
    return [item["_id"] for item in page.items]
