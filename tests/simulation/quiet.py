"""The surroundings of a run: no output but the trace, virtual clocks, and limits small enough to be reached."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator, MutableMapping
from types import SimpleNamespace
from typing import Any, NamedTuple
from unittest import mock

import structlog
from conveyor import execution

from application.engine import drafts, memory
from domain.aggregate.kind import Moment
from domain.workflow import backward, forward, weight
from domain.workflow.commands import Command, SignalWorkflow
from domain.workflow.decide import Decision, decide
from domain.workflow.instance import WorkflowInstance
from tests.simulation.chances import Chances, Kind
from tests.simulation.trace import Trace
from tests.simulation.watch import Bounds
from tests.simulation.workload import POISON

_UNTOLD = ("exc_info",)
#: Longer data of a message is refused by engines; the simulated broker takes a little more.
MESSAGE_BYTES_MAX = 6_000
#: Of a request, what is weighed: with its envelope it is below the limit.
_WEIGHT_MAX = 4_500
#: Where engines are sent many commands; a batch has no more messages than that.
COMMAND_IDS_KEPT = 8


class Limits(NamedTuple):
    """What a run decides with."""

    bounds: Bounds
    decide: Callable[[WorkflowInstance | None, Command, Moment], Decision]


@contextlib.contextmanager
def quiet(trace: Trace) -> Iterator[None]:
    """Log lines go into the trace, and handlers' run times are virtual."""
    before = structlog.get_config()
    was_disabled = logging.root.manager.disable

    def into_trace(_: Any, __: str, event: MutableMapping[str, Any]) -> Any:
        told = " ".join(f"{name}={event[name]}" for name in sorted(event) if name not in _UNTOLD)
        trace.note("log", told)
        raise structlog.DropEvent

    # All of it: a command that ran in this process may have left its own, which leaves lines out.
    structlog.configure(
        processors=[into_trace],
        wrapper_class=structlog.make_filtering_bound_logger(logging.NOTSET),
        logger_factory=structlog.PrintLoggerFactory(),
        cache_logger_on_first_use=False,
    )
    logging.disable(logging.CRITICAL)
    try:
        with mock.patch.object(execution, "time", SimpleNamespace(perf_counter=_virtual_seconds)):
            yield
    finally:
        structlog.configure(**before)
        logging.disable(was_disabled)


@contextlib.contextmanager
def limits(chances: Chances, *, many: bool, heavy: bool) -> Iterator[Limits]:
    """What the engine bounds is bounded more tightly, and deciding has a bug for whoever asks for it."""
    dice = chances.stream("limits")
    failing = dice.choice((0.0, 0.0, 0.02, 0.15))
    bounds = Bounds(events=dice.choice((1000, 4)), bytes=dice.choice((1_000_000, 8_000)))

    def decide_or_fail(instance: WorkflowInstance | None, command: Command, at: Moment) -> Decision:
        if isinstance(command, SignalWorkflow) and command.name == POISON:
            raise ZeroDivisionError("a bug in deciding")
        if chances.strikes(Kind.DECIDING_FAILS, failing):
            raise MemoryError("a bug that comes and goes")
        return decide(instance, command, at)

    with contextlib.ExitStack() as patched:
        for owner, name, value in (
            (memory, "COMMAND_IDS_KEPT", COMMAND_IDS_KEPT if many else 1000),
            (drafts, "MESSAGE_BYTES_MAX", MESSAGE_BYTES_MAX),
            (drafts, "COMMIT_EVENTS_MAX", bounds.events),
            (drafts, "COMMIT_BYTES_MAX", bounds.bytes),
        ):
            patched.enter_context(mock.patch.object(owner, name, value))
        for module in (backward, forward, weight) if heavy else ():
            patched.enter_context(mock.patch.object(module, "WEIGHT_MAX", _WEIGHT_MAX))
        yield Limits(bounds, decide_or_fail)


def _virtual_seconds() -> float:
    return asyncio.get_running_loop().time()
