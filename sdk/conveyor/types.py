"""CloudEvent types (`ce_type`) that travel between services, engine and participants."""

from __future__ import annotations

from functools import cache

# Commands on a workflow instance; the subject is the workflow id.
START = "orchestration.workflow.start"
PAUSE = "orchestration.workflow.pause"
RESUME = "orchestration.workflow.resume"
CANCEL = "orchestration.workflow.cancel"
COMPENSATE = "orchestration.workflow.compensate"
FORCE_COMPENSATE = "orchestration.workflow.force-compensate"
RETRY = "orchestration.workflow.retry"
SIGNAL = "orchestration.workflow.signal"
EXECUTE_STEP = "orchestration.workflow.step.execute"
RETRY_STEP_NOW = "orchestration.workflow.step.retry-now"
SKIP_STEP = "orchestration.workflow.step.skip"
COMPLETE_STEP = "orchestration.workflow.step.complete"
PATCH = "orchestration.workflow.patch"
RESET = "orchestration.workflow.reset"
ENABLE_WAVELESS = "orchestration.waveless.enable"

# Commands on the system.
CONFIGURE_WAVELESS = "orchestration.waveless.configure"
REBALANCE = "orchestration.system.load.rebalance"

# Events of a workflow that its end is read from.
COMPLETED = "orchestration.workflow.completed"
FAILED = "orchestration.workflow.failed"
CANCELLED = "orchestration.workflow.cancelled"
RETRIED = "orchestration.workflow.retried"
COMPENSATION_STARTED = "orchestration.workflow.compensation.started"
COMPENSATION_COMPLETED = "orchestration.workflow.compensation.completed"

# Requests to a participant.
STEP_REQUESTED = "orchestration.step.requested"
COMPENSATION_REQUESTED = "orchestration.step.compensation-requested"
SEAL_REQUESTED = "orchestration.step.seal-requested"

# A participant's replies.
STEP_COMPLETED = "orchestration.step.completed"
STEP_FAILED = "orchestration.step.failed"
STEP_SEALED = "orchestration.step.sealed"

LOAD_SAMPLED = "orchestration.system.load.sampled"
COMMAND_REJECTED = "orchestration.command.rejected"


@cache
def dataschema(event_type: str) -> str:
    """The versioned schema that a type's data follows."""
    return f"urn:conveyor:schema:{event_type}:v1"
