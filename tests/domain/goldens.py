"""The sagas whose histories are kept in `golden/`, and how a history is written down.

A line is one event as it is stored and published, and under `changes` what it changed in the workflow's
document: `[before, after]` by path.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path as File
from typing import Any

from application.aggregates.workflow import WORKFLOW
from application.codec.events import record, restore
from application.codec.instances import to_document
from domain.aggregate.event import CommandRejected, DomainEvent
from domain.definition.definition import OnCancel, OnFailure, StepKind, WorkflowDefinition
from domain.workflow.commands import (
    CompleteStep,
    EnableWaveless,
    PatchWorkflow,
    ResetWorkflow,
    RetryStepNow,
    SignalWorkflow,
    SkipStep,
    TimerKind,
)
from domain.workflow.events import (
    StartFacts,
    WorkflowAccepted,
    WorkflowReleased,
    WorkflowStarted,
)
from domain.workflow.evolve import evolve
from domain.workflow.instance import WorkflowInstance
from tests.contracts.samples import recorded as recorded_event
from tests.domain.definitions import Path, step, undo_of, workflow
from tests.domain.sagas import T0, Saga

FOLDER = File(__file__).parent / "golden"

#: One definition for all of them: it must not change, a saga that needs another one brings its own.
ORDER = workflow(
    step("reserve", compensation=undo_of("reserve", verify=True)),
    step("wrap", "reserve", when=Path("input.gift")),
    step("charge", "wrap"),
    on_cancel=OnCancel.COMPENSATE,
)
HELD = workflow(
    step("reserve"),
    step("charge", "reserve", kind=StepKind.PIVOT),
    step("ship", "charge", kind=StepKind.RETRIABLE),
    name="held-order",
    on_failure=OnFailure.HOLD,
)
DEFINITIONS: Mapping[tuple[str, int], WorkflowDefinition] = {
    (definition.name, definition.version): definition for definition in (ORDER, HELD)
}


def completed() -> list[DomainEvent]:
    """With a skipped step, a retry, a pause, a signal, a late reply, a refusal and a queue."""
    saga = Saga(ORDER).starts({"orderId": "ORD-1", "gift": False}, correlation_id="corr-1")
    saga.send(SignalWorkflow(name="truck", payload={"dock": 4}, actor="alice"))
    saga.after(milliseconds=120).unavailable("reserve").pauses().resumes().retry_is_due("reserve")
    saga.send(EnableWaveless(release_queue="dock-4", batch_size=5, processing_interval_ms=500))
    saga.succeeds("reserve", {"reservationId": "res-1"}, execution_time_ms=12, snapshot={"n": 9})
    saga.succeeds("reserve").after(milliseconds=80).succeeds("charge", {"paymentId": "pay-1"})
    refusal = CommandRejected(
        occurred_at=saga.now,
        actor="alice",
        command_id="cmd-9",
        command_type="orchestration.workflow.pause",
        code="ILLEGAL_STATUS",
        detail="wf-1 is COMPLETED; pause needs EXECUTING",
        status="COMPLETED",
        allowed_commands=("compensate",),
    )
    return [*saga.history, refusal]


def compensated() -> list[DomainEvent]:
    """The last step fails; the undo before it is tried twice and verified."""
    saga = Saga(ORDER).starts({"gift": True}).succeeds("reserve", {"reservationId": "res-1"})
    saga.succeeds("wrap").after(seconds=1).fails("charge")
    saga.undone("wrap").undo_fails("reserve", "SERVICE_UNAVAILABLE")
    saga.fires(TimerKind.UNDO_RETRY, "reserve").undone("reserve", execution_time_ms=9)
    return saga.verified("reserve", {"verified": True}).history


def forced() -> list[DomainEvent]:
    """Cancelled while a step runs, which turns out to be done and is undone by an operator's word."""
    saga = Saga(ORDER).starts({"gift": True}).succeeds("reserve").cancels()
    saga.fires(TimerKind.SEAL, "wrap").performed("wrap", {"ribbon": "red"}, attempt=1)
    saga.undo_fails("wrap").forces().undo_fails("wrap")
    return saga.undone("reserve").verified("reserve").history


