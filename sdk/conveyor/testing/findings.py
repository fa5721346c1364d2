"""What must not be there after a run with faults."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import orjson

from conveyor.keys import UNDO_SUFFIX, VERIFY_SUFFIX
from conveyor.testing.calls import Call
from conveyor.testing.case import ENDED, Case
from conveyor.testing.faults import Kind
from conveyor.testing.world import StepOutline

#: What the SDK or the engine would have done wrong, and not the participants.
_REPORT = "this is a fault of Conveyor: please report it"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong. Two of one kind count as the same while a run is shrunk."""

    kind: str
    message: str


def findings(case: Case) -> Iterator[Finding]:
    """What the kit itself can see, in the order of importance."""
    resources = [case.world.look(workflow_id)[0] for workflow_id in case.started]
    calls = [call for call in case.site.calls.all if VERIFY_SUFFIX not in call.key]
    yield from _double_effects(case, calls)
    for resource in resources:
        steps = case.world.steps[resource["definition"], resource["definitionVersion"]]
        yield from _missing_undo(resource, steps, calls)
        yield from _wrong_undo(resource, steps, calls)
    for resource in resources:
        yield from _unfinished(resource)


def _double_effects(case: Case, calls: Sequence[Call]) -> Iterator[Finding]:
    """A repetition after a lost record is in order, if the handler then returns what it returned before."""
    lost = {s.fault.key for s in case.faults.struck if s.fault.kind is Kind.HOLD_LOST}
    succeeded = sorted((call for call in calls if call.has_succeeded), key=lambda call: call.key)
    for key, group in groupby(succeeded, key=lambda call: call.key):
        first, *later = group
        for call in later:
            operation = f"{call.service}.{call.operation}"
            if not call.recovered and key not in lost:
                yield Finding("repeated", f"{operation} was called again for key {key}; {_REPORT}")
            if call.output != first.output and not call.effect_is_record:
                yield Finding(
                    "double effect",
                    f"{operation} did its effect twice for key {key}:"
                    f" first {_json(first.output)}, then {_json(call.output)};"
                    " a handler returns for a key what it returned before",
                )


def _missing_undo(
    resource: dict[str, Any], steps: Sequence[StepOutline], calls: Sequence[Call]
) -> Iterator[Finding]:
    if resource["status"] != "COMPENSATED":
        return
    undone = {call.key for call in calls if call.kind == "undo" and call.has_succeeded}
    for key, step in _keys(resource, steps):
        mine = [call for call in calls if call.key == key]
        performed = next((call for call in mine if call.has_succeeded), None)
        if step.undo is None or performed is None or performed.effect_is_record:
            continue
        if key + UNDO_SUFFIX not in undone:
            last = mine[-1]
            because = (
                f"; its repetition failed with {last.failure}, which says that nothing was done"
                if last.failure is not None
                else ""
            )
            yield Finding(
                "missing undo",
                f"{step.service}.{step.operation} was performed for key {key} and returned"
                f" {_json(performed.output)}{because}; {resource['id']} ended COMPENSATED and it was never undone",
            )


def _wrong_undo(
    resource: dict[str, Any], steps: Sequence[StepOutline], calls: Sequence[Call]
) -> Iterator[Finding]:
    """Undone although it was never begun, or before what depends on it."""
    begun = {call.key for call in calls}
    undone = [call.key for call in calls if call.kind == "undo" and call.has_succeeded]
    keys = {step.id: key for key, step in _keys(resource, steps)}
    for key, step in _keys(resource, steps):
        undo = key + UNDO_SUFFIX
        if undo not in undone:
            continue
        if key not in begun:
            yield Finding("wrong undo", f"{step.id} was undone and never begun; {_REPORT}")
        for earlier in step.depends_on:
            other = keys[earlier] + UNDO_SUFFIX
            if other in undone and undone.index(other) < undone.index(undo):
                yield Finding("order", f"{earlier} was undone before {step.id}; {_REPORT}")


def _unfinished(resource: dict[str, Any]) -> Iterator[Finding]:
    incidents: list[dict[str, Any]] = resource["incidents"]
    if incidents:
        listed = "; ".join(f"{each['code']}: {each['detail']}" for each in incidents)
        yield Finding("incident", f"{resource['id']} needs a person: {listed}")
    elif resource["status"] not in (*ENDED, "FAILED", "PAUSED"):
        yield Finding("stuck", f"{resource['id']} is {resource['status']} and does not end")


def _keys(
    resource: dict[str, Any], steps: Sequence[StepOutline]
) -> Iterator[tuple[str, StepOutline]]:
    """The idempotency key of each step, in its last round."""
    rounds = {step["stepId"]: step["round"] for step in resource["steps"]}
    for step in steps:
        yield f"{resource['id']}/{step.id}/{rounds[step.id]}", step


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()
