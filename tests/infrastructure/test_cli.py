"""The command line, against a real server process where it needs one."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.infrastructure.commands import (
    CONVEYOR,
    ENVIRONMENT,
    ORDER,
    answering,
    conveyor,
    free_port,
    process,
    started,
    told,
)
from tests.waiting import end_of, wait_until

PARCEL = """
name: {name}
version: 1
type: PARCEL
title: {title}
steps:
  - id: pack
    service: packing-service
    operation: pack
    compensation: {{operation: unpack}}
"""


# -- workflow start ------------------------------------------------------------------------------


def test_start(server: str) -> None:
    """A start tells the workflow."""
    workflow = started(server, "start-1", "--priority", "HIGH", "--correlation-id", "corr-1")

    assert workflow["id"] == "start-1"
    assert (workflow["priority"], workflow["correlationId"]) == ("HIGH", "corr-1")


@pytest.mark.parametrize("wait", [["--wait"], ["--wait", "20"], ["--wait=20"]])
def test_start_and_wait(server: str, wait: list[str]) -> None:
    """With `--wait`, with a number or without, a completed workflow is a success."""
    start = ["workflow", "start", "order-fulfillment", "--input", ORDER]

    workflow = told(server, *start, *wait)

    assert workflow["status"] == "COMPLETED"


def test_wait_before_the_argument(server: str) -> None:
    """`--wait` without a number does not swallow what follows it."""
    workflow = told(server, "workflow", "start", "--wait", "order-fulfillment", "--input", ORDER)

    assert workflow["status"] == "COMPLETED"


def test_not_completed(server: str) -> None:
    """With `--wait` every other end is exit code 1."""
    order = {**json.loads(ORDER), "simulate": {"failStep": "pick-items"}}
    start = ["workflow", "start", "order-fulfillment", "--input", json.dumps(order)]

    workflow = told(server, *start, "--wait", exit_code=1)
    shown = conveyor(server, *start, "--wait").stdout

    assert workflow["status"] == "COMPENSATED"
    assert "pick-items, attempt 1: SIMULATED_FAILURE: pick-items fails as asked" in shown
    assert "{" not in shown


def test_wait_is_over(server: str) -> None:
    """So is the end of the waiting."""
    order = {**json.loads(ORDER), "simulate": {"latencyMs": 3000}}
    start = ["workflow", "start", "order-fulfillment", "--input", json.dumps(order)]

    workflow = told(server, *start, "--wait", "0.2", exit_code=1)

    assert workflow["status"] == "EXECUTING"


def test_wait_beyond_one_request() -> None:
    """A wait is not over with the first answer."""
    executing, completed = (
        {"id": "wf-1", "status": "EXECUTING"},
        {"id": "wf-1", "status": "COMPLETED"},
    )
    with answering((201, executing), (200, executing), (200, completed)) as (url, _):
        workflow = told(url, "workflow", "start", "any", "--wait")

    assert workflow == completed


def test_input_from_a_file_and_from_stdin(server: str, tmp_path: Path) -> None:
    """`@FILE` and `-` name where the input is."""
    (tmp_path / "order.json").write_text(ORDER)
    start = ("workflow", "start", "order-fulfillment", "--output", "json", "--input")

    from_file = conveyor(server, *start, f"@{tmp_path / 'order.json'}")
    from_stdin = conveyor(server, *start, "-", input=ORDER)

    for result in (from_file, from_stdin):
        assert json.loads(result.stdout)["inputParameters"] == json.loads(ORDER)


def test_started_before(server: str) -> None:
    """The same key and input again is a success that says so."""
    start = ["workflow", "start", "order-fulfillment", "--input", ORDER, "--idempotency-key", "k"]

    first = told(server, *start)
    again = conveyor(server, *start)

    assert again.exit_code == 0
    assert first["id"] in again.stdout
    assert "made before" in again.stderr


@pytest.mark.parametrize(
    ("arguments", "exit_code", "sentence"),
    [
        (["order-fulfillment", "--input", "{}"], 1, "input.orderId: is required"),
        (["nothing"], 1, "UNKNOWN_DEFINITION"),
        (["order-fulfillment", "--version", "9"], 1, "UNKNOWN_DEFINITION"),
        (["order-fulfillment", "--input", "{"], 2, "--input"),
        (["order-fulfillment", "--input", "[]"], 2, "must be a JSON object"),
        (["order-fulfillment", "--input", "@nowhere.json"], 2, "nowhere.json"),
        (["order-fulfillment", "--file", "nowhere.jsonl"], 2, "nowhere.jsonl"),
        (["order-fulfillment", "--file", "any", "--id", "x"], 2, "--id"),
        (["order-fulfillment", "--file", "any", "--wait"], 2, "--wait"),
        (["order-fulfillment", "--priority", "URGENT"], 2, "priority"),
        ([], 2, "definition"),
    ],
)
def test_start_refused(server: str, arguments: list[str], exit_code: int, sentence: str) -> None:
    """A start that cannot be tells why, and whether the service or the command line said so."""
    result = conveyor(server, "workflow", "start", *arguments)

    assert result.exit_code == exit_code
    assert sentence.lower() in result.output.lower()


# -- workflow start --file -----------------------------------------------------------------------


def test_file(server: str, tmp_path: Path) -> None:
    """Starting the same file again starts no line twice. A refusal names its line."""
    lines = [json.dumps({**json.loads(ORDER), "orderId": f"F-{number}"}) for number in range(200)]
    lines[50] = ""
    lines[60] = "{"
    lines[70] = "[]"
    lines[80] = json.dumps({"orderId": "F-80"})
    lines[90] = json.dumps({"id": "file-90", "input": json.loads(ORDER), "labels": {"a": "b"}})
    lines[91] = json.dumps({"id": "not/possible", "input": json.loads(ORDER)})
    file = tmp_path / "orders.jsonl"
    file.write_text("\n".join(lines))
    start = ("workflow", "start", "order-fulfillment", "--file", str(file))

    first = told(server, *start, exit_code=1)
    again = told(server, *start, exit_code=1)

    assert (first["started"], first["duplicates"]) == (195, 0)
    assert (again["started"], again["duplicates"]) == (0, 195)
    assert [(each["line"], each["code"]) for each in first["refused"]] == [
        (61, "NOT_JSON"),
        (71, "INVALID_INPUT"),
        (81, "INVALID_INPUT"),
        (92, "INVALID_INPUT"),
    ]
    assert again["refused"] == first["refused"]
    assert told(server, "workflow", "show", "file-90")["labels"] == {"a": "b"}


def test_file_without_faults(server: str, tmp_path: Path) -> None:
    """A file of which every line is started is a success, with the options for each line."""
    file = tmp_path / "orders.jsonl"
    file.write_text(ORDER + "\n")
    options = ("--priority", "LOW", "--correlation-id", "from-file")

    result = conveyor(
        server, "workflow", "start", "order-fulfillment", "--file", str(file), *options
    )

    assert result.exit_code == 0
    found = told(server, "workflow", "list", "--correlation-id", "from-file")["items"]
    assert [item["priority"] for item in found] in ([], ["LOW"])  # lists may be a second behind


def test_file_over_an_outage(tmp_path: Path) -> None:
    """A line is sent again, with the same key, while the service is away for a moment."""
    file = tmp_path / "orders.jsonl"
    file.write_text(ORDER + "\n")
    away = (503, {"code": "UNAVAILABLE", "detail": "kafka: no"})
    with answering(away, away, (201, {"id": "wf-1"})) as (url, bodies):
        summary = told(url, "workflow", "start", "any", "--file", str(file))

    assert summary == {"started": 1, "duplicates": 0, "refused": []}
    assert len(bodies) == 3
    assert len({body["idempotencyKey"] for body in bodies}) == 1


# -- the other commands on workflows -------------------------------------------------------------


def test_show_and_history(server: str) -> None:
    """A workflow and its history can be seen, by people and by programs."""
    started(server, "seen-1", "--wait")

    workflow = told(server, "workflow", "show", "seen-1")
    history = told(server, "workflow", "history", "seen-1")
    page = conveyor(server, "workflow", "history", "seen-1", "--limit", "3")
    table = conveyor(server, "workflow", "show", "seen-1")

    assert workflow["status"] == "COMPLETED"
    assert len(history["items"]) == workflow["version"]
    assert "reserve-inventory, attempt 1: inventory-service.reserve" in page.stdout
    assert "--after 3" in page.stderr
    assert "reserve-inventory" in table.stdout


def test_show_names_a_service_that_nobody_reads(server: str, tmp_path: Path) -> None:
    """A misspelt name waits for ever; who looks at the workflow is told why."""
    definition = {"name": "trip", "version": 1, "type": "TRIP"}
    undo = {"operation": "cancel"}
    step = {"id": "book", "service": "hotell", "operation": "book", "compensation": undo}
    file = tmp_path / "trip.json"
    file.write_text(json.dumps({**definition, "steps": [step]}))
    told(server, "definitions", "apply", str(file))
    told(server, "workflow", "start", "trip", "--id", "trip-1")

    # The server asks who reads at most every few seconds.
    shown, deadline = "", time.monotonic() + 30
    while "waits for hotell" not in shown and time.monotonic() < deadline:
        shown = " ".join(conveyor(server, "workflow", "show", "trip-1").stdout.split())
    assert "waits for hotell" in shown
    assert "nobody has ever read its requests" in shown


def test_show_does_not_wait_for_health(server: str) -> None:
    """Health may take seconds while a server is away; the workflow itself is there at once."""
    started(server, "shown-1", "--wait")
    workflow = told(server, "workflow", "show", "shown-1")
    waiting = {**workflow, "unresolved": [workflow["steps"][0]["stepId"]]}

    with answering((200, waiting), silent="/health/workflow") as (url, _):
        began = time.monotonic()
        result = conveyor(url, "workflow", "show", "shown-1")

    assert result.exit_code == 0
    assert "shown-1" in result.stdout
    assert time.monotonic() - began < 2.5


def test_list(server: str) -> None:
    """The list takes the API's filters, and tells that there is more."""
    for number in range(2):
        started(server, f"list-{number}", "--correlation-id", "listed", "--wait")
    filters = ("--status", "COMPLETED", "--ended", "--correlation-id", "listed", "--limit", "1")

    deadline = time.monotonic() + 30
    page: Any = {"nextCursor": None}
    while page["nextCursor"] is None and time.monotonic() < deadline:
        page = told(server, "workflow", "list", *filters)
    table = conveyor(server, "workflow", "list", *filters)
    rest = told(server, "workflow", "list", *filters, "--cursor", page["nextCursor"])

    assert [item["id"] for item in page["items"]] == ["list-1"]
    assert [item["id"] for item in rest["items"]] == ["list-0"]
    assert "list-1" in table.stdout
    assert page["nextCursor"] in table.stderr


