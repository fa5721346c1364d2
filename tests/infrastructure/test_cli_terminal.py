"""What people see of the command line, on 80 columns and in a pipe."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.infrastructure.commands import (
    ENVIRONMENT,
    ORDER,
    answering,
    at_terminal,
    conveyor,
    free_port,
    process,
    started,
    told,
)

UUID = "9f1c2d3e-4b5a-6978-8796-a5b4c3d2e1f0"
STARTED, ENDED = "2026-11-21T02:30:00.123Z", "2026-11-21T02:31:10.456Z"
EVIL = "\x1b[2J\x9b31m\x07\u202ename"


def listed(workflow_id: str, **more: Any) -> dict[str, Any]:
    return {
        "id": workflow_id,
        "definition": "order-fulfillment",
        "status": "COMPENSATING",
        "progress": 100,
        "startedAt": STARTED,
        "completedAt": ENDED,
        **more,
    }


def page(*items: dict[str, Any]) -> tuple[int, Any]:
    return 200, {"items": list(items), "nextCursor": None}


def assert_harmless(text: str) -> None:
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", text), repr(text)


# -- width ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("columns", [80, 60])
def test_ids_and_times_stay_whole(columns: int) -> None:
    """A list at a terminal breaks no id, status or time; what has no room is named."""
    with answering(page(listed(UUID), listed("short"))) as (url, _):
        code, screen = at_terminal("workflow", "list", "--url", url, columns=columns, NO_COLOR="1")

    assert code == 0
    [line] = [line for line in screen.splitlines() if UUID in line]
    assert line.split()[:2] == [UUID, "COMPENSATING"]
    assert STARTED in line
    assert "no room here for ENDED, DEFINITION" in screen


def test_a_pipe_gets_whole_lines() -> None:
    """Without a terminal every row is one line with every column, whatever its width."""
    with answering(page(listed(UUID, definition="d" * 255))) as (url, _):
        done = process("workflow", "list", "--url", url, COLUMNS="80")

    row = done.stdout.splitlines()[1].split()
    assert row == [UUID, "COMPENSATING", "100", STARTED, ENDED, "d" * 255]
    assert done.stderr == ""


def test_colours(server: str) -> None:
    """A terminal gets colours, with NO_COLOR no escape sequence at all."""
    started(server, "colour-1", "--wait")
    show = ("workflow", "show", "colour-1", "--url", server)

    assert "\x1b[32mCOMPLETED" in at_terminal(*show)[1]
    for arguments in (show, ("workflow", "show"), ("workflow", "--help")):
        assert "\x1b[1m" not in at_terminal(*arguments, NO_COLOR="1")[1]
        assert "\x1b[3" not in at_terminal(*arguments, NO_COLOR="1")[1]


# -- texts of others -----------------------------------------------------------------------------


def test_control_characters_stay_texts() -> None:
    """No text that somebody stored is obeyed by the terminal, as a table or as JSON."""
    with answering(page(listed(EVIL, definition=EVIL))) as (url, _):
        table = at_terminal("workflow", "list", "--url", url, NO_COLOR="1")[1]
        document = process("workflow", "list", "--url", url, "-o", "json").stdout
    refusal = {"code": EVIL, "detail": EVIL, "errors": [{"path": EVIL, "message": EVIL}]}
    with answering((422, {"status": 422, "title": EVIL, **refusal})) as (url, _):
        refused = process("workflow", "list", "--url", url).stderr

    for text in (table, document, refused):
        assert_harmless(text)
        assert "name" in text
    assert json.loads(document)["items"][0]["id"] == EVIL


def test_a_definition_stays_text() -> None:
    """So does a registered definition shown as YAML."""
    with answering((200, {"name": EVIL, "version": 1, "title": "a\x85b"})) as (url, _):
        shown = process("definitions", "show", "any", "1", "--url", url).stdout

    assert_harmless(shown)


# -- waiting -------------------------------------------------------------------------------------


def test_interrupted_wait(server: str) -> None:
    """Ctrl-C ends the waiting: the id stays on the screen, with how to go on."""
    order = json.dumps({**json.loads(ORDER), "simulate": {"latencyMs": 2000}})
    start = ("workflow", "start", "order-fulfillment", "--id", "waited-1", "--input", order)

    code, screen = at_terminal(
        *start, "--wait", "--url", server, interrupt_after="waiting for its end"
    )

    assert code == 130
    assert "conveyor workflow show waited-1" in screen
    assert "Traceback" not in screen
    assert told(server, "workflow", "show", "waited-1")["status"] == "EXECUTING"


def test_the_wait_is_over(server: str) -> None:
    """A wait that runs out says that the workflow goes on."""
    order = json.dumps({**json.loads(ORDER), "simulate": {"latencyMs": 2000}})
    start = ("workflow", "start", "order-fulfillment", "--id", "waited-2", "--input", order)

    result = conveyor(server, *start, "--wait", "0.1")

    assert result.exit_code == 1
    assert "the wait is over and waited-2 is EXECUTING; it goes on" in result.stderr


# -- show and history ----------------------------------------------------------------------------


def test_show_is_a_view(server: str) -> None:
    """A failed order shows what failed and why, each output, and how long each step took."""
    order = {**json.loads(ORDER), "simulate": {"failStep": "pick-items", "latencyMs": 30}}
    start = ("workflow", "start", "order-fulfillment", "--input", json.dumps(order))
    conveyor(server, *start, "--id", "viewed-1", "--wait")

    shown = conveyor(server, "workflow", "show", "viewed-1").stdout

    lines = {line.split()[0]: line for line in shown.splitlines()}
    assert "pick-items, attempt 1: SIMULATED_FAILURE: pick-items fails as asked" in lines["error"]
    assert '"reservationId"' in lines["reserve-inventory"]
    assert re.search(r"COMPENSATED +1 +\d+ ms", lines["charge-payment"])
    assert "SIMULATED_FAILURE" in lines["pick-items"]


VERIFIED = """
name: verified
version: 1
type: PARCEL
steps:
  - id: hold
    service: inventory-service
    operation: reserve
    compensation:
      operation: release
      verify: {operation: reserve}
  - id: pick
    service: warehouse-service
    operation: pick
    input: {simulate: {failStep: "'pick'"}}
    compensation: {operation: return-items}