def gone_on() -> list[DomainEvent]:
    """A silent pivot is sealed, fails, and is done in a new round; behind it nothing goes back."""
    saga = Saga(HELD).starts(timeout_seconds=20).succeeds("reserve").times_out("charge")
    saga.fires(TimerKind.WORKFLOW_TIMEOUT).sealed("charge").retries().succeeds("charge")
    return saga.fails("ship").retries().succeeds("ship").history


def released() -> list[DomainEvent]:
    """Accepted first, started when its turn has come."""
    facts = StartFacts(
        definition=HELD, input={}, release_queue="dock-4", due_at=T0, labels={"carrier": "sea"}
    )
    return [
        WorkflowAccepted(occurred_at=T0, facts=facts),
        WorkflowReleased(occurred_at=T0),
        WorkflowStarted(occurred_at=T0, facts=facts),
    ]


def repaired() -> list[DomainEvent]:
    """By an operator: hurried, patched, skipped, completed by hand."""
    saga = Saga(ORDER).starts({"gift": True, "note": "a"}).unavailable("reserve")
    saga.send(RetryStepNow(step_id="reserve", reason="it is back", actor="alice"))
    saga.unavailable("reserve")
    patch = {"gift": True, "note": "b", "dock": 4}
    saga.send(PatchWorkflow(input=patch, context={"shift": 2}, reason="wrong note", actor="alice"))
    saga.retry_is_due("reserve")
    hand = {"reservationId": "res-2"}
    saga.send(CompleteStep(step_id="reserve", output=hand, reason="counted", actor="alice"))
    saga.unavailable("wrap")
    saga.send(SkipStep(step_id="wrap", reason="no ribbon left", actor="alice"))
    return saga.succeeds("charge").history


def reset() -> list[DomainEvent]:
    """Paused, and sent back to a step: it is undone, and done again in a new round."""
    saga = Saga(ORDER).starts({"gift": True}).succeeds("reserve").succeeds("wrap").pauses()
    saga.send(ResetWorkflow(to_step="wrap", reason="wrong ribbon", actor="alice"))
    saga.sealed("charge").undone("wrap").succeeds("wrap")
    return saga.succeeds("charge").history


SAGAS: Mapping[str, Callable[[], list[DomainEvent]]] = {
    saga.__name__: saga
    for saga in (completed, compensated, forced, gone_on, released, repaired, reset)
}


def written(history: list[DomainEvent]) -> list[str]:
    """The lines of a golden file."""
    lines: list[str] = []
    before: WorkflowInstance | None = None
    for version, event in enumerate(history, 1):
        after = evolve(before, event, "wf-1")
        recorded = record(WORKFLOW, event, after, version)
        line = {"type": recorded.type, "kind": recorded.kind, "data": recorded.data}
        lines.append(json.dumps({**line, "changes": changes(before, after)}))
        before = after
    return lines


def read(line: dict[str, Any]) -> DomainEvent:
    """The event of a line, as the engine reads it from its store."""
    recorded = recorded_event(line["type"], line["data"], line["kind"])
    return restore(WORKFLOW.kind, recorded, lambda name, version: DEFINITIONS[name, version])


def changes(before: WorkflowInstance | None, after: WorkflowInstance) -> dict[str, Any]:
    """What differs between the two states' documents; of the first state all that is not empty."""
    old, new = _leaves(before), _leaves(after)
    paths = sorted(old.keys() | new.keys())
    return {
        path: [old.get(path), new.get(path)] for path in paths if old.get(path) != new.get(path)
    }


def _leaves(instance: WorkflowInstance | None) -> dict[str, Any]:
    if instance is None:
        return {}
    document = json.loads(json.dumps(to_document(instance, 0, {})))
    if not document["incidents"]:
        # Files were written before workflows told their open incidents.
        del document["incidents"]
    document["steps"] = {execution["stepId"]: execution for execution in document["steps"]}
    found: dict[str, Any] = {}
    _collect(document, "", found)
    return found


def _collect(value: Any, path: str, found: dict[str, Any]) -> None:
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            _collect(inner, f"{path}.{name}" if path else name, found)
    else:
        found[path] = value
