"""`conveyor verify` as a command."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from adapters.sqlite.event_log import EngineSession, SqliteEventLog
from adapters.sqlite.projections import SqliteProjections
from adapters.sqlite.publisher import SqliteEnginePublisher
from adapters.sqlite.store import SqliteStore
from application.verification.findings import FINDINGS_KEPT, Finding, Kind, Report, shown
from infrastructure.cli import app
from tests.acceptance.programs import run
from tests.contracts.histories import StoreContent, publications, refusals
from tests.contracts.histories import projection as projection_of
from tests.contracts.samples import workflow


def write(path: Path, stored: StoreContent) -> None:
    """A file as a service leaves it."""

    async def work() -> None:
        store = SqliteStore(path)
        session = EngineSession(store)
        await SqliteEventLog(session).append(stored.commits)
        await SqliteEnginePublisher(session).publish(stored.messages)
        await SqliteProjections(store).save(stored.documents)
        await store.close()

    asyncio.run(work())


def content() -> StoreContent:
    """Refusals need no registered definition."""
    commits = refusals(datetime.now(UTC) - timedelta(hours=1))
    return StoreContent(commits, [projection_of(commits)], publications(commits))


def verify(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["verify", *arguments])


def test_a_clean_file(tmp_path: Path) -> None:
    """Exit code 0, and what was looked at."""
    write(tmp_path / "c.db", content())

    result = verify("--db", str(tmp_path / "c.db"), "--settle", "1", "--output", "json")

    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == {
        "clean": True,
        "checked": {
            "instances": 1,
            "commits": 4,
            "events": 3,
            "projections": 1,
            "publishedRecords": 3,
            "behind": 0,
            "unpublishedYet": 0,
            "notCheckable": 0,
        },
        "counts": {},
        "findings": [],
    }


def test_a_damaged_file(tmp_path: Path) -> None:
    """Exit code 1; each finding has its workflow, its kind and what to do, for programs and for people."""
    stored = content()
    stored.documents.append(workflow("wf-lost"))
    write(tmp_path / "c.db", stored)

    result = verify("--db", str(tmp_path / "c.db"), "--output", "json")
    table = verify("--db", str(tmp_path / "c.db"))

    assert (result.exit_code, table.exit_code) == (1, 1)
    document: dict[str, Any] = json.loads(result.stdout)
    assert (document["clean"], document["counts"]) == (False, {"orphan": 1})
    assert document["findings"] == [
        {
            "workflowId": "wf-lost",
            "kind": "orphan",
            "damage": True,
            "detail": "projected at version 1, there is no log",
            "advice": Kind.ORPHAN.advice,
        }
    ]
    assert "wf-lost" in table.stdout
    assert Kind.ORPHAN.advice in " ".join(table.stdout.split())


@pytest.mark.parametrize("text", ["absent", "other"])
def test_no_store(tmp_path: Path, text: str) -> None:
    """Exit code 2 and a sentence for a file that is not there or none of ours."""
    (tmp_path / "other.db").write_text("something else, long enough to have a header" * 9)

    result = verify("--db", str(tmp_path / f"{text}.db"))

    assert result.exit_code == 2
    assert f"{text}.db" in result.stderr


def test_servers_away(tmp_path: Path) -> None:
    """Exit code 3 where MongoDB does not answer."""
    settings = {
        "CONVEYOR_MONGODB__URI": "mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=100",
        "CONVEYOR_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1",
    }

    result = run("verify", folder=tmp_path, settings=settings)

    assert result.returncode == 3
    assert "eventStore" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.mongo
def test_before_init(mongo_uri: str, tmp_path: Path) -> None:
    """Exit code 2 where `init` has not run."""
    settings = {"CONVEYOR_MONGODB__URI": mongo_uri, "CONVEYOR_MONGODB__DATABASE": "never-prepared"}

    result = run("verify", folder=tmp_path, settings=settings)

    assert result.returncode == 2
    assert "conveyor init" in result.stderr


def test_a_report_keeps_so_many_findings() -> None:
    """A store that is wrong everywhere fills no memory; all findings are counted."""
    report = Report()
    for number in range(FINDINGS_KEPT + 5):
        report.add(Finding(f"wf-{number}", Kind.GAP, "version 1 missing"))

    assert len(report.findings) == FINDINGS_KEPT
    assert report.counts == {Kind.GAP: FINDINGS_KEPT + 5}


def test_versions_are_told_shortly() -> None:
    """A few are named, the others counted."""
    assert shown([3]) == "version 3"
    assert shown([3, 4]) == "versions 3, 4"
    assert shown(range(1, 24)).endswith("19, 20 and 3 more")


def test_every_kind_has_its_advice() -> None:
    """No finding comes without what to do."""
    assert all(kind.advice for kind in Kind)
