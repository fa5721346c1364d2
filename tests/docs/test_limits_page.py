"""The page of limits has the numbers of the code."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from conveyor import handlers, payloads, topics
from conveyor.client import Client
from conveyor.redis_keys import RedisKeyStore
from conveyor.runner import ParticipantRunner

from adapters.kafka import topics as kafka_topics
from adapters.kafka.settings import KafkaSettings
from adapters.redis import hot_state
from adapters.rest import bodies, bounded_yaml, correlation
from application.definitions import evaluation, input_schema
from application.definitions.compilation import InvalidDefinition, compile_definition
from application.engine import drafts, intake, memory
from application.use_cases import control, refusal
from domain.aggregate.ids import id_fault
from domain.definition import limits, retry
from domain.definition.faults import Rule
from domain.workflow import replies, sealing, weight
from tests.docs.pages import ROOT, first_code, page, rows, section

PAGE = page("docs/reference/limits.md")
_KIB, _MIB = 1024, 1024 * 1024


def listed(heading: str) -> dict[str, str]:
    """First cell -> second cell, up to what is explained behind the value."""
    table = rows(section(PAGE, heading))
    return {cells[0]: cells[1].partition(":")[0].partition(";")[0] for cells in table}


def number(text: str) -> float:
    return float(text.replace(",", ""))


def days(duration: timedelta) -> str:
    return f"{duration.days} day{'s' if duration.days > 1 else ''}"


def default(function: Any, parameter: str) -> Any:
    return inspect.signature(function).parameters[parameter].default


def test_names() -> None:
    """How long ids and names may be; the pattern of an id is tried."""
    assert id_fault("a" * 36) is None
    assert id_fault("a" * 37) is not None
    assert listed("## Names") == {
        "Workflow id": "36 characters",
        "Name of a definition, step id, type, operation": f"{limits.MAX_NAME_LENGTH} characters",
        "Name of a service": f"{limits.MAX_SERVICE_LENGTH} characters",
        "`source` and `id` of a message together": f"{intake.MESSAGE_ID_MAX:,} characters",
        "`Idempotency-Key` of a REST request": f"{refusal.KEY_LENGTH_MAX} characters",
        "`X-Correlation-ID` of a REST request": f"{correlation._LENGTH_MAX} characters",
    }


def test_sizes() -> None:
    """What messages, bodies and workflows may hold."""
    assert listed("## Sizes") == {
        "A command or reply on Kafka": f"{intake.MESSAGE_BYTES_MAX // _MIB} MiB",
        "Wait for the next part of a REST request's body": f"{bodies.BODY_WAIT_SECONDS:g} s",
        "The body of a REST request": f"{bodies.BODY_BYTES_MAX // _MIB} MiB",
        "Output of a step": f"{handlers.MAX_OUTPUT_BYTES // _KIB} KiB",
        "Snapshot of a step": f"{handlers.MAX_OUTPUT_BYTES // _KIB} KiB",
        "Data of a message that the engine writes": f"{drafts.MESSAGE_BYTES_MAX:,} bytes",
        "Data of a request: mapped input, and of an undo also output and snapshot": (
            f"{weight.WEIGHT_MAX:,} bytes"
        ),
        "Data of the requests that follow from one message": (
            f"about {weight.REQUESTS_BYTES_MAX:,} bytes"
        ),
        "Data that a workflow keeps": f"{drafts.INSTANCE_BYTES_MAX:,} bytes",
        "Steps of a definition": f"{limits.MAX_STEPS:,}",
        "Dependencies of a definition": f"{limits.MAX_DEPENDENCIES:,}",
        "Keys and values of a definition in YAML, each alias written out": f"{bounded_yaml.VALUES_MAX:,}",
    }


def test_nesting_and_expressions() -> None:
    """How deep documents may be, and what an evaluation may cost."""
    assert listed("## Nesting") == {
        "Data of a command or reply": f"{payloads.NESTING_MAX} levels",
        "A mapping of a definition": f"{limits.MAX_TEMPLATE_DEPTH} levels",
        "The value of an expression": f"{evaluation.DEPTH_MAX} levels",
    }
    assert listed("## Expressions")["Values that one evaluation may touch"] == (
        f"{evaluation.EVALUATION_MAX:,}"
    )


def test_rest() -> None:
    """Parameters as the API's description has them."""
    paths = json.loads((ROOT / "tests/golden/openapi.json").read_text())["paths"]

    def bounds(path: str, method: str, name: str) -> list[str]:
        [found] = [each for each in paths[path][method]["parameters"] if each["name"] == name]
        return [f"{found['schema'][key]:,}" for key in ("default", "maximum")]

    table = {cells[0]: cells[1:] for cells in rows(section(PAGE, "## REST"))}

    assert table == {
        "`wait` of a start, in seconds": bounds("/api/v1/workflows", "post", "wait"),
        "`limit` of the list": bounds("/api/v1/workflows", "get", "limit"),
        "`limit` of a history": bounds("/api/v1/workflows/{id}/history", "get", "limit"),
    }
    assert f"waits {control.DECISION_SECONDS:g} seconds for the engine's decision" in PAGE


