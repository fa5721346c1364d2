"""The instance as a document: the workflow resource of CONTRACT 6, plus what only the engine needs.

The document holds the whole state, so that loading needs the document and the tail of the log (PROTOCOL rule 12).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from conveyor.times import rfc3339

from application.codec.events import error_document, error_from
from application.codec.times import parse_time
from application.ports import NOT_LISTED, DefinitionOf, Document
from domain.definition.definition import StepDefinition, WorkflowDefinition
from domain.definition.expression import Template
from domain.definition.retry import RetryPolicy
from domain.workflow.events import StartFacts
from domain.workflow.failure import WorkflowError
from domain.workflow.incident import Incident
from domain.workflow.instance import WorkflowInstance
from domain.workflow.status import CompensationStatus, StepStatus, WorkflowPriority, WorkflowStatus
from domain.workflow.step import NO_UNDO, StepExecution, Undo
from domain.workflow.timers import next_due
from domain.workflow.weight import held_by

#: Fields that the resource does not show.
INTERNAL_FIELDS = ("_id", "partition", "nextTimerAt", "engine")


def to_document(instance: WorkflowInstance, partition: int, applied: Document) -> Document:
    """The whole state. `applied` is the processor's memory of the inbox for this instance."""
    facts = instance.facts
    due = next_due(instance)
    return {
        "_id": instance.id,
        "partition": partition,
        "nextTimerAt": rfc3339(due) if due is not None else None,
        **_identity(facts),
        "status": str(instance.status),
        "version": instance.version,
        "waveless": instance.waveless,
        "releaseQueue": instance.release_queue,
        "executionContext": {
            "steps": {
                step.step_id: {"output": step.output}
                for step in instance.steps.values()
                if step.completion_order
            }
        },
        "output": instance.output,
        "currentStepId": instance.current_step_id,
        "executedSteps": list(instance.executed_steps),
        "compensatedSteps": list(instance.compensated_steps),
        "progress": instance.progress,
        "compensationStatus": str(instance.compensation_status),
        "compensationProgress": instance.compensation_progress,
        "retryCount": instance.retry_count,
        "errors": [error_document(error) for error in instance.errors],
        "unresolved": list(instance.unresolved),
        "incidents": [_incident_document(incident) for incident in instance.incidents],
        "cancelReason": instance.cancel_reason,
        "allowedCommands": list(instance.allowed_commands),
        "createdAt": rfc3339(instance.created_at),
        "startedAt": _time(instance.started_at),
        "updatedAt": rfc3339(instance.updated_at),
        "completedAt": _time(instance.completed_at),
        "steps": [_step_document(instance, step) for step in instance.definition.steps],
        "engine": {
            "payloadHash": facts.payload_hash,
            "traceparent": facts.traceparent,
            "timeoutAt": _time(instance.timeout_at),
            "clockRound": instance.clock_round,
            "pausedAt": _time(instance.paused_at),
            "compensationReason": instance.compensation_reason,
            "compensationStartedAt": _time(instance.compensation_started_at),
            "forced": instance.forced,
            "signals": instance.signals,
            "startQueue": facts.release_queue,
            "steps": {step.step_id: _internal(step) for step in instance.steps.values()},
            **_reset(instance),
            **applied,
        },
    }


def _reset(instance: WorkflowInstance) -> Document:
    """Only where there is one: documents of older releases stay what the fold of their log gives."""
    return {} if instance.reset_to is None else {"resetTo": instance.reset_to}


def _incident_document(incident: Incident) -> Document:
    return {
        "code": incident.code,
        "stepId": incident.step_id,
        "version": incident.version,
        "raisedAt": rfc3339(incident.raised_at),
        "detail": incident.detail,
    }


def _identity(facts: StartFacts) -> Document:
    definition = facts.definition
    return {
        "tenant": facts.tenant,
        "workflowDefinitionId": definition.id,
        "definition": definition.name,
        "definitionVersion": definition.version,
        "workflowName": definition.title or definition.name,
        "workflowType": str(definition.type),
        "priority": str(facts.priority),
        "dueAt": _time(facts.due_at),
        "lockKey": facts.lock_key,
        "correlationId": facts.correlation_id,
        "triggeredBy": facts.triggered_by,
        "userId": facts.user_id,
        "wallet": facts.wallet,
        "labels": facts.labels,
        "metadata": facts.metadata,
        "inputParameters": facts.input,
        "maxRetries": facts.max_retries,
        "timeoutSeconds": facts.timeout_seconds,
        "idempotencyKey": facts.idempotency_key,
    }


