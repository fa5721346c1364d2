"""The command line against real servers: wrong settings, and files of orders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from deploy.local_services.process import free_port
from tests.acceptance.programs import run
from tests.acceptance.sites import RunningSite, new_id, order

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

LINES = 500


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (
            {"CONVEYOR_KAFKA__BOOTSTRAP_SERVERS": "broker"},
            ["CONVEYOR_KAFKA__BOOTSTRAP_SERVERS", "'broker' is not host:port", "kafka-1:9092"],
        ),
        (
            {"CONVEYOR_ENGINE__BATCH_SIZE": "many"},
            ["CONVEYOR_ENGINE__BATCH_SIZE", "valid integer", "CONVEYOR_ENGINE__BATCH_SIZE=1000"],
        ),
        (
            {"CONVEYOR_REDIS__PORT": "6379"},
            ["CONVEYOR_REDIS__PORT"],
        ),
        (
            {"CONVEYOR_MONGO__URI": "mongodb://127.0.0.1"},
            ["CONVEYOR_MONGO__URI: there is no such setting", "MONGODB"],
        ),
        (
            {"CONVEYOR_PROFILE": "production"},
            ["CONVEYOR_PROFILE=production needs a login", "--insecure"],
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_a_wrong_setting_stops_the_start(
    settings: dict[str, str], told: list[str], tmp_path: Path
) -> None:
    """`serve` ends with 2 and a sentence that names the setting, its fault and what would do."""
    port = str(free_port())
    done = run("serve", "--roles", "engine,api", "--port", port, folder=tmp_path, settings=settings)

    assert done.returncode == 2
    for words in told:
        assert words in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.kafka
@pytest.mark.mongo
@pytest.mark.redis
def test_a_file_of_orders(site: RunningSite, tmp_path: Path) -> None:
    """Every line starts one workflow; the same file again starts nothing; a bad line is named."""
    run_id = new_id("file")
    lines: list[dict[str, Any]] = [order(f"{run_id}-{number}") for number in range(LINES)]
    file, with_a_fault = tmp_path / "orders.jsonl", tmp_path / "fault.jsonl"
    file.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    faulty = [lines[0], {"orderId": "o-1", "lines": []}, lines[1]]
    with_a_fault.write_text("".join(f"{json.dumps(line)}\n" for line in faulty))

    first = start_file(site, file)
    again = start_file(site, file)
    third = start_file(site, with_a_fault)

    assert first == (0, {"started": LINES, "duplicates": 0, "refused": []})
    assert again == (0, {"started": 0, "duplicates": LINES, "refused": []})
    exit_code, summary = third
    assert exit_code == 1
    assert summary["started"] == 2
    [refused] = summary["refused"]
    assert refused["line"] == 2
    assert refused["code"] == "INVALID_INPUT"


@pytest.mark.kafka
@pytest.mark.mongo
@pytest.mark.redis
def test_the_end_is_in_the_exit_code(site: RunningSite, tmp_path: Path) -> None:
    """With --wait an order that completes ends with 0, one that is compensated with 1."""
    codes = {
        status: run(
            *("workflow", "start", "order-fulfillment", "--wait", "20", "--url", site.url),
            *("--output", "json", "--input", json.dumps(order(new_id("cli"), simulate))),
            folder=tmp_path,
        )
        for status, simulate in (("COMPLETED", None), ("COMPENSATED", {"failStep": "pick-items"}))
    }

    assert {status: json.loads(done.stdout)["status"] for status, done in codes.items()} == {
        status: status for status in codes
    }
    assert [done.returncode for done in codes.values()] == [0, 1]


def start_file(site: RunningSite, file: Path) -> tuple[int, dict[str, Any]]:
    """Exit code and summary of `workflow start --file`."""
    done = run(
        *("workflow", "start", "order-fulfillment", "--file", str(file)),
        *("--url", site.url, "--output", "json"),
        folder=file.parent,
    )
    return done.returncode, json.loads(done.stdout)
