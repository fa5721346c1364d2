"""What the pages print runs as printed."""

from __future__ import annotations

import ast
import asyncio
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from confluent_kafka import Consumer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from conveyor import topics
from conveyor.cloudevents import decode
from conveyor.messages import Record

from application.aggregates.catalog import CATALOG
from application.codec.starts import StartIntent
from application.definitions.compilation import compile_definition
from deploy.local_services.process import free_port
from tests.acceptance.programs import is_ready
from tests.docs.pages import ROOT, page, snippets
from tests.waiting import end_of, wait_until

PAGES = ["README.md", *(file.relative_to(ROOT).as_posix() for file in ROOT.glob("docs/**/*.md"))]
CONVEYOR = Path(sys.executable).with_name("conveyor")
DEADLINE_SECONDS = 30.0


# -- the tour ------------------------------------------------------------------------------------


@contextmanager
def embedded_mode(folder: Path, *command: str) -> Iterator[str]:
    """What `make run` starts, or another command, on a file and a port of its own; its address."""
    port = free_port(18_080)
    arguments = [*(command or ["dev"]), "--port", str(port), "--db", str(folder / "tour.db")]
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen([CONVEYOR, *arguments], cwd=folder, stdout=log, stderr=log) as process,
    ):
        try:
            url = f"http://127.0.0.1:{port}"
            wait_until(
                "the service is ready", partial(is_ready, url), given_up=partial(end_of, process)
            )
            yield url
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(DEADLINE_SECONDS)


def commands_in(snippet: str) -> list[list[str]]:
    """The commands of a shell snippet, as argument lists."""
    commands: list[list[str]] = []
    text = ""
    for line in snippet.replace("\\\n", " ").splitlines():
        text += line + "\n"
        try:
            commands.append(shlex.split(text))
        except ValueError:
            continue  # a quotation that goes on in the next line
        text = ""
    assert not text.strip()
    return [command for command in commands if command]


