"""The retail example: the orders of one real morning, in both modes."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.acceptance.programs import run
from tests.acceptance.sites import RunningSite

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

EXAMPLE = Path(__file__).parents[2] / "examples" / "retail" / "run.py"
RESULT = {"started": 64, "undone": 1, "unmatched": 3}


def test_embedded(tmp_path: Path) -> None:
    """With a service of its own every order completes but the cancelled one."""
    done = run("--mode", "embedded", folder=tmp_path, program=[sys.executable, str(EXAMPLE)])

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == RESULT


@pytest.mark.kafka
@pytest.mark.mongo
@pytest.mark.redis
def test_kafka(site: RunningSite, tmp_path: Path) -> None:
    """Over Kafka the same comes out; played again, it finds everything done."""
    command = [sys.executable, str(EXAMPLE), "--mode", "kafka", "--url", site.url]

    first, again = (run(folder=tmp_path, program=command, settings=site.settings) for _ in range(2))

    assert first.returncode == 0, first.stderr
    assert json.loads(first.stdout) == RESULT
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout) == RESULT
    workflow = site.http.get("/api/v1/workflows/536488").json()
    assert workflow["status"] == "COMPENSATED"
    assert len(site.operations("536488")) == 2 * len(workflow["compensatedSteps"])


def test_nobody_answers(tmp_path: Path) -> None:
    """Without a service the example says so and ends with 3."""
    url = "http://127.0.0.1:9"
    command = [sys.executable, str(EXAMPLE), "--mode", "embedded", "--url", url]

    done = run(folder=tmp_path, program=command)

    assert done.returncode == 3
    assert "no connection" in done.stderr
    assert done.stdout == ""
