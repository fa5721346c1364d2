"""The reference names what the code has, and nothing else."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import typer
from conveyor import exchange, topics, types, wire
from msgspec.structs import fields
from pydantic import BaseModel
from typer.core import TyperGroup
from typer.main import get_command

from application.aggregates.catalog import CATALOG
from application.codec.events import camel, catalog_of
from application.codec.internal import TIMER_DUE
from bench.recipes.command import bench
from domain.aggregate.event import DomainEvent
from domain.aggregate.rejection import RejectionCode
from domain.workflow.events import StartFacts
from domain.workflow.kind import WORKFLOW
from infrastructure.cli import app
from infrastructure.settings import PREFIX, ServiceSection, Settings
from tests.docs.pages import ROOT, code_in, first_code, page, rows, section

MESSAGES = page("docs/reference/messages.md")

COMMAND_DATA: dict[str, type[BaseModel | exchange.Exchanged]] = {
    types.START: wire.StartData,
    types.PAUSE: wire.ReasonData,
    types.RESUME: wire.ReasonData,
    types.CANCEL: wire.CancelData,
    types.COMPENSATE: wire.ReasonData,
    types.FORCE_COMPENSATE: wire.ReasonData,
    types.RETRY: wire.ReasonData,
    types.SIGNAL: wire.SignalData,
    types.EXECUTE_STEP: wire.ExecuteStepData,
    types.RETRY_STEP_NOW: wire.StepRepairData,
    types.SKIP_STEP: wire.StepRepairData,
    types.COMPLETE_STEP: wire.CompleteStepData,
    types.PATCH: wire.PatchData,
    types.RESET: wire.ResetData,
}
REQUEST_DATA: dict[str, type[BaseModel | exchange.Exchanged]] = {
    types.STEP_REQUESTED: exchange.StepRequest,
    types.COMPENSATION_REQUESTED: exchange.CompensationRequest,
    types.SEAL_REQUESTED: exchange.SealRequest,
}
REPLY_DATA: dict[str, type[BaseModel | exchange.Exchanged]] = {
    types.STEP_COMPLETED: exchange.StepCompleted,
    types.STEP_FAILED: exchange.StepFailed,
    types.STEP_SEALED: exchange.Sealed,
}
#: Of a start, what stands among the fields that every event has.
IN_COMMON = {"definition", "tenant", "correlation_id"}


#: By its type, every event that is published of a workflow.
EVENTS = catalog_of(WORKFLOW)


def documented(heading: str) -> dict[str, set[str]]:
    """Type -> fields, required ones with a star, of the tables below a heading."""
    found: dict[str, set[str]] = {}
    for cells in rows(section(MESSAGES, heading)):
        name = first_code(cells[0])
        if name.startswith("orchestration."):
            cell = cells[2] if cells[1].endswith("Event") else cells[1]
            found[name] = set(cell.replace("`", "").split())
    return found


def wire_fields(model: type[BaseModel | exchange.Exchanged]) -> set[str]:
    if issubclass(model, exchange.Exchanged):
        return {item.encode_name + ("*" if item.required else "") for item in fields(model)}
    return {
        (field.alias or name) + ("*" if field.is_required() else "")
        for name, field in model.model_fields.items()
    }


def event_fields(event: type[DomainEvent]) -> set[str]:
    own = [item for item in fields(event) if item.name not in ("occurred_at", "actor", "facts")]
    if any(item.name == "facts" for item in fields(event)):
        own += [item for item in fields(StartFacts) if item.name not in IN_COMMON]
    return {camel(item.name) + ("*" if item.required else "") for item in own}


@pytest.mark.parametrize(
    ("heading", "models"),
    [
        ("## Commands", COMMAND_DATA),
        ("## Requests to participants", REQUEST_DATA),
        ("## Replies", REPLY_DATA),
    ],
)
def test_messages_have_their_fields(
    heading: str, models: dict[str, type[BaseModel | exchange.Exchanged]]
) -> None:
    """Commands, requests and replies are listed with every field of their schemas."""
    assert documented(heading) == {name: wire_fields(model) for name, model in models.items()}


def test_every_command_and_reply_that_the_engine_understands_is_listed() -> None:
    """The tables above are of the types that the engine decodes."""
    understood = CATALOG.message_types

    listed = COMMAND_DATA.keys() | REPLY_DATA.keys()

    assert listed == understood - {TIMER_DUE}


def test_events_have_their_fields() -> None:
    """Every event is listed with its own fields, and by both of its names."""
    listed = {
        first_code(cells[0]): cells[1]
        for cells in rows(section(MESSAGES, "## Events"))
        if len(cells) == 3
    }

    assert documented("## Events") == {name: event_fields(cls) for name, cls in EVENTS.items()}
    assert listed == {name: cls.NAME for name, cls in EVENTS.items()}


def test_every_refusal_is_listed() -> None:
    """Each code of a refusal has its row."""
    listed = [
        word for cells in rows(section(MESSAGES, "### Refusals")) for word in code_in(cells[0])
    ]

    assert sorted(listed) == sorted(code.value for code in RejectionCode)


def test_every_reason_of_a_dead_letter_is_listed() -> None:
    """Each code with which reading a message fails, or with which it is given up, has its row; no other has."""
    listed = [first_code(cells[0]) for cells in rows(section(MESSAGES, "## Dead letters"))]
    nodes = [
        node
        for folder in ("sdk/conveyor", "application")
        for file in (ROOT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
    ]
    texts = {node.value for node in nodes if isinstance(node, ast.Constant)}
    reasons = {
        str(argument.value)
        for node in nodes
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ("MalformedEvent", "dead_letter")
        for argument in node.args[:2]
        if isinstance(argument, ast.Constant) and str(argument.value).isupper()
    }

    assert len(listed) == len(set(listed))
    assert reasons <= set(listed) <= texts


def test_every_topic_is_listed() -> None:
    """Each topic of the contract has its row."""
    listed = {first_code(cells[0]) for cells in rows(section(MESSAGES, "## Topics"))}

    assert listed == {
        topics.COMMANDS,
        topics.EVENTS,
        topics.step_requests("<service>"),
        topics.REPLIES,
        topics.DEAD_LETTER,
        topics.SYSTEM_COMMANDS,
        topics.LOAD_SAMPLES,
        topics.LOAD,
    }


# -- settings ------------------------------------------------------------------------------------


def settings_of(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, str]]:
    """Variable and default of every setting."""
    for name, field in model.model_fields.items():
        inner: Any = field.annotation
        variable = f"{prefix}{name.upper()}"
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from settings_of(inner, variable + "__")
        elif name == "services":
            yield from settings_of(ServiceSection, variable + "__<NAME>__")
        else:
            default = field.get_default(call_default_factory=True)
            shown = str(default).lower() if isinstance(default, bool) else str(default)
            yield variable, "" if default is None else shown


def test_every_setting_is_listed_with_its_default() -> None:
    """The page has each variable once, with the default of the code."""
    table = rows(page("docs/reference/settings.md"))
    refused = {f"{PREFIX}AUTH__JWKS_URL"}

    listed = {first_code(cells[0]): first_code(cells[1]) for cells in table}

    assert listed == {
        name: value for name, value in settings_of(Settings, PREFIX) if name not in refused
    }
    assert len(listed) == len(table)
    assert all(f"`{name}`" in page("docs/reference/settings.md") for name in refused)


# -- command line --------------------------------------------------------------------------------

Options = dict[str, set[tuple[str, ...]]]


def commands_of(group: TyperGroup, path: Sequence[str]) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if isinstance(command, TyperGroup):
            yield from commands_of(command, (*path, name))
        else:
            yield " ".join((*path, name)), command


def options_of(command: Any) -> set[tuple[str, ...]]:
    return {
        tuple(sorted((*parameter.opts, *parameter.secondary_opts), key=lambda o: o.lstrip("-")))
        for parameter in command.params
        if parameter.param_type_name == "option"
    }


def test_every_command_is_listed_with_its_options() -> None:
    """The page has a section per command, and in it each of its options."""
    text = page("docs/reference/cli.md")
    program = get_command(app)
    assert isinstance(program, TyperGroup)
    exists = dict(commands_of(program, ["conveyor"]))
    # The program looks its options up only when it is called.
    measuring = typer.Typer(add_completion=False)
    measuring.command()(bench)
    exists["conveyor bench"] = get_command(measuring)

    listed: Options = {
        name: {
            tuple(sorted(code_in(cells[0]), key=lambda o: o.lstrip("-")))
            for cells in rows(section(text, f"### `{name}`"))
        }
        for name in exists
    }

    assert listed == {name: options_of(command) for name, command in exists.items()}
    assert text.count("\n### `conveyor ") == len(exists)
