"""The load: which workflows are started, when, and how they must end."""

from __future__ import annotations

import math
import random
import time
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

import orjson

from application.codec import endings
from bench.recipes.errors import BenchError
from domain.aggregate.event import CommandRejected
from domain.workflow.events import WorkflowStarted
from domain.workflow.status import WorkflowStatus
from infrastructure.orders import order

#: Workflows that run before the clock does.
WARM_UP = 200
#: Steps of order-fulfillment.
STEPS = 5
DEFINITION = "order-fulfillment"
_ORDERS = 64
#: Ids of one run are equally long.
_DIGITS = 7
#: Ten thousand workflows that were stopped all at their first step end late, and on a busy machine.
_STALLED_SECONDS = 180.0


class Ending(StrEnum):
    """How a workflow can end."""

    COMPLETED = "completed"
    COMPENSATED = "compensated"
    #: An end that a sound run does not have: failed for good, cancelled, refused.
    FAILED = "failed"


#: Events that may be the last of a workflow; one that was refused never begins.
MAY_END = endings.MAY_END | {CommandRejected.TYPE}
_ENDINGS = {
    WorkflowStatus.COMPLETED: Ending.COMPLETED,
    WorkflowStatus.COMPENSATED: Ending.COMPENSATED,
}


def ending(event_type: str, data: bytes) -> Ending | None:
    """The ending that an event of `MAY_END` means; None if the workflow continues."""
    if event_type == CommandRejected.TYPE:
        return Ending.FAILED
    status = endings.status_at_end(event_type, orjson.loads(data))
    return None if status is None else _ENDINGS.get(status, Ending.FAILED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """The parameters of a run."""

    workflows: int
    #: Workflows started and not yet ended at any time.
    in_flight: int
    #: Share (0..1) of the workflows whose fourth step fails, so that three are undone.
    compensate_share: float = 0.0
    definition: str = DEFINITION


@dataclass(frozen=True, slots=True)
class Start:
    """A start command, without its envelope."""

    workflow_id: str
    data: bytes


class Phase:
    """Workflows of one part of a run: warm-up, measured, or traced."""

    #: Types of the events that `ending` is asked about.
    marks = MAY_END
    ending = staticmethod(ending)

    def __init__(self, prefix: str, load: Load, workflows: int | None = None) -> None:
        """`prefix` begins every workflow id; `workflows` other than the load's own number."""
        self.workflows = load.workflows if workflows is None else workflows
        self.latencies = array("d")
        #: Workflows that did not end as expected.
        self.wrong = 0
        self.endings = dict.fromkeys(Ending, 0)
        self._prefix = prefix
        self._load = load
        self._started = 0
        self._open: dict[str, tuple[float, Ending]] = {}
        self._last_end = time.perf_counter()
        self._data = {
            Ending.COMPLETED: _start_data(load.definition, fails=False),
            Ending.COMPENSATED: _start_data(load.definition, fails=True),
        }

    @property
    def ended(self) -> int:
        return len(self.latencies)

    @property
    def is_over(self) -> bool:
        return self.ended == self.workflows

    def due(self) -> Iterator[Start]:
        """The workflows to start now. The clock of each begins when it is returned."""
        room = min(self._load.in_flight - len(self._open), self.workflows - self._started)
        for number in range(self._started, self._started + room):
            share = self._load.compensate_share
            fails = math.floor((number + 1) * share) > math.floor(number * share)
            expected = Ending.COMPENSATED if fails else Ending.COMPLETED
            workflow_id = numbered(self._prefix, number)
            self._started += 1
            self._open[workflow_id] = (time.perf_counter(), expected)
            yield Start(workflow_id, self._data[expected][number % _ORDERS])

    def end(self, workflow_id: str, how: Ending, now: float) -> None:
        """An end was read at `now` (perf_counter); of a workflow not open here it means nothing."""
        opened = self._open.pop(workflow_id, None)
        if opened is None:
            return
        started, expected = opened
        self.latencies.append(now - started)
        self.endings[how] += 1
        self._last_end = now
        if how is not expected:
            self.wrong += 1

    def check_progress(self) -> None:
        """Raises BenchError when no workflow has ended for minutes."""
        if time.perf_counter() - self._last_end > _STALLED_SECONDS:
            raise BenchError(
                f"no workflow has ended for {_STALLED_SECONDS:g} s:"
                f" {self.ended} of {self.workflows} have, {len(self._open)} are under way"
            )

    def percentile_ms(self, share: float) -> float:
        """The latency that this share of the workflows did not exceed."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000


class Opening(Phase):
    """Workflows that are only to be under way: each ends for it with the event of its start."""

    marks = frozenset({WorkflowStarted.TYPE})

    @staticmethod
    def ending(event_type: str, data: bytes) -> Ending:  # noqa: ARG004 - one type, one meaning
        return Ending.COMPLETED

    def left_open(self) -> Phase:
        """The phase in which all of them end."""
        phase = Phase(self._prefix, self._load, self.workflows)
        now = time.perf_counter()
        ids = (numbered(self._prefix, number) for number in range(self.workflows))
        phase._open = dict.fromkeys(ids, (now, Ending.COMPLETED))  # noqa: SLF001 - of the same class
        phase._started = self.workflows  # noqa: SLF001 - of the same class
        return phase


def numbered(prefix: str, number: int) -> str:
    """The id of a phase's workflow."""
    return f"{prefix}{number:0{_DIGITS}}"


def _start_data(definition: str, *, fails: bool) -> list[bytes]:
    rng = random.Random(1)
    return [
        orjson.dumps(
            {
                "definition": definition,
                "input": order(f"ORD-{number}", rng, fails=fails),
                "correlationId": f"ORD-{number}",
                "triggeredBy": "bench",
            }
        )
        for number in range(_ORDERS)
    ]