def run(command: list[str], url: str) -> None:
    if command[0] == "curl":
        curl(command[1:], url)
        return
    assert command[0] == ".venv/bin/conveyor"
    environment = {**os.environ, "CONVEYOR_URL": url}
    done = subprocess.run(
        [CONVEYOR, *command[1:]], cwd=ROOT, env=environment, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()


def curl(arguments: list[str], url: str) -> None:
    """The few options that the pages use, on machines that have no curl."""
    [address] = [argument for argument in arguments if argument.startswith("http://")]
    options = iter(argument for argument in arguments if argument not in (address, "-s"))
    headers: dict[str, str] = {}
    data: str | None = None
    for option in options:
        match option:
            case "-H":
                name, _, value = next(options).partition(": ")
                headers[name] = value
            case "-d":
                data = next(options)
            case _:
                raise AssertionError(f"curl {option} is not understood by this test")
    target = address.replace("http://127.0.0.1:8080", url)
    method = "GET" if data is None else "POST"
    answer = httpx.request(method, target, content=data, headers=headers, timeout=DEADLINE_SECONDS)
    assert answer.is_success, answer.text


@pytest.mark.e2e
@pytest.mark.timeout(120)
def test_the_tour_of_the_readme(tmp_path: Path) -> None:
    """Every command of the five-minute tour succeeds and leaves the orders as the text says."""
    with embedded_mode(tmp_path) as url:
        for snippet in snippets("README.md", "tour"):
            for command in commands_in(snippet):
                run(command, url)
        ends = {order: ended(url, order) for order in ("order-1", "order-2")}

    undone = ["assign-robot", "charge-payment", "reserve-inventory"]
    assert ends["order-1"]["status"] == "COMPENSATED"
    assert len(ends["order-1"]["compensatedSteps"]) == 5
    assert ends["order-2"]["status"] == "COMPENSATED"
    assert ends["order-2"]["compensatedSteps"] == undone


def ended(url: str, workflow_id: str) -> dict[str, Any]:
    def ended_workflow() -> dict[str, Any] | None:
        workflow = httpx.get(
            f"{url}/api/v1/workflows/{workflow_id}", timeout=DEADLINE_SECONDS
        ).json()
        has_ended = (
            workflow["completedAt"] is not None and workflow["compensationStatus"] != "RUNNING"
        )
        return workflow if has_ended else None

    return wait_until(f"the end of {workflow_id}", ended_workflow)


def test_the_first_workflow_is_small() -> None:
    """Under twenty lines of Python and twelve of YAML."""
    code, definition = (
        re.findall(rf"```{language}\n(.*?)```", page("docs/howto/first-workflow.md"), re.DOTALL)[0]
        for language in ("python", "yaml")
    )

    assert len([each for each in code.splitlines() if each]) < 20
    assert len(definition.splitlines()) < 12


def test_printed_files_are_those_of_the_repository() -> None:
    """A block under `<!-- file: path -->` is that file."""
    printed = re.findall(r"<!-- file: (\S+) -->\n```\w+\n(.*?)```", page("README.md"), re.DOTALL)

    assert printed
    assert all(code == page(name) for name, code in printed)


# -- Kafka ---------------------------------------------------------------------------------------


@pytest.mark.kafka
@pytest.mark.timeout(120)
def test_the_bare_producer(kafka_bootstrap: str, tmp_path: Path) -> None:
    """What the printed producer writes is a start command, whatever client reads it."""
    [code] = snippets("README.md", "producer")
    topic = f"readme-{uuid.uuid4().hex}"
    admin = AdminClient({"bootstrap.servers": kafka_bootstrap})
    admin.create_topics([NewTopic(topic, num_partitions=1)])[topic].result(DEADLINE_SECONDS)
    script = tmp_path / "start.py"
    script.write_text(code.replace(topics.COMMANDS, topic))

    subprocess.run(
        [sys.executable, script],
        env={**os.environ, "CONVEYOR_KAFKA__BOOTSTRAP_SERVERS": kafka_bootstrap},
        check=True,
        timeout=DEADLINE_SECONDS,
    )

    inbound = CATALOG.decode(decode(first_record(kafka_bootstrap, topic)))
    assert isinstance(inbound.intent, StartIntent)
    assert inbound.aggregate_id == "order-3"
    assert inbound.intent.reference == "order-fulfillment"
    assert inbound.intent.data.input["lines"] == [{"sku": "RUG-04", "quantity": 1}]


def first_record(bootstrap: str, topic: str) -> Record:
    consumer = Consumer(
        {"bootstrap.servers": bootstrap, "group.id": topic, "auto.offset.reset": "earliest"}
    )
    consumer.subscribe([topic])
    try:
        [message] = consumer.consume(1, DEADLINE_SECONDS)
    finally:
        consumer.close()
    assert message.error() is None
    headers: list[tuple[str, bytes]] = message.headers() or []  # pyright: ignore[reportAssignmentType]
    key, value = message.key(), message.value()
    assert isinstance(key, bytes)
    assert isinstance(value, bytes)
    return Record(topic=topics.COMMANDS, key=key, value=value, headers=tuple(headers))


# -- how-to --------------------------------------------------------------------------------------


def test_the_participant_and_its_test() -> None:
    """The printed test of the printed participant passes."""
    names: dict[str, Any] = {"__name__": "participant"}
    code = "\n".join(snippets("docs/howto/participants.md", "participant"))
    # Evaluated annotations: the handlers' types are looked up in the module that they stand in.
    exec(compile(code, "participants.md", "exec", dont_inherit=True), names)  # noqa: S102 - our own page

    asyncio.run(names["test_reserve_twice_is_reserve_once"]())
    [text] = snippets("docs/howto/participants.md", "reservation")
    definition = compile_definition(yaml.safe_load(text))
    handlers = names["inventory"].steps
    assert {(step.service, step.operation) for step in definition.steps} <= handlers.keys()


@pytest.mark.parametrize("name", PAGES)
def test_every_printed_block_is_valid(name: str) -> None:
    """Python compiles and JSON parses, also where a block is not run."""
    blocks = re.findall(r"```(python|json)\n(.*?)```", page(name), re.DOTALL)

    assert [code for language, code in blocks if not is_valid(language, code)] == []


def is_valid(language: str, code: str) -> bool:
    try:
        if language == "python":
            ast.parse(code)
        else:
            json.loads(code)
    except (ValueError, SyntaxError):
        return False
    return True