def test_compensate_and_cancel(server: str) -> None:
    """Controls tell the workflow after them, and a conflict what is possible instead."""
    started(server, "control-1", "--wait")

    refused = conveyor(server, "workflow", "cancel", "control-1", "--reason", "late", "--leave")
    compensated = told(server, "workflow", "compensate", "control-1", "--reason", "returned")

    assert refused.exit_code == 5
    assert "possible now: compensate" in refused.stderr
    assert compensated["status"] in ("COMPENSATING", "COMPENSATED")


def test_pause_signal_and_resume(server: str) -> None:
    """A workflow is held, told something and let go."""
    order = json.dumps({**json.loads(ORDER), "simulate": {"latencyMs": 300}})
    start = ("workflow", "start", "order-fulfillment", "--input", order, "--id", "held-1")
    told(server, *start)

    paused = told(server, "workflow", "pause", "held-1", "--reason", "spill")
    told(server, "workflow", "signal", "held-1", "cleaned", "--payload", '{"by": "Ada"}')
    resumed = told(server, "workflow", "resume", "held-1")

    assert (paused["status"], resumed["status"]) == ("PAUSED", "EXECUTING")
    history = conveyor(server, "workflow", "history", "held-1").stdout
    assert "spill" in history
    assert "cleaned" in history