def _time(moment: Any) -> str | None:
    return rfc3339(moment) if moment is not None else None


def _moment(text: str | None) -> Any:
    return parse_time(text) if text is not None else None


@lru_cache(maxsize=4096)
def _template(definition: WorkflowDefinition, step: StepDefinition) -> Document:
    """The part of a step's definition that every execution shows."""
    return {
        "stepName": step.name or step.id,
        "serviceName": step.service,
        "operation": step.operation,
        "executionOrder": definition.execution_order[step.id],
        "dependsOn": list(step.depends_on),
        "kind": str(step.kind),
        "timeoutMs": step.timeout_ms,
        "retryPolicy": retry_document(step.retry),
        "config": step.config,
        "metadata": step.metadata,
    }


def retry_document(policy: RetryPolicy) -> Document:
    return {
        "maxRetries": policy.max_retries,
        "initialDelayMs": policy.initial_delay_ms,
        "maxDelayMs": policy.max_delay_ms,
        "backoffMultiplier": policy.backoff_multiplier,
        "exponentialBackoff": policy.exponential_backoff,
        "jitter": policy.jitter,
    }


def _step_document(instance: WorkflowInstance, step: StepDefinition) -> Document:
    execution = instance.steps[step.id]
    return {
        "stepId": step.id,
        "workflowInstanceId": instance.id,
        **_template(instance.definition, step),
        "status": str(execution.status),
        "attempt": execution.attempt,
        "round": execution.round,
        "retryCount": execution.retry_count,
        "inputData": execution.input,
        "output": execution.output,
        "error": error_document(execution.error) if execution.error else None,
        "executionTimeMs": execution.execution_time_ms,
        "compensationAction": _compensation(step, execution.undo),
        "idempotencyKey": execution.key(instance.id),
        "scheduledAt": _time(execution.scheduled_at),
        "completedAt": _time(execution.completed_at),
        "nextAttemptAt": _time(execution.next_attempt_at),
    }


def _compensation(step: StepDefinition, undo: Undo) -> Document | None:
    template = _compensation_template(step)
    if template is None:
        return None
    return {
        **template,
        "status": str(undo.status),
        "completedAt": _time(undo.completed_at),
    }


@lru_cache(maxsize=4096)
def _compensation_template(step: StepDefinition) -> Document | None:
    action = step.compensation
    if action is None:
        return None
    return {
        "strategy": str(action.strategy),
        "serviceName": action.service_name,
        "operation": action.operation,
        "parameters": sources(action.input),
    }


def sources(template: Template) -> Any:
    """A template as it was written."""
    return _sources(template.shape)


def _sources(shape: Any) -> Any:
    if isinstance(shape, dict):
        return {key: _sources(inner) for key, inner in shape.items()}  # pyright: ignore[reportUnknownVariableType]
    if isinstance(shape, list):
        return [_sources(inner) for inner in shape]  # pyright: ignore[reportUnknownVariableType]
    return getattr(shape, "source", shape)


def _internal(step: StepExecution) -> Document:
    """The part of a step that only the engine needs, without empty fields."""
    document: Document = {}
    if step.unanswered:
        document["unanswered"] = list(step.unanswered)
    if step.deadline is not None:
        document["deadline"] = rfc3339(step.deadline)
    if step.completion_order:
        document["completionOrder"] = step.completion_order
    if step.snapshot is not None:
        document["snapshot"] = step.snapshot
    if step.seal_attempt:
        document["sealAttempt"] = step.seal_attempt
        document["sealDueAt"] = _time(step.seal_due_at)
    if step.sealed:
        document["sealed"] = True
    if step.performed:
        document["performed"] = True
    if step.renewed:
        document["renewed"] = True
    if step.undo != NO_UNDO:
        document["undo"] = _undo(step.undo)
    return document


def _undo(undo: Undo) -> Document:
    return {
        "attempt": undo.attempt,
        "verifying": undo.verifying,
        "retryCount": undo.retry_count,
        "deadline": _time(undo.deadline),
        "nextAttemptAt": _time(undo.next_attempt_at),
        "error": error_document(undo.error) if undo.error else None,
    }


# -- and back ------------------------------------------------------------------------------------