"""


def test_history_names_undo_and_verify(server: str, tmp_path: Path) -> None:
    """Each request says its purpose and operation, and counts the attempts of that purpose."""
    file = tmp_path / "verified.yaml"
    file.write_text(VERIFIED)
    told(server, "definitions", "apply", str(file))
    conveyor(server, "workflow", "start", "verified", "--id", "verified-1", "--wait")

    whole = conveyor(server, "workflow", "history", "verified-1").stdout
    last = int(whole.splitlines()[-1].split()[0])
    end = conveyor(server, "workflow", "history", "verified-1", "--after", str(last - 3)).stdout

    assert "undo hold, attempt 1: inventory-service.release" in whole
    assert "verify hold, attempt 1: inventory-service.reserve" in whole
    assert "verify hold, attempt 1: hold is undone" in end


# -- the first minutes ---------------------------------------------------------------------------


def test_version_and_help() -> None:
    """Every program has these."""
    assert re.fullmatch(r"conveyor \d+\.\d+\.\d+\n", conveyor("", "--version").stdout)
    for arguments in ([], ["workflow", "list"], ["bench"], ["dev"]):
        assert "Usage" in conveyor("", *arguments, "-h").stdout


def test_completion() -> None:
    """The shell can complete commands; which one it is shows in the parent process."""
    installed = Path(sys.executable).with_name("conveyor")
    done = subprocess.run(
        ["bash", "-c", f"{shlex.quote(str(installed))} --show-completion; exit $?"],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "complete -o default -F _conveyor_completion" in done.stdout


def test_the_address_in_dotenv(server: str, tmp_path: Path) -> None:
    """`.env` may say where Conveyor is; the environment wins, and an option over both."""
    (tmp_path / ".env").write_text(f"CONVEYOR_URL={server}\n")
    wrong = f"http://127.0.0.1:{free_port()}"

    assert process("workflow", "list", folder=tmp_path).returncode == 0
    assert process("workflow", "list", folder=tmp_path, CONVEYOR_URL=wrong).returncode == 3
    assert process("workflow", "list", "--url", wrong, folder=tmp_path).returncode == 3