REPAIRED = """
name: repaired
version: 1
type: PARCEL
onFailure: hold
steps:
  - id: hold
    service: inventory-service
    operation: reserve
    retry: {maxRetries: 3, initialDelayMs: 600000, maxDelayMs: 600000}
    input: {simulate: input.simulate}
    compensation: {operation: release}
  - id: pick
    service: warehouse-service
    operation: pick
    retry: {maxRetries: 0}
    input: {simulate: {failStep: "'pick'"}}
    compensation: {operation: return-items}
  - id: pack
    service: packing-service
    operation: no-such-operation
    retry: {maxRetries: 0}
    compensation: {operation: unpack}
"""


def test_repairs(server: str, tmp_path: Path) -> None:
    """A step is hurried after a patch, another one skipped, the last one completed by hand; each says why."""
    file = tmp_path / "repaired.yaml"
    file.write_text(REPAIRED)
    told(server, "definitions", "apply", str(file))
    fails = json.dumps({"simulate": {"failStep": "hold", "retryable": True}})
    told(server, "workflow", "start", "repaired", "--id", "repaired-1", "--input", fails)

    def step(place: int, status: str) -> bool:
        found = told(server, "workflow", "show", "repaired-1")["steps"][place]["status"]
        return bool(found == status)

    wait_until("its failure", lambda: step(0, "FAILED"))
    why = ("--reason", "repaired by Ada")
    refused = conveyor(server, "workflow", "skip-step", "repaired-1", "pick")
    told(server, "workflow", "patch", "repaired-1", "--input", '{"simulate": null}', *why)
    told(server, "workflow", "retry-step", "repaired-1", "hold", *why)
    wait_until("the next failure", lambda: step(1, "FAILED"))

    data = json.dumps({"stepId": "pick", "reason": "x"})
    seen = conveyor(server, "workflow", "preview", "repaired-1", "step.skip", "--data", data)
    told(server, "workflow", "skip-step", "repaired-1", "pick", *why)
    wait_until("the last failure", lambda: step(2, "FAILED"))
    hand = ("--result", '{"parcel": 7}')
    done = told(server, "workflow", "complete-step", "repaired-1", "pack", *hand, *why)

    assert refused.exit_code == 2
    assert "--reason" in refused.stderr
    assert "FAILED -> EXECUTING" in seen.stdout
    assert done["status"] == "COMPLETED"
    shown = conveyor(server, "workflow", "history", "repaired-1").stdout
    assert "pack, attempt 1, by hand; repaired by Ada" in shown
    assert "-> null; repaired by Ada" in shown
    history = json.loads(
        conveyor(server, "workflow", "history", "repaired-1", "--output", "json").stdout
    )
    reasons = [e["type"] for e in history["items"] if "Ada" in e["data"].get("reason", "")]
    assert reasons == [
        f"orchestration.workflow.{name}"
        for name in (
            "patched",
            "step.scheduled",
            "step.skipped",
            "retried",
            "step.executed",
            "retried",
        )
    ]