def from_document(document: Document, definition_of: DefinitionOf) -> WorkflowInstance:
    """The instance that `to_document` wrote."""
    engine: Document = document["engine"]
    definition = definition_of(document["definition"], document["definitionVersion"])
    internals: Document = engine["steps"]
    facts = _facts(document, engine, definition)
    steps = {
        step["stepId"]: _execution(step, internals.get(step["stepId"], {}))
        for step in document["steps"]
    }
    return WorkflowInstance(
        id=document["_id"],
        facts=facts,
        version=document["version"],
        status=WorkflowStatus(document["status"]),
        steps=steps,
        created_at=parse_time(document["createdAt"]),
        updated_at=parse_time(document["updatedAt"]),
        started_at=_moment(document["startedAt"]),
        completed_at=_moment(document["completedAt"]),
        timeout_at=_moment(engine["timeoutAt"]),
        clock_round=engine["clockRound"],
        paused_at=_moment(engine["pausedAt"]),
        retry_count=document["retryCount"],
        waveless=document["waveless"],
        release_queue=document["releaseQueue"],
        output=document["output"],
        errors=tuple(error_from(error) for error in document["errors"]),
        cancel_reason=document["cancelReason"],
        compensation_status=CompensationStatus(document["compensationStatus"]),
        compensation_reason=engine["compensationReason"],
        compensation_started_at=_moment(engine["compensationStartedAt"]),
        compensated_steps=tuple(document["compensatedSteps"]),
        reset_to=engine.get("resetTo"),
        forced=engine["forced"],
        signals=engine["signals"],
        incidents=tuple(_incident(each) for each in document.get("incidents", ())),
        held=held_by(facts, steps.values(), engine["signals"]),
    )


def _incident(document: Document) -> Incident:
    return Incident(
        code=document["code"],
        step_id=document["stepId"],
        version=document["version"],
        raised_at=parse_time(document["raisedAt"]),
        detail=document["detail"],
    )


def _facts(document: Document, engine: Document, definition: WorkflowDefinition) -> StartFacts:
    return StartFacts(
        definition=definition,
        input=document["inputParameters"],
        tenant=document["tenant"],
        correlation_id=document["correlationId"],
        priority=WorkflowPriority(document["priority"]),
        triggered_by=document["triggeredBy"],
        user_id=document["userId"],
        wallet=document["wallet"],
        labels=document["labels"],
        metadata=document["metadata"],
        lock_key=document["lockKey"],
        release_queue=engine["startQueue"],
        due_at=_moment(document["dueAt"]),
        timeout_seconds=document["timeoutSeconds"],
        max_retries=document["maxRetries"],
        idempotency_key=document["idempotencyKey"],
        payload_hash=engine["payloadHash"],
        traceparent=engine["traceparent"],
    )


def _execution(step: Document, internal: Document) -> StepExecution:
    undo: Document = internal.get("undo") or {}
    action: Document = step["compensationAction"] or {}
    return StepExecution(
        step_id=step["stepId"],
        status=StepStatus(step["status"]),
        attempt=step["attempt"],
        round=step["round"],
        retry_count=step["retryCount"],
        unanswered=tuple(internal.get("unanswered", ())),
        input=step["inputData"],
        output=step["output"],
        snapshot=internal.get("snapshot"),
        error=_error(step["error"]),
        execution_time_ms=step["executionTimeMs"],
        scheduled_at=_moment(step["scheduledAt"]),
        deadline=_moment(internal.get("deadline")),
        next_attempt_at=_moment(step["nextAttemptAt"]),
        completed_at=_moment(step["completedAt"]),
        seal_attempt=internal.get("sealAttempt", 0),
        seal_due_at=_moment(internal.get("sealDueAt")),
        sealed=internal.get("sealed", False),
        performed=internal.get("performed", False),
        renewed=internal.get("renewed", False),
        completion_order=internal.get("completionOrder", 0),
        undo=Undo(
            status=CompensationStatus(action.get("status", "NONE")),
            attempt=undo.get("attempt", 0),
            verifying=undo.get("verifying", False),
            retry_count=undo.get("retryCount", 0),
            deadline=_moment(undo.get("deadline")),
            next_attempt_at=_moment(undo.get("nextAttemptAt")),
            completed_at=_moment(action.get("completedAt")),
            error=_error(undo.get("error")),
        ),
    )


def _error(document: Document | None) -> WorkflowError | None:
    return error_from(document) if document is not None else None


def is_whole(document: Document) -> bool:
    """Whether the document has the whole state. Older releases lacked fields that were added since."""
    return "incidents" in document


def resource(document: Document) -> Document:
    """The resource that the API shows: the document without internal fields, with `id` instead of `_id`."""
    shown = {key: value for key, value in document.items() if key not in INTERNAL_FIELDS}
    return {"id": document["_id"], "incidents": [], **shown}


def listed(document: Document) -> Document:
    """The resource as an item of a list."""
    return {key: value for key, value in resource(document).items() if key not in NOT_LISTED}