def test_what_is_remembered() -> None:
    """Memories of the engine, and how long topics keep their messages."""
    specs = kafka_topics._contract_topics(KafkaSettings(bootstrap_servers=""), 1, ["service"])
    kept = {
        spec.name: timedelta(milliseconds=int({**spec.defaults, **spec.required}["retention.ms"]))
        for spec in specs
        if "retention.ms" in {**spec.defaults, **spec.required}
    }
    assert input_schema.MAX_FAULTS == drafts._FAULTS_TOLD
    assert listed("## What is remembered, and how long") == {
        "Command ids in the memory of a workflow; older ones are found in the event log": (
            f"{memory.COMMAND_IDS_KEPT:,}"
        ),
        "Faults that a refusal lists": f"{input_schema.MAX_FAULTS}",
        "Times that a message is sent on to another partition": f"{intake.HOPS_MAX}",
        "Inbox topics": "until they are decided, and trimmed",
        "Events topic": days(kept[topics.EVENTS]),
        "Request topics": days(kept[topics.step_requests("service")]),
        "Dead letters": days(kept[topics.DEAD_LETTER]),
        "A workflow in the hot state that nobody writes": days(
            timedelta(seconds=hot_state.STATE_SECONDS)
        ),
    }


def test_participants() -> None:
    """The defaults of the SDK's constructors."""
    assert listed("## Participants (SDK)") == {
        "Requests taken and not yet answered (`max_in_flight`)": (
            f"{default(ParticipantRunner, 'max_in_flight'):,}"
        ),
        "Requests taken at once (`batch_size`)": f"{default(ParticipantRunner, 'batch_size')}",
        "How long a stop waits for running handlers (`grace_seconds`)": (
            f"{default(ParticipantRunner, 'grace_seconds'):g} s"
        ),
        "How long `RedisKeyStore` keeps a key (`expiry`)": days(default(RedisKeyStore, "expiry")),
        "How long a process holds a key without a sign of life (`lease`)": (
            f"{default(RedisKeyStore, 'lease').total_seconds():g} s"
        ),
        "How long a client waits for an outcome (`timeout_seconds`)": (
            f"{default(Client, 'timeout_seconds'):g} s"
        ),
    }


def test_seals_and_late_retries() -> None:
    """How often a seal is repeated, and how soon a retry may come."""
    text = " ".join(PAGE.split())

    assert retry.QUICK_RETRIES + 1 == 4
    assert retry.LATER_DELAY_MIN_MS == 1000
    assert "From the fourth retry on, a step waits at least 1 second" in text
    assert sealing._BACK_OFF.initial_delay_ms == 1000
    assert f"at most {sealing._BACK_OFF.max_delay_ms // 1000} seconds" in text
    assert f"After {sealing.UNANSWERED_MAX} of them without an answer" in text
    assert f"after {replies.FAILURES_MAX} failures in a row" in text


# -- numbers of a definition ---------------------------------------------------------------------

NUMBERS = {
    first_code(cells[0]): [None if not cell else number(cell) for cell in cells[1:]]
    for cells in rows(section(PAGE, "## Numbers in a definition"))
}


def refused(field: str, value: float) -> bool:
    """Whether registration refuses a definition with this number for its size."""
    document: dict[str, Any] = {"name": "trial", "version": 1, "type": "TRIAL"}
    step: dict[str, Any] = {"id": "look", "service": "s", "operation": "o", "kind": "read-only"}
    section_name, _, name = field.rpartition(".")
    parts: Mapping[str, dict[str, Any]] = {
        "": document,
        "steps": step,
        "retry": document.setdefault("retry", {}),
    }
    parts[section_name][name] = value if not float(value).is_integer() else int(value)
    document["steps"] = [step]
    try:
        compile_definition(document)
    except InvalidDefinition as invalid:
        return all(fault.rule is Rule.LIMIT for fault in invalid.faults)
    return False


@pytest.mark.parametrize("field", NUMBERS)
def test_numbers_of_a_definition(field: str) -> None:
    """The lowest and the highest number pass; what is just outside is refused."""
    _, lowest, highest = NUMBERS[field]
    assert lowest is not None
    assert highest is not None

    assert not refused(field, lowest)
    assert not refused(field, highest)
    assert refused(field, lowest - 1)
    assert refused(field, highest + 1)


def test_every_number_of_a_definition_is_listed_with_its_default() -> None:
    """The defaults are those of the reference of definitions, which is held equal to the code."""
    reference = page("docs/reference/definition.md")
    headings = {"": "a definition", "steps.": "a step", "retry.": "a retry policy"}
    defaults = {
        prefix + first_code(cells[0]): None
        if cells[2] == "required"
        else float(first_code(cells[2]))
        for prefix, part in headings.items()
        for cells in rows(section(reference, f"## Fields of {part}"))
        if cells[1] in ("integer", "number")
    }

    assert {field: values[0] for field, values in NUMBERS.items()} == defaults
