"""What the messages of a saga weigh: whatever is accepted, all that follows can be sent (PROTOCOL rule 15).

Weighing means writing JSON, which costs more than deciding. So an instance carries an upper bound of what its
expressions can read, and only where that could become too much is anything weighed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Final

from domain.definition.definition import StepDefinition
from domain.definition.expression import Template
from domain.workflow.events import StartFacts, StepRequest
from domain.workflow.step import StepExecution

#: Bytes of one message's data; topics take 1 MiB with headers.
MESSAGE_BYTES_MAX: Final = 1_000_000
#: Characters of the reason that an undo's request carries.
REASON_CHARACTERS_MAX: Final = 4000
#: Of an event around what is weighed: names, times, keys and a reason.
_ENVELOPE_BYTES: Final = 50_000
#: Bytes of what is weighed, of everything that is sent.
WEIGHT_MAX: Final = MESSAGE_BYTES_MAX - _ENVELOPE_BYTES
#: Of the requests that follow from one message; a commit holds them all, and MongoDB takes 16 MB of it.
REQUESTS_BYTES_MAX: Final = 4_000_000

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def json_bytes(value: Any) -> int:
    """How many bytes the value has as JSON."""
    return len(_encode(value).encode("utf-8", "surrogatepass"))


def at_most(value: Any) -> int:
    """An upper bound of `json_bytes` at a tenth of its cost."""
    # One character of text has at most four bytes, one that JSON escapes six, for which `repr` has four characters.
    return 0 if value is None else 4 * len(repr(value))


def held_at_start(facts: StartFacts) -> int:
    """Bytes that expressions and requests can read when a workflow begins, at most."""
    ids = (facts.tenant, facts.correlation_id, facts.user_id, facts.traceparent)
    return at_most(facts.input) + at_most((facts.labels, facts.metadata, *ids))


def held_by(facts: StartFacts, steps: Iterable[StepExecution], signals: Mapping[str, Any]) -> int:
    """The same of a workflow that is under way."""
    outputs = sum(at_most(step.output) + at_most(step.snapshot) for step in steps)
    return held_at_start(facts) + outputs + at_most(signals)


def request_bytes(facts: StartFacts, request: StepRequest) -> int:
    """Bytes of what the event of this request carries besides its envelope."""
    parts = [request.input, request.step_output, request.snapshot, request.context]
    # The event repeats these, besides the request.
    around = [facts.correlation_id, facts.tenant, facts.traceparent]
    return json_bytes(parts) + json_bytes(around)


@lru_cache(maxsize=4096)
def _growth(step: StepDefinition) -> tuple[int | None, int]:
    """How often its requests may repeat what the workflow holds, None without a bound; and what they add."""
    action = step.compensation
    templates = [step.input]
    if action is not None:
        templates += (
            [action.input] if action.verify is None else [action.input, action.verify.input]
        )
    # The request has output, snapshot and context besides the mapped input.
    return _most(templates, beside=3)


def _most(templates: list[Template], beside: int) -> tuple[int | None, int]:
    copies = [template.copies for template in templates]
    known = [count for count in copies if count is not None]
    fixed = max(template.fixed_bytes for template in templates)
    return (beside + max(known) if len(known) == len(copies) else None), fixed


def request_at_most(held: int, step: StepDefinition) -> int | None:
    """Bytes of any request of the step, at most, whatever of the held data it repeats; None without a bound."""
    copies, fixed = _growth(step)
    return None if copies is None else held * copies + fixed


def is_light(held: int, step: StepDefinition) -> bool:
    """No request of the step can be too large."""
    most = request_at_most(held, step)
    return most is not None and most < WEIGHT_MAX


class Requests:
    """The requests of one decision, as many as one commit may hold. Those left out follow when these are answered."""

    #: Of the requests that were weighed: bounds, until they add up to too much; then what they really have.
    _bytes = 0
    _is_measured = False
    _weighed = 0

    def __init__(self) -> None:
        self._added: list[tuple[StartFacts, int, StepDefinition, StepRequest]] = []

    def add(self, facts: StartFacts, held: int, step: StepDefinition, request: StepRequest) -> None:
        """`held`: what its workflow holds by now."""
        self._added.append((facts, held, step, request))

    @property
    def is_full(self) -> bool:
        """No further request may be added."""
        if len(self._added) * WEIGHT_MAX < REQUESTS_BYTES_MAX:
            return False
        for _, held, step, _ in self._added[self._weighed :]:
            most = None if self._is_measured else request_at_most(held, step)
            if most is None or self._bytes + most >= REQUESTS_BYTES_MAX:
                return self._is_full_measured()
            self._bytes += most
            self._weighed += 1
        return self._bytes >= REQUESTS_BYTES_MAX

    def _is_full_measured(self) -> bool:
        first = self._weighed if self._is_measured else 0
        size = self._bytes if self._is_measured else 0
        self._bytes = size + sum(
            request_bytes(facts, request) for facts, _, _, request in self._added[first:]
        )
        self._is_measured = True
        self._weighed = len(self._added)
        return self._bytes >= REQUESTS_BYTES_MAX


def is_light_template(held: int, template: Template) -> bool:
    """What the template gives cannot be too large."""
    copies, fixed = _most([template], beside=1)
    return copies is not None and held * copies + fixed < WEIGHT_MAX


def too_large(what: str, size: int) -> str:
    """The sentence that refuses it."""
    return f"{what} would have {size} bytes of data; at most {WEIGHT_MAX} can be sent: pass references instead of data"