UNDO_THAT_FAILS = """
name: stranded
version: 1
type: PARCEL
steps:
  - id: hold
    service: inventory-service
    operation: reserve
    retry: {maxRetries: 0}
    compensation: {operation: no-such-operation}
  - id: pick
    service: warehouse-service
    operation: pick
    input: {simulate: {failStep: "'pick'"}}
    compensation: {operation: return-items}
"""


def test_every_allowed_command_is_a_command(server: str, tmp_path: Path) -> None:
    """What a workflow says is possible can be done here: a failed undo is forced."""
    file = tmp_path / "stranded.yaml"
    file.write_text(UNDO_THAT_FAILS)
    told(server, "definitions", "apply", str(file))
    start = ("workflow", "start", "stranded", "--id", "stranded-1", "--wait", "20")
    stranded = told(server, *start, exit_code=1)

    assert stranded["allowedCommands"] == ["compensate", "force-compensate"]
    told(server, "workflow", "force-compensate", "stranded-1", "--reason", "by hand")

    def status() -> str:
        return told(server, "workflow", "show", "stranded-1")["status"]

    wait_until("what was forced ends", lambda: status() != "COMPENSATING")
    assert status() == "COMPENSATED"
    assert conveyor(server, "workflow", "retry", "stranded-1").exit_code == 5


