"""Participants: the handlers of a service's steps and of their compensations."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, ParamSpec, TypeVar

from conveyor.handlers import Handler
from conveyor.keys import OnLostClaim

#: As in definitions.
_SERVICE = re.compile(r"[a-z0-9][a-z0-9._-]{0,254}")
_SERVICE_RULE = "use lower-case letters, digits, '.', '_' and '-', a letter or digit first"

P = ParamSpec("P")
R = TypeVar("R")
P2 = ParamSpec("P2")
R2 = TypeVar("R2")


@dataclass(frozen=True, slots=True)
class Operation:
    """One registered handler."""

    handler: Handler
    on_lost_claim: OnLostClaim
    #: Compensations only: the step that it undoes is performed by this participant too, which
    #: therefore knows by the step's own key whether there is anything to undo.
    tied: bool = False
    #: The handler has no effect apart from its output.
    effect_is_record: bool = False

    def claim(self, attempt: int) -> int:
        """The attempt to claim before it is begun; 0 where nothing could be done without being recorded."""
        return 0 if self.effect_is_record else attempt


class Step(Generic[P, R]):
    """A registered step, as the decorator `Participant.step` returns it.

    Call it like the function, for example in a test. Register the function that undoes it with `compensation`.
    """

    def __init__(self, participant: Participant, service: str, function: Callable[P, R]) -> None:
        self._participant = participant
        self._service = service
        self.function = function

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.function(*args, **kwargs)

    def compensation(
        self,
        operation: str,
        *,
        service: str | None = None,
        on_lost_claim: OnLostClaim = "run",
        effect_is_record: bool = False,
    ) -> Callable[[Callable[P2, R2]], Callable[P2, R2]]:
        """Register the function that undoes this step.

        It is not called for a step that this participant never performed: such an undo succeeds
        without effect, and seals the step.
        """
        return self._participant.compensation(
            service or self._service,
            operation,
            undoes=self,
            on_lost_claim=on_lost_claim,
            effect_is_record=effect_is_record,
        )


class Participant:
    """A set of handlers, each for one operation of one service.

    `name` names the participant in replies, and its consumer group on Kafka.

    A handler is a function, plain or async. It takes the step's input (a pydantic model or a dict), a
    `StepContext`, or both. It returns a pydantic model, a dataclass, a dict, a `StepResult` or None. A
    `Worker` runs plain handlers in threads. A bare `ParticipantRunner` runs them on the event loop, where they
    must not block.

    The contract of a handler:

    - An exception says that this attempt had no effect and never will. `UnknownOutcomeError`,
      `TimeoutError`, broken connections and cancelled tasks say the opposite: the effect may be there.
      Also `sys.exit()` fails only the step.
    - The effect is atomic with the idempotency key, or idempotent by it. After a crash or an
      unknown outcome the handler runs again, with `context.recovered` set.
    - A handler that must never run twice is registered with `on_lost_claim="refuse"`. After a crash
      its step gets an UNKNOWN reply, and an operator decides.
    - A handler that only computes or decides is registered with `effect_is_record=True`. Its output
      is its only effect, so nothing is written before it runs.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.steps: dict[tuple[str, str], Operation] = {}
        self.compensations: dict[tuple[str, str], Operation] = {}

    @property
    def services(self) -> tuple[str, ...]:
        """The services whose request topics it reads."""
        return tuple(sorted({service for service, _ in [*self.steps, *self.compensations]}))

    def find_step(self, service: str, operation: str) -> Operation | None:
        """Its handler of a step, if it has one."""
        return self.steps.get((service, operation))

    def find_compensation(self, service: str, operation: str) -> Operation | None:
        """Its handler of an undo, if it has one."""
        return self.compensations.get((service, operation))

    def step(
        self,
        service: str,
        operation: str,
        *,
        on_lost_claim: OnLostClaim = "run",
        effect_is_record: bool = False,
    ) -> Callable[[Callable[P, R]], Step[P, R]]:
        """Register the decorated function as the handler of an operation of a service.

        Raises ValueError if the operation has a handler, TypeError for a signature that does not fit.
        """

        _require_names(service, operation, example=f'@{self.name}.step("service", "operation")')

        def register(function: Callable[P, R]) -> Step[P, R]:
            # One function may perform several operations.
            plain = function.function if isinstance(function, Step) else function
            entry = Operation(Handler(plain), on_lost_claim, effect_is_record=effect_is_record)
            self._add(self.steps, service, operation, entry)
            return Step(self, service, plain)

        return register

    def compensation(
        self,
        service: str,
        operation: str,
        *,
        undoes: Step[..., Any] | None = None,
        on_lost_claim: OnLostClaim = "run",
        effect_is_record: bool = False,
    ) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """Register the decorated function as the undo of a step that another participant performs.

        It is always called. For a step of this participant use `Step.compensation`, which is the same with
        `undoes`: then a step that was never performed is not undone.
        """

        example = f'@{self.name}.compensation("service", "operation")'
        if undoes is not None:
            example = '@<step>.compensation("operation")'
        _require_names(service, operation, example=example)

        def register(function: Callable[P, R]) -> Callable[P, R]:
            entry = Operation(
                Handler(function), on_lost_claim, undoes is not None, effect_is_record
            )
            self._add(self.compensations, service, operation, entry)
            return function

        return register

    def _add(
        self,
        table: dict[tuple[str, str], Operation],
        service: str,
        operation: str,
        entry: Operation,
    ) -> None:
        if not _SERVICE.fullmatch(str(service)):
            raise ValueError(
                f"{self.name}: {service!r} is not the name of a service; {_SERVICE_RULE}"
            )
        if (service, operation) in table:
            raise ValueError(f"{self.name} has a handler for {service}.{operation} already")
        table[service, operation] = entry


def _require_names(*names: object, example: str) -> None:
    """A decorator without its brackets gets the function instead. Raises TypeError."""
    if not all(isinstance(name, str) for name in names):
        raise TypeError(f"name the service and the operation: {example}")
