"""Commands to engines in lockstep: each is a line of JSON, and so is its response.

    {"do": "open", "beginning": TIME, "seed": n, "definitions": [...]}   -> world, definitions, or faults
    {"do": "renew", "world": n}                      begin again, with the same definitions
    {"do": "start", "world": n, "body": {...}}       as POST /api/v1/workflows
    {"do": "control", "world": n, "type": ..., "id": ..., "data": {...}}
    {"do": "reply", "world": n, "events": [...]}
    {"do": "advance", "world": n, "to": seconds}
    {"do": "look", "world": n, "id": ...}            -> resource, history
    {"do": "close", "world": n}

Every response about an open world also has its news. One that was refused has `refused: {code, detail}`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, BinaryIO

import orjson

from adapters.memory.definitions import MemoryDefinitionRepository
from adapters.memory.virtual_time import drive
from adapters.rest.definition_body import UnreadableDocument, read_document
from application.access import LOCAL_ACTOR, Caller, Role
from application.codec.times import parse_time
from application.definitions import DefinitionRegistry
from application.ports import Document
from application.use_cases.definitions import RegisterDefinition
from application.use_cases.refusal import Refused
from domain.definition.definition import StepDefinition, WorkflowDefinition
from infrastructure.clock import SystemClock
from infrastructure.lockstep.world import World

_CALLER = Caller(actor=LOCAL_ACTOR, roles=frozenset(Role))


@dataclass(slots=True)
class _Opened:
    """A world, and what makes the next one like it."""

    world: World
    registry: DefinitionRegistry
    beginning: datetime
    seed: int


def serve(commands: Iterable[bytes], responses: BinaryIO) -> None:
    """Carry out the commands until there are no more."""
    server = _Server()
    try:
        for line in commands:
            response = server.respond(orjson.loads(line))
            responses.write(orjson.dumps(response, option=orjson.OPT_APPEND_NEWLINE))
            responses.flush()
    finally:
        server.close()


class _Server:
    def __init__(self) -> None:
        self._opened: dict[int, _Opened] = {}
        self._worlds = 0

    def respond(self, command: Mapping[str, Any]) -> Document:
        if command["do"] == "open":
            return self._open(command)
        opened = self._opened[command["world"]]
        if command["do"] == "close":
            del self._opened[command["world"]]
            opened.world.close()
            return {}
        try:
            result = _carry_out(opened, command)
        except Refused as refused:
            result = {"refused": {"code": refused.code, "detail": refused.detail}}
        return result | opened.world.news()

    def close(self) -> None:
        for opened in self._opened.values():
            opened.world.close()

    def _open(self, command: Mapping[str, Any]) -> Document:
        registry, definitions, faults = _registered(command["definitions"])
        if faults:
            return {"faults": faults}
        beginning = parse_time(command["beginning"])
        seed: int = command["seed"]
        opened = _Opened(World(registry, beginning, seed), registry, beginning, seed)
        self._worlds += 1
        self._opened[self._worlds] = opened
        outlines = [_outline(definition) for definition in definitions]
        return {"world": self._worlds, "definitions": outlines, **opened.world.news()}


def _carry_out(opened: _Opened, command: Mapping[str, Any]) -> Document:
    world = opened.world
    match command["do"]:
        case "renew":
            world.close()
            opened.world = World(opened.registry, opened.beginning, opened.seed)
        case "start":
            world.start(command["body"])
        case "control":
            world.control(command["type"], command["id"], command["data"])
        case "reply":
            world.reply(command["events"])
        case "advance":
            world.advance(command["to"])
        case "look":
            return world.look(command["id"])
        case unknown:
            raise ValueError(f"{unknown!r} is not a command")
    return {}


def _registered(
    sources: Iterable[Document],
) -> tuple[DefinitionRegistry, list[WorkflowDefinition], list[Document]]:
    """The definitions, or what is wrong with them; each source has a `text` and its `form`, or a `document`."""
    registry = DefinitionRegistry(MemoryDefinitionRepository(), SystemClock())
    register = RegisterDefinition(registry, _no_topic_needed)
    definitions: list[WorkflowDefinition] = []
    faults: list[Document] = []
    for source in sources:
        try:
            document = source.get("document")
            if document is None:
                document = read_document(source["text"].encode(), source["form"])
            registered = drive(register(_CALLER, document))
        except (UnreadableDocument, Refused) as fault:
            faults.append({"source": source["source"], "detail": str(fault)})
            continue
        definition = drive(registry.get(registered.name, registered.version))
        if definition is not None:
            definitions.append(definition)
    return registry, definitions, faults


async def _no_topic_needed(_service: str) -> None:
    """Topics are created when they are first named."""


def _outline(definition: WorkflowDefinition) -> Document:
    """What a test kit has to know of a definition."""
    return {
        "name": definition.name,
        "version": definition.version,
        "steps": [_step(step) for step in definition.steps],
    }


def _step(step: StepDefinition) -> Document:
    undo = step.compensation
    return {
        "id": step.id,
        "kind": step.kind.value,
        "service": step.service,
        "operation": step.operation,
        "dependsOn": list(step.depends_on),
        "timeoutSeconds": step.timeout_ms / 1000,
        "undo": None
        if undo is None
        else {"service": undo.service_name, "operation": undo.operation},
    }
