"""`conveyor verify` beside whole processes at work, in both modes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.programs import run, until
from tests.acceptance.sites import RunningSite, new_id
from tests.acceptance.test_embedded import dev, listed

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]


@pytest.mark.kafka
@pytest.mark.mongo
@pytest.mark.redis
def test_production(site: RunningSite) -> None:
    """Under way and when all have ended, nothing is wrong; a projection changed by hand is found."""
    ids = [new_id("verified") for _ in range(60)]
    for number, workflow_id in enumerate(ids):
        site.start(workflow_id, {"failStep": "pick-items"} if number % 10 == 0 else None)
    site.flush()

    meanwhile = verify(site.folder, site.settings)
    site.courses.until_ended(ids, 60, [site.engine])
    at_rest = verify(site.folder, site.settings, "--settle", "20")
    site.database["workflows"].update_one({"_id": ids[7]}, {"$set": {"progress": 7}})
    damaged = verify(site.folder, site.settings, exit_code=1)
    site.database["workflows"].update_one({"_id": ids[7]}, {"$set": {"progress": 100}})
    repaired = verify(site.folder, site.settings)

    assert meanwhile["clean"]
    assert at_rest["clean"]
    assert at_rest["checked"]["behind"] == 0
    assert at_rest["checked"]["instances"] >= len(ids)
    assert [(f["workflowId"], f["kind"]) for f in damaged["findings"]] == [(ids[7], "projection")]
    assert repaired["clean"]


def test_embedded(tmp_path: Path) -> None:
    """The file of a service at work is clean, and so is what kill -9 left and what went on from there."""
    with dev(tmp_path, orders_per_second=50) as (program, url):
        until("some have ended", lambda: len(listed(url, ended=True)) > 20, 60, [program])
        meanwhile = verify(tmp_path, {}, "--db", "conveyor.db")
        program.kill()
    killed = verify(tmp_path, {}, "--db", "conveyor.db")

    with dev(tmp_path, name="dev-again") as (program, url):
        until("all have ended", lambda: not listed(url, ended=False), 60, [program])
        ended = verify(tmp_path, {}, "--db", "conveyor.db", "--settle", "20")

    assert meanwhile["clean"]
    assert killed["clean"]
    assert ended["clean"]
    assert ended["checked"]["behind"] == 0
    assert ended["checked"]["instances"] > 20


def verify(
    folder: Path, settings: dict[str, str], *options: str, exit_code: int = 0
) -> dict[str, Any]:
    """The report of `conveyor verify`."""
    done = run("verify", *options, "--output", "json", folder=folder, settings=settings)
    assert done.returncode == exit_code, done.stdout + done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report
