"""One world of the engine's process: its time, and what happens in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias

import orjson

from conveyor.cloudevents import structured, unstructured
from conveyor.json_text import require_storable
from conveyor.messages import Message
from conveyor.testing.engine import Engine
from conveyor.testing.errors import Refused, WrongDefinition
from conveyor.times import rfc3339
from conveyor.topics import step_requests

#: A path, the text of a definition in YAML or JSON, or the definition as a dict.
Definition: TypeAlias = Path | str | Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class StepOutline:
    """What the kit has to know of a step."""

    id: str
    kind: str
    service: str
    operation: str
    depends_on: tuple[str, ...]
    timeout_seconds: float
    #: Service and operation.
    undo: tuple[str, str] | None


class World:
    """A fresh engine with these definitions. Every command returns the requests that participants are sent by it."""

    def __init__(
        self, engine: Engine, definitions: Sequence[Definition], beginning: datetime, seed: int
    ) -> None:
        """Raises WrongDefinition, EngineError."""
        self._engine = engine
        self.beginning = beginning
        #: Id -> status, of every workflow.
        self.statuses: dict[str, str] = {}
        #: Seconds since the beginning.
        self.now = 0.0
        #: When the engine does something next; None: never, unless it is asked to.
        self.due: float | None = None
        opened = engine.call(
            "open",
            beginning=rfc3339(beginning),
            seed=seed,
            definitions=[_source(each) for each in definitions],
        )
        if faults := opened.get("faults"):
            raise WrongDefinition("\n".join(f"{f['source']}: {f['detail']}" for f in faults))
        self._world: int = opened["world"]
        #: Steps by the name and version of their definition.
        self.steps: dict[tuple[str, int], tuple[StepOutline, ...]] = {
            (each["name"], each["version"]): tuple(_outline(step) for step in each["steps"])
            for each in opened["definitions"]
        }

    @property
    def time(self) -> datetime:
        """The time of day."""
        return self.beginning + timedelta(milliseconds=round(self.now * 1000))

    def renew(self) -> None:
        """Begin again, at the same moment, with the same definitions and nothing else."""
        self.statuses = {}
        self._command("renew")

    def start(self, body: Mapping[str, Any]) -> Sequence[Message]:
        """Start a workflow, as REST does. Raises Refused, and UnstorableJson for data that JSON does not have."""
        require_storable(body)
        return self._command("start", body=body)

    def control(self, command: str, workflow_id: str, data: Mapping[str, Any]) -> Sequence[Message]:
        """Send a command of this type to a workflow. Raises Refused, UnstorableJson."""
        require_storable(data)
        return self._command("control", type=command, id=workflow_id, data=data)

    def reply(self, replies: Sequence[Message]) -> Sequence[Message]:
        """Hand over the replies of participants."""
        return self._command("reply", events=[structured(reply) for reply in replies])

    def advance(self, to: float) -> Sequence[Message]:
        """Let time pass."""
        return self._command("advance", to=to)

    def look(self, workflow_id: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """The workflow's resource and history, as of the API."""
        response = self._engine.call("look", world=self._world, id=workflow_id)
        return response["resource"], response["history"]

    def close(self) -> None:
        self._engine.call("close", world=self._world)

    def _command(self, do: str, **fields: Any) -> Sequence[Message]:
        response = self._engine.call(do, world=self._world, **fields)
        self.now, self.due = response["now"], response["due"]
        self.statuses |= response["statuses"]
        if refused := response.get("refused"):
            raise Refused(refused["code"], refused["detail"])
        return [
            unstructured(step_requests(event["data"]["service"]), event)
            for event in response["requests"]
        ]


def _source(definition: Definition) -> dict[str, Any]:
    """The definition for the engine. Raises WrongDefinition for a file that cannot be read."""
    if isinstance(definition, Mapping):
        name = definition.get("name", "a definition")
        try:
            document = orjson.loads(orjson.dumps(definition))
        except TypeError as error:
            raise WrongDefinition(f"{name}: not JSON: {error}") from None
        return {"source": str(name), "document": document}
    if isinstance(definition, str) and ("\n" in definition or definition.lstrip()[:1] == "{"):
        return {"source": "a definition", "text": definition, "form": ""}
    path = Path(definition)
    try:
        return {"source": str(path), "text": path.read_text("utf-8"), "form": path.suffix}
    except (OSError, UnicodeDecodeError) as error:
        raise WrongDefinition(f"{path}: {error}") from None


def _outline(step: Mapping[str, Any]) -> StepOutline:
    undo = step["undo"]
    return StepOutline(
        id=step["id"],
        kind=step["kind"],
        service=step["service"],
        operation=step["operation"],
        depends_on=tuple(step["dependsOn"]),
        timeout_seconds=step["timeoutSeconds"],
        undo=None if undo is None else (undo["service"], undo["operation"]),
    )
