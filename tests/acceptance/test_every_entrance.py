"""Every command in every status by every entrance, in both modes: the same outcome, and the same commands named.

PENDING is not here: nothing waits before it starts yet. The domain's own table has it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from conveyor import Client
from conveyor.async_client import AsyncWorkflow
from conveyor.errors import RequestRefusedError
from conveyor.wire import StepFailure, StepOutcome

from deploy.local_services.process import free_port
from tests.acceptance.programs import is_ready, running, until
from tests.acceptance.sites import Site, initialised, new_id
from tests.infrastructure.commands import conveyor

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

#: Nobody performs its steps: it stays where the test brings it.
TABLE: dict[str, Any] = {
    "name": "table",
    "version": 1,
    "type": "TABLE",
    "timeoutSeconds": 0,
    "steps": [
        {
            "id": name,
            "service": "nobody",
            "operation": name,
            "timeoutMs": 600_000,
            "compensation": {"operation": f"undo-{name}"},
        }
        for name in ("a", "b")
    ],
}
HELD = {**TABLE, "name": "held-table", "onFailure": "hold"}

DONE = StepOutcome(output={})
FAILED = StepOutcome(error=StepFailure(code="NO", type="BUSINESS_RULE_VIOLATION"))
WHY = "by the table"

#: What has happened when a workflow is in this status, and what it says is possible then.
STATUSES: Mapping[str, tuple[Sequence[str], Sequence[str]]] = {
    "EXECUTING": (("a done",), ("pause", "cancel", "signal")),
    "PAUSED": (("a done", "pause"), ("resume", "cancel", "signal")),
    "COMPLETED": (("a done", "b done"), ("compensate",)),
    "FAILED": (("a done", "b failed"), ("retry", "compensate", "force-compensate")),
    "COMPENSATING": (("a done", "b failed"), ("force-compensate",)),
    "COMPENSATED": (("a failed",), ()),
    "CANCELLED": (("a done", "cancel"), ("force-compensate",)),
}
HAPPENINGS: Mapping[str, Callable[[AsyncWorkflow], Awaitable[None]]] = {
    "a done": lambda run: run.execute_step("a", result=DONE),
    "a failed": lambda run: run.execute_step("a", result=FAILED),
    "b done": lambda run: run.execute_step("b", result=DONE),
    "b failed": lambda run: run.execute_step("b", result=FAILED),
    "pause": lambda run: run.pause(),
    "cancel": lambda run: run.cancel(compensate=False),
}


@dataclass(frozen=True)
class Entry:
    """One command, as each entrance has it; and the statuses in which it is accepted (the requirements' table)."""

    legal: frozenset[str]
    #: Method and path below the workflow, and the body.
    rest: tuple[str, str, Mapping[str, Any]]
    #: Behind `conveyor workflow`, with `ID` for the workflow.
    cli: Sequence[str]
    sdk: Callable[[AsyncWorkflow], Awaitable[None]]


def entry(
    legal: str,
    rest: str,
    body: Mapping[str, Any],
    cli: str,
    sdk: Callable[[AsyncWorkflow], Awaitable[None]],
) -> Entry:
    method, path = rest.split(" ")
    return Entry(frozenset(legal.split()), (method, path, body), cli.split(" "), sdk)


COMMANDS: Mapping[str, Entry] = {
    "pause": entry("EXECUTING", "PUT /pause", {}, "pause ID", lambda run: run.pause()),
    "resume": entry("PAUSED", "PUT /resume", {}, "resume ID", lambda run: run.resume()),
    "cancel": entry("EXECUTING PAUSED", "PUT /cancel", {}, "cancel ID", lambda run: run.cancel()),
    "retry": entry("FAILED", "PUT /retry", {}, "retry ID", lambda run: run.retry()),
    "compensate": entry(
        "FAILED COMPLETED", "PUT /compensate", {}, "compensate ID", lambda run: run.compensate()
    ),
    "force-compensate": entry(
        "FAILED COMPLETED CANCELLED COMPENSATING",
        "POST /force-compensate",
        {},
        "force-compensate ID",
        lambda run: run.force_compensate(),
    ),
    "signal": entry(
        "EXECUTING PAUSED",
        "POST /signal",
        {"name": "truck"},
        "signal ID truck",
        lambda run: run.signal("truck"),
    ),
    "step.execute": entry(
        "EXECUTING",
        "POST /steps/execute",
        {"stepId": "b", "result": {"output": {}}},
        "execute-step ID b --result {}",
        lambda run: run.execute_step("b", result=DONE),
    ),
    "step.retry-now": entry(
        "CANCELLED",
        "POST /steps/b/retry-now",
        {"reason": WHY},
        "retry-step ID b --reason why",
        lambda run: run.retry_step_now("b", WHY),
    ),
    "step.skip": entry(
        "FAILED",
        "POST /steps/b/skip",
        {"reason": WHY},
        "skip-step ID b --reason why",
        lambda run: run.skip_step("b", WHY),
    ),
    "step.complete": entry(
        "EXECUTING PAUSED FAILED",
        "POST /steps/b/complete",
        {"reason": WHY},
        "complete-step ID b --reason why",
        lambda run: run.complete_step("b", WHY),
    ),
    "patch": entry(
        "EXECUTING PAUSED FAILED",
        "PATCH ",
        {"reason": WHY, "input": {"n": 1}},
        'patch ID --reason why --input {"n":1}',
        lambda run: run.patch(WHY, input={"n": 1}),
    ),
    "reset": entry(
        "PAUSED FAILED",
        "POST /reset",
        {"reason": WHY, "toStep": "b"},
        "reset ID b --reason why",
        lambda run: run.reset("b", WHY),
    ),
}

#: None: accepted. Else the commands that the refusal names.
Outcome = Sequence[str] | None
#: Sends the command to the workflow.
Send = Callable[[Entry, str], Awaitable[Outcome]]


def by_rest(url: str) -> Send:
    async def send(command: Entry, workflow_id: str) -> Outcome:
        method, path, body = command.rest
        below = "/admin/workflows" if path == "/force-compensate" else "/api/v1/workflows"
        async with httpx.AsyncClient(timeout=30) as http:
            found = await http.request(method, f"{url}{below}/{workflow_id}{path}", json=body)
        if found.status_code == 200:
            return None
        problem = found.json()
        assert (found.status_code, problem["code"]) == (409, "ILLEGAL_STATUS"), problem
        return problem["allowedCommands"]

    return send


def by_command_line(url: str) -> Send:
    async def send(command: Entry, workflow_id: str) -> Outcome:
        words = [workflow_id if word == "ID" else word for word in command.cli]
        # One after the other: the runner replaces the process's standard output.
        result = conveyor(url, "workflow", *words)
        if result.exit_code == 0:
            return None
        assert result.exit_code == 5, result.output
        assert "ILLEGAL_STATUS" in result.stderr
        _, named, possible = result.stderr.partition("possible now: ")
        return possible.strip().split(", ") if named else []

    return send


def by_client(client: Any) -> Send:
    async def send(command: Entry, workflow_id: str) -> Outcome:
        try:
            await command.sdk(client.workflow(workflow_id))
        except RequestRefusedError as error:
            refused = error
        else:
            return None
        assert refused.code == "ILLEGAL_STATUS", refused
        return refused.allowed_commands

    return send


@asynccontextmanager
async def entrances(url: str, site: Site | None) -> AsyncGenerator[Mapping[str, Send]]:
    """By name; over Kafka where there is a site."""
    async with Client(url) as client:
        found = {
            "rest": by_rest(url),
            "command line": by_command_line(url),
            "client": by_client(client),
        }
        if site is None:
            yield found
            return
        over_kafka = Client.over_kafka(
            site.kafka, source="/table", topic_prefix=site.prefix, timeout_seconds=30
        )
        async with over_kafka as kafka:
            yield {**found, "kafka": by_client(kafka)}


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[str]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with running("dev", "dev", "--port", str(port), "--no-warehouse", folder=tmp_path) as program:
        until("dev is ready", lambda: is_ready(url), 60, [program])
        yield url


async def test_embedded(embedded: str) -> None:
    """By REST, command line and the SDK's client."""
    async with entrances(embedded, None) as found:
        assert await differences(embedded, found) == []


@pytest.mark.kafka
@pytest.mark.mongo
@pytest.mark.redis
async def test_on_kafka(
    kafka_bootstrap: str, mongo_uri: str, redis_url: str, tmp_path: Path
) -> None:
    """The same, and by commands on the topic. On a site of its own: what it leaves behind is unresolved."""
    with (
        initialised(kafka_bootstrap, mongo_uri, redis_url, tmp_path) as site,
        site.serving() as (_, url),
    ):
        async with entrances(url, site) as found:
            assert await differences(url, found) == []


async def differences(url: str, found: Mapping[str, Send]) -> list[str]:
    """What is not as the table has it."""
    async with httpx.AsyncClient(timeout=30) as http:
        for definition in (TABLE, HELD):
            registered = await http.post(f"{url}/api/v1/definitions", json=definition)
            assert registered.is_success, registered.text
    wrong: list[str] = []
    async with Client(url) as client:
        for status in STATUSES:
            for entrance, send in found.items():
                names = list(COMMANDS)
                ids = await asyncio.gather(*(brought_to(client, status) for _ in names))
                for name, workflow_id in zip(names, ids, strict=True):
                    outcome = await send(COMMANDS[name], workflow_id)
                    expected = None if status in COMMANDS[name].legal else STATUSES[status][1]
                    given = None if outcome is None else tuple(outcome)
                    if given != expected:
                        wrong.append(f"{name} {status} by {entrance}: {given}, not {expected}")
    return wrong


async def brought_to(client: Any, status: str) -> str:
    """A workflow in this status; its id."""
    definition = "held-table" if status == "FAILED" else "table"
    run = await client.start(definition, {}, workflow_id=new_id("t"))
    for happening in STATUSES[status][0]:
        await HAPPENINGS[happening](run)
    assert (await run.get()).status == status
    return run.id
