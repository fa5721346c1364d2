"""The sizes of a saga's messages. What is accepted never leads to a message that is too large (PROTOCOL rule 15).

To measure a size, JSON must be written, which costs more than deciding. So an instance carries an upper bound of
what its expressions can read, and sizes are measured only if that bound could be too large.
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

#: Bytes of one message's data. Topics accept 1 MiB, headers included.
MESSAGE_BYTES_MAX: Final = 1_000_000
#: Characters of the reason in the request of an undo.
REASON_CHARACTERS_MAX: Final = 4000
#: Bytes of an event besides what is measured: names, times, keys and a reason.
_ENVELOPE_BYTES: Final = 50_000
#: Bytes of the measured part, of every message.
WEIGHT_MAX: Final = MESSAGE_BYTES_MAX - _ENVELOPE_BYTES
#: Bytes of the requests that follow from one message. One commit holds them all, and MongoDB limits it to 16 MB.
REQUESTS_BYTES_MAX: Final = 4_000_000

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_encode_sorted = json.JSONEncoder(sort_keys=True).encode


def json_bytes(value: Any) -> int:
    """The number of bytes of the value as JSON."""
    return len(_encode(value).encode("utf-8", "surrogatepass"))


def same_json(one: Any, other: Any) -> bool:
    """Whether both are the same JSON value. In Python, True equals 1 and 1 equals 1.0."""
    return one == other and _encode_sorted(one) == _encode_sorted(other)


def at_most(value: Any) -> int:
    """An upper bound of `json_bytes` at a tenth of its cost."""
    # A character has at most four bytes, or six if JSON escapes it; `repr` then writes four characters.
    return 0 if value is None else 4 * len(repr(value))


def held_at_start(facts: StartFacts) -> int:
    """An upper bound of the bytes that expressions and requests can read when a workflow begins."""
    ids = (facts.tenant, facts.correlation_id, facts.user_id, facts.traceparent)
    return at_most(facts.input) + at_most((facts.labels, facts.metadata, *ids))


def held_by(facts: StartFacts, steps: Iterable[StepExecution], signals: Mapping[str, Any]) -> int:
    """The same for a running workflow."""
    outputs = sum(at_most(step.output) + at_most(step.snapshot) for step in steps)
    return held_at_start(facts) + outputs + at_most(signals)


def request_bytes(facts: StartFacts, request: StepRequest) -> int:
    """Bytes that the event of this request carries besides its envelope."""
    parts = [request.input, request.step_output, request.snapshot, request.context]
    # The event repeats these, besides the request.
    around = [facts.correlation_id, facts.tenant, facts.traceparent]
    return json_bytes(parts) + json_bytes(around)


@lru_cache(maxsize=4096)
def _growth(step: StepDefinition) -> tuple[int | None, int]:
    """How often the step's requests may repeat the workflow's data (None: no bound), and the bytes that they add."""
    templates = [step.input, *step.undo_templates]
    # The request has output, snapshot and context besides the mapped input.
    return _most(templates, beside=3)


def _most(templates: list[Template], beside: int) -> tuple[int | None, int]:
    copies = [template.copies for template in templates]
    known = [count for count in copies if count is not None]
    fixed = max(template.fixed_bytes for template in templates)
    return (beside + max(known) if len(known) == len(copies) else None), fixed


def request_at_most(held: int, step: StepDefinition) -> int | None:
    """An upper bound of the bytes of any request of the step; None if there is no bound."""
    copies, fixed = _growth(step)
    return None if copies is None else held * copies + fixed


def is_light(held: int, step: StepDefinition) -> bool:
    """Whether no request of the step can be too large."""
    most = request_at_most(held, step)
    return most is not None and most < WEIGHT_MAX


class Requests:
    """The requests of one decision, as many as fit into one commit. The others follow when these are answered."""

    #: Upper bounds of the requests, until their sum is too large; from then on measured sizes.
    _bytes = 0
    _is_measured = False
    _weighed = 0

    def __init__(self) -> None:
        self._added: list[tuple[StartFacts, int, StepDefinition, StepRequest]] = []

    def add(self, facts: StartFacts, held: int, step: StepDefinition, request: StepRequest) -> None:
        """`held` is the size of the workflow's data by now."""
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
    """Whether the template's result cannot be too large."""
    copies, fixed = _most([template], beside=1)
    return copies is not None and held * copies + fixed < WEIGHT_MAX


def too_large(what: str, size: int) -> str:
    """The text of the refusal."""
    return f"{what} would have {size} bytes of data; at most {WEIGHT_MAX} can be sent: pass references instead of data"
