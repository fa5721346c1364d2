"""The calls of handlers: what a test may look at, and what is checked after a run with faults."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import orjson

from conveyor.keys import KeyState
from conveyor.requests import Kind, Request


@dataclass(slots=True, eq=False)
class Call:
    """One call of a handler."""

    key: str
    kind: Kind
    service: str
    operation: str
    #: An earlier call may have had its effect.
    recovered: bool
    #: The output is the only effect.
    effect_is_record: bool
    #: None: it failed, or it has not ended.
    output: dict[str, Any] | None = None
    #: The code of its failure.
    failure: str | None = None

    def end(self, request: Request) -> None:
        """Keep what the handler gave, whether or not it is recorded."""
        record = request.records[request.key]
        if record.state is KeyState.PERFORMED:
            self.output = orjson.loads(record.output)
        elif (failure := request.failure or record.failure) is not None:
            self.failure = failure.code

    @property
    def has_succeeded(self) -> bool:
        return self.output is not None


@dataclass(slots=True)
class Calls:
    """All calls of a run, in their order."""

    all: list[Call] = field(default_factory=list[Call])

    def begin(self, request: Request) -> Call:
        operation = request.operation
        call = Call(
            key=request.key,
            kind=request.kind,
            service=request.body.service,
            operation=request.body.operation,
            recovered=request.records[request.key].claimed > 0,
            effect_is_record=operation is not None and operation.effect_is_record,
        )
        self.all.append(call)
        return call
