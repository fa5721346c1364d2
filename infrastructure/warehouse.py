"""The simulated warehouse: every service of the shipped order fulfilment, as one participant.

It obeys `input.simulate`: `failStep` fails its first `times` attempts (all without `times`, none
with 0) with `errorType`, final unless `retryable`; `latencyMs` delays every step, or only
`failStep` where one is named. Attempts count by their number, so it holds across processes.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable
from dataclasses import dataclass
from pathlib import Path

from conveyor.errors import RetryableError, StepError, TerminalError
from conveyor.handlers import StepContext
from conveyor.participant import Participant
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from infrastructure.warehouse_journal import Journal


@dataclass(frozen=True, slots=True)
class Work:
    """One operation of one service, and how it is undone."""

    service: str
    operation: str
    undo: str
    #: The output's one field, and what its value begins with.
    output: str
    prefix: str


FLOOR = (
    Work("inventory-service", "reserve", "release", "reservationId", "res"),
    Work("inventory-service", "reserveInventory", "releaseInventory", "reservationId", "res"),
    Work("payment-service", "charge", "refund", "paymentId", "pay"),
    Work("robotics-service", "assign", "unassign", "robotId", "robot"),
    Work("warehouse-service", "pick", "return-items", "pickId", "pick"),
    Work("packing-service", "pack", "unpack", "packageId", "pack"),
)


SERVICES = tuple(dict.fromkeys(work.service for work in FLOOR))


class Simulation(BaseModel):
    """The input field `simulate`."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True)

    #: The id of the step that fails.
    fail_step: str | None = None
    error_type: str = "BUSINESS_RULE_VIOLATION"
    retryable: bool = False
    #: How many attempts fail; None: all.
    times: int | None = Field(default=None, ge=0)
    latency_ms: int = Field(default=0, ge=0)

    def failure(self, context: StepContext) -> StepError | None:
        """The error of this attempt, if it fails."""
        if self.fail_step != context.step_id:
            return None
        if self.times is not None and context.attempt > self.times:
            return None
        # Terminal even if retryable: this attempt and those before it failed in every process, also in one that died.
        error = TerminalError(
            "SIMULATED_FAILURE", f"{self.fail_step} fails as asked", self.error_type
        )
        error.retryable = self.retryable
        return error

    def delay_ms(self, context: StepContext) -> int:
        """How long this attempt takes."""
        return self.latency_ms if self.fail_step in (None, context.step_id) else 0


_NOTHING_SIMULATED = Simulation()


class Input(BaseModel):
    """The input of any step; only `simulate` matters here."""

    simulate: Simulation | None = None


def build_warehouse(
    journal: Path | None = None, failure_rate: float = 0.0, latency_ms: int = 0
) -> Participant:
    """The participant `warehouse`.

    `failure_rate` is the share (0..1) of attempts that fail with SERVICE_UNAVAILABLE, `latency_ms`
    what every step takes at least, `journal` the file that gets a line per effect really done.
    """
    floor = _Floor(None if journal is None else Journal(journal), failure_rate, latency_ms)
    participant = Participant("warehouse")
    for work in FLOOR:
        _register(participant, work, floor)
    return participant


def _register(participant: Participant, work: Work, floor: _Floor) -> None:
    # Without a journal, the only effect is the reply.
    only_answers = floor.journal is None

    @participant.step(work.service, work.operation, effect_is_record=only_answers)
    def perform(data: Input, context: StepContext) -> dict[str, str] | Awaitable[dict[str, str]]:
        return floor.perform(work, data.simulate or _NOTHING_SIMULATED, context)

    @perform.compensation(work.undo, effect_is_record=only_answers)
    def undo(context: StepContext) -> None:
        floor.effect(work.undo, context)


@dataclass(frozen=True, slots=True)
class _Floor:
    """The state that all services of the warehouse share."""

    journal: Journal | None
    failure_rate: float
    latency_ms: int

    def perform(
        self, work: Work, simulation: Simulation, context: StepContext
    ) -> dict[str, str] | Awaitable[dict[str, str]]:
        delay_ms = self.latency_ms + simulation.delay_ms(context)
        if delay_ms:
            return self._perform_later(work, simulation, context, delay_ms / 1000)
        return self._perform_now(work, simulation, context)

    async def _perform_later(
        self, work: Work, simulation: Simulation, context: StepContext, seconds: float
    ) -> dict[str, str]:
        await asyncio.sleep(seconds)
        return self._perform_now(work, simulation, context)

    def _perform_now(
        self, work: Work, simulation: Simulation, context: StepContext
    ) -> dict[str, str]:
        error = simulation.failure(context) or self._outage(context)
        if error is not None:
            raise error
        self.effect(work.operation, context)
        # The same key gives the same output, so that a repeated effect is the same effect.
        return {work.output: f"{work.prefix}-{zlib.crc32(context.idempotency_key.encode()):08x}"}

    def _outage(self, context: StepContext) -> StepError | None:
        if not self.failure_rate:
            return None
        lot = zlib.crc32(f"{context.idempotency_key}#{context.attempt}".encode()) / 2**32
        if lot >= self.failure_rate:
            return None
        return RetryableError("OUTAGE", "The simulated service is out of order")

    def effect(self, operation: str, context: StepContext) -> None:
        """The effect of the step: a line in the journal, if there is one."""
        if self.journal is not None:
            self.journal.do_once(context.idempotency_key, operation, context.attempt)
