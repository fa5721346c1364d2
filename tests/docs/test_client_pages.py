"""The programs of the pages about clients run as printed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from conveyor.client import BlockingClient
from conveyor.resources import Event

from tests.docs.pages import snippets
from tests.docs.test_snippets import embedded_mode

START = "docs/howto/start-and-await.md"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with embedded_mode(tmp_path_factory.mktemp("dev"), "dev", "--orders-per-second", "0") as url:
        yield url


@pytest.mark.e2e
@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("mark", "printed"),
    [
        ("start", "COMPLETED 5 {}"),
        ("blocking", "COMPENSATED SIMULATED_FAILURE\nILLEGAL_STATUS"),
        ("once", "True"),
    ],
)
def test_programs(url: str, mark: str, printed: str) -> None:
    """Each prints what it should against `conveyor dev`."""
    [code] = snippets(START, mark)

    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "CONVEYOR_URL": url},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.stderr == ""
    assert done.stdout.strip() == printed


@pytest.mark.e2e
def test_the_client_of_a_web_application(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is opened once."""
    monkeypatch.setenv("CONVEYOR_URL", url)
    names: dict[str, Any] = {}
    [code] = snippets(START, "web")
    exec(code, names)  # noqa: S102 - our own page
    try:
        client = names["conveyor"]()
        assert isinstance(client, BlockingClient)
        assert names["conveyor"]() is client
        assert client.list(limit=1).items is not None
    finally:
        names["_opened"].close()


def event(version: int, workflow_id: str = "order-1", type: str = "WorkflowPausedEvent") -> Event:
    return Event(
        workflow_id=workflow_id,
        version=version,
        event_id=f"{workflow_id}:{version}",
        type="orchestration.workflow.paused",
        event_type=type,
        occurred_at=datetime.now(UTC),
        actor="system",
        causation_id="cmd-1",
        data={},
        position=f"0:{version}",
    )


def test_the_consumer_drops_what_comes_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The printed transaction takes every event once and in order, although old ones come again."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    [code] = snippets("docs/howto/consume-events.md", "consumer")
    exec(code, names)  # noqa: S102 - our own page
    with_end = {version: event(version) for version in range(1, 5)}
    with_end[5] = event(5, type="WorkflowCompletedEvent")

    for version in (1, 2, 3, 1, 2, 3, 4, 5, 2, 3, 4, 5):
        names["take"](with_end[version])
    names["take"](event(0, "order-2"))

    shop = names["shop"]
    assert shop.execute("SELECT workflow FROM delivered").fetchall() == [("order-1",)]
    assert shop.execute("SELECT workflow, version FROM seen").fetchall() == [("order-1", 5)]
    assert shop.execute("SELECT position FROM place").fetchall() == [("0:0",)]
    shop.close()
