"""Services as a test sees them: what they were asked, and stubs in place of their operations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

from conveyor.errors import RetryableError, StepError, TerminalError

#: The purpose of a request.
AskedKind = Literal["perform", "undo", "verify", "seal"]
#: An output, or what makes one from the input.
Output = Mapping[str, Any] | Callable[[dict[str, Any]], Mapping[str, Any] | None]


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that a service was sent."""

    kind: AskedKind
    operation: str
    input: dict[str, Any]
    #: The idempotency key, the same for every attempt.
    key: str
    attempt: int
    workflow_id: str
    step_id: str


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """What happens to an operation, so many times; None: always."""

    operation: str
    times: int | None
    #: Seconds of virtual time that it takes.
    seconds: float = 0.0
    failure: StepError | None = None
    output: Output | None = None


class Service:
    """What a test says and sees of a service. What is said here goes before its participant.

    `fails` and `is_slow` count attempts. When an operation has failed as often as was said, it succeeds by `answers`,
    or by the participant.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        #: What it was asked, in order. A repetition of a request by a fault is not one more.
        self.requests: list[Asked] = []
        self.rules: list[Rule] = []

    def answers(self, operation: str, output: Output | None = None) -> Self:
        """Perform the operation with this output, a dict or a function of the input; by default an empty one."""
        self.rules.insert(0, Rule(operation, None, output={} if output is None else output))
        return self

    def fails(
        self,
        operation: str,
        *,
        times: int | None = None,
        retryable: bool = False,
        code: str = "FAILED",
        message: str = "as the test says",
    ) -> Self:
        """Fail the operation, without any effect, the next so many times, or always.

        A failure that is not `retryable` ends the step: what was done is undone.
        """
        error = RetryableError if retryable else TerminalError
        self.rules.append(Rule(operation, times, failure=error(code, message)))
        return self

    def is_slow(self, operation: str, seconds: float, *, times: int | None = None) -> Self:
        """Let the operation take so long, in virtual time, before it does anything."""
        self.rules.append(Rule(operation, times, seconds=seconds))
        return self


class Uses:
    """How often each rule was used in a run."""

    def __init__(self) -> None:
        self._used: Counter[Rule] = Counter()

    def take(self, rules: Sequence[Rule], operation: str) -> tuple[float, Rule | None]:
        """How long this attempt takes, and the rule for its outcome; None: its participant's."""
        mine = [rule for rule in rules if rule.operation == operation and self._is_left(rule)]
        slow = next((rule for rule in mine if rule.seconds), None)
        fails = next((rule for rule in mine if rule.failure is not None), None)
        outcome = fails or next((rule for rule in mine if rule.output is not None), None)
        self._used.update(rule for rule in (slow, outcome) if rule is not None)
        return (0.0 if slow is None else slow.seconds), outcome

    def _is_left(self, rule: Rule) -> bool:
        return rule.times is None or self._used[rule] < rule.times