@pytest.mark.parametrize(
    ("arguments", "exit_code"),
    [
        (["show", "nobody"], 4),
        (["pause", "nobody"], 4),
        (["resume", "nobody"], 4),
        (["retry", "nobody"], 4),
        (["force-compensate", "nobody"], 4),
        (["signal", "nobody", "go"], 4),
        (["signal", "nobody", "go", "--payload", "[1]"], 2),
        (["signal", "nobody"], 2),
        (["show", "../definitions"], 4),
        (["history", "nobody"], 4),
        (["cancel", "nobody"], 4),
        (["compensate", "nobody"], 4),
        (["list", "--limit", "0"], 2),
        (["list", "--status", "DONE"], 2),
        (["list", "--colour", "red"], 2),
        (["dance"], 2),
    ],
)
def test_exit_codes(server: str, arguments: list[str], exit_code: int) -> None:
    """4 is not found, 1 refused by the service, 2 refused by the command line."""
    assert conveyor(server, "workflow", *arguments).exit_code == exit_code


@pytest.mark.parametrize(
    "arguments",
    [
        ["workflow", "list"],
        ["workflow", "start", "any"],
        ["workflow", "start", "any", "--file", "orders.jsonl"],
        ["definitions", "list"],
    ],
)
def test_no_connection(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nobody answers the exit code is 3, and the sentence says where."""
    monkeypatch.chdir(tmp_path)
    Path("orders.jsonl").write_text((ORDER + "\n") * 3)
    url = f"http://127.0.0.1:{free_port()}"

    result = conveyor(url, *arguments)

    assert result.exit_code == 3
    assert url in result.stderr


@pytest.mark.parametrize(
    ("status", "exit_code"), [(401, 6), (403, 6), (409, 5), (500, 1), (502, 3), (503, 3)]
)
def test_answers_as_exit_codes(status: int, exit_code: int) -> None:
    """Every refusal of the service has its exit code."""
    with answering((status, {"status": status, "code": "ANY", "detail": "no"})) as (url, _):
        result = conveyor(url, "workflow", "list")

    assert result.exit_code == exit_code
    assert "ANY: no" in result.stderr


def test_file_not_allowed(tmp_path: Path) -> None:
    """A file is not sent on, line by line, by whoever is not allowed to."""
    file = tmp_path / "orders.jsonl"
    file.write_text((ORDER + "\n") * 1000)
    with answering((403, {"status": 403, "code": "NOT_ALLOWED", "detail": "no"})) as (url, bodies):
        result = conveyor(url, "workflow", "start", "any", "--file", str(file))

    assert result.exit_code == 6
    assert len(bodies) < 200


def test_no_address() -> None:
    """What is no address is a mistake of usage."""
    assert conveyor("nonsense", "workflow", "list").exit_code == 2


# -- definitions ---------------------------------------------------------------------------------


def test_apply(server: str, tmp_path: Path) -> None:
    """A folder is registered file by file; what is registered stays, other content is a conflict."""
    (tmp_path / "a.yaml").write_text(PARCEL.format(name="parcel-a", title="A"))
    (tmp_path / "b.yml").write_text(PARCEL.format(name="parcel-b", title="B"))
    (tmp_path / "notes.txt").write_text("no definition")
    apply = ("definitions", "apply", str(tmp_path))

    first = told(server, *apply)
    again = told(server, *apply)
    (tmp_path / "a.yaml").write_text(PARCEL.format(name="parcel-a", title="Changed"))
    changed = told(server, *apply, exit_code=5)

    assert [each["result"] for each in first] == ["created", "created"]
    assert [each["result"] for each in again] == ["same", "same"]
    assert [each["result"] for each in changed] == ["conflict", "same"]
    assert told(server, "definitions", "show", "parcel-a", "1")["title"] == "A"
    assert "parcel-b" in conveyor(server, "definitions", "list").stdout
    assert "title: A" in conveyor(server, "definitions", "show", "parcel-a", "1").stdout
    assert conveyor(server, "definitions", "show", "parcel-a", "2").exit_code == 4


def test_check_and_apply_agree(server: str, tmp_path: Path) -> None:
    """`check` finds without a server what `apply` is refused for."""
    file = tmp_path / "unsafe.yaml"
    file.write_text("name: unsafe\nversion: 1\ntype: T\nsteps: [{id: a, service: s, operation: o}]")

    checked = told("http://127.0.0.1:1", "definitions", "check", str(file), exit_code=1)
    applied = told(server, "definitions", "apply", str(file), exit_code=1)

    assert [fault["rule"] for fault in checked[0]["errors"]] == ["COMPENSATION_MISSING"]
    assert [fault["message"] for fault in applied[0]["errors"]] == [
        fault["message"] for fault in checked[0]["errors"]
    ]


def test_check(tmp_path: Path) -> None:
    """What is safe is exit code 0; no YAML is 1; no file is 2."""
    safe, broken = tmp_path / "safe.yaml", tmp_path / "broken.yaml"
    safe.write_text(PARCEL.format(name="parcel", title="P"))
    broken.write_text("a: [")

    assert conveyor("", "definitions", "check", str(safe)).exit_code == 0
    assert conveyor("", "definitions", "check", str(broken)).exit_code == 1
    assert conveyor("", "definitions", "check", str(tmp_path / "nowhere")).exit_code == 2
    assert conveyor("", "definitions", "check", str(tmp_path)).exit_code == 1
    broken.unlink()
    hidden = tmp_path / ".venv" / "lib"
    hidden.mkdir(parents=True)
    (hidden / "settings.yaml").write_text("debug: true\n")
    assert conveyor("", "definitions", "check", str(tmp_path)).exit_code == 0


UNSAFE = """name: hotel
version: 1
type: TRIP
steps:
  - id: check-in
    service: hotel-service
    operation: book
    input:
      city: Paris
      room: twin room
    compensation: {operation: cancel}
  - id: pay
    service: payment-service
    operation: charge
    input:
      booking: steps.check-in.output.id
    compensation: {operation: refund}
  - {id: pay, service: payment-service, operation: charge, kind: read-only, dependsOn: [pay]}
"""


def test_check_says_where_and_what_to_write(tmp_path: Path) -> None:
    """Every fault has its line, and common slips the text that was meant."""
    unsafe, misspelt = tmp_path / "a.yaml", tmp_path / "b.json"
    unsafe.write_text(UNSAFE)
    step = {"id": "a", "service": "s", "operation": "o", "depends_on": [], "colour": 1}
    misspelt.write_text(json.dumps({"name": "b", "version": 1, "type": "T", "steps": [step]}))

    first, second = told("", "definitions", "check", str(tmp_path), exit_code=1)

    faults = {fault["line"]: fault for fault in first["errors"]}
    assert sorted(faults) == [9, 10, 12, 16]
    assert "write a text as \"'Paris'\"" in faults[9]["message"]
    assert "write a text as \"'twin room'\"" in faults[10]["message"]
    assert faults[12]["rule"] == "DUPLICATE_STEP"
    assert 'steps."check-in".output.id' in faults[16]["message"]
    assert [fault["path"] for fault in second["errors"]] == [
        "steps[0].depends_on",
        "steps[0].colour",
    ]
    assert "did you mean dependsOn?" in second["errors"][0]["message"]
    assert "the fields here are id, service" in second["errors"][1]["message"]


@pytest.mark.timeout(30)
def test_check_of_many_faults(tmp_path: Path) -> None:
    """The file is not read again for every fault."""
    file = tmp_path / "many.yaml"
    step = "  - {{id: s{n}, service: s, operation: o, dependson: []}}\n"
    steps = "".join(step.format(n=n) for n in range(1000))
    file.write_text(f"name: n\nversion: 1\ntype: T\nsteps:\n{steps}")

    (checked,) = told("", "definitions", "check", str(file), exit_code=1)

    assert [fault["line"] for fault in checked["errors"]] == list(range(5, 1005))


# -- settings and servers ------------------------------------------------------------------------


def test_config(monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings in force are shown, without their secrets."""
    monkeypatch.setenv("CONVEYOR_MONGODB__URI", "mongodb://user:hidden@mongo:27017")

    shown = told("", "config", "show")
    table = conveyor("", "config", "show")

    assert shown["mongodb"]["uri"] == "mongodb://********@mongo:27017"
    assert "CONVEYOR_MONGODB__URI" in table.stdout
    assert "hidden" not in table.stdout
    assert conveyor("", "config", "check").exit_code == 0


@pytest.mark.parametrize("arguments", [["config", "check"], ["dev"], ["init"]])
def test_wrong_setting(arguments: list[str]) -> None:
    """A wrong setting ends any command with its name, its fault and an example."""
    result = process(*arguments, CONVEYOR_KAFKA__BOOTSTRAP_SERVERS="nonsense")

    assert result.returncode == 2
    assert "CONVEYOR_KAFKA__BOOTSTRAP_SERVERS" in result.stderr
    assert "for example" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "exit_code", "sentence"),
    [
        (["serve", "--roles", "juggler"], 2, "unknown role juggler"),
        (["serve", "--roles", "api", "--host", "0.0.0.0"], 2, "must be a loopback address"),  # noqa: S104
        (["init"], 3, "kafka"),
    ],
)
def test_servers_that_cannot_be(arguments: list[str], exit_code: int, sentence: str) -> None:
    """A server that must not or cannot run says why in a sentence."""
    if "--host" in arguments:
        arguments = [*arguments, "--port", str(free_port())]

    result = process(*arguments, CONVEYOR_KAFKA__BOOTSTRAP_SERVERS="127.0.0.1:1")

    assert result.returncode == exit_code, result.stderr
    assert sentence in result.stderr
    assert "Traceback" not in result.stderr


def test_port_is_taken(server: str, tmp_path: Path) -> None:
    """A port that another process has is refused before anything is begun."""
    file = tmp_path / "other.db"

    result = process("dev", "--port", server.rpartition(":")[2], "--db", str(file))

    assert result.returncode == 2
    assert "is taken; choose another" in result.stderr
    assert not file.exists()


def test_file_is_in_use(tmp_path: Path) -> None:
    """Two processes cannot have one database file."""
    file = tmp_path / "conveyor.db"
    first = subprocess.Popen(
        [*CONVEYOR, "dev", "--port", str(free_port()), "--db", str(file)],
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until("the database file", file.exists, 40, lambda: end_of(first))
        second = process("dev", "--port", str(free_port()), "--db", str(file))
    finally:
        first.terminate()
        first.wait(30)

    assert second.returncode == 2
    assert "is in use by" in second.stderr


def test_help() -> None:
    """Every command explains itself."""
    for arguments in ([], ["workflow"], ["definitions"], ["config"], ["bench"], ["dev"], ["serve"]):
        result = conveyor("", *arguments, "--help")
        assert result.exit_code == 0
        assert "Usage" in result.stdout
