"""What an operator may change in a run: try a step now, skip it, complete it by hand, patch what the workflow
holds, and send the workflow back to a step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from domain.aggregate.event import DomainEvent
from domain.aggregate.rejection import Rejection, RejectionCode
from domain.definition.definition import StepDefinition, StepKind
from domain.definition.expression import Expression, ExpressionError, Template
from domain.values import changed
from domain.workflow.backward import schedule_undo, undo_fault
from domain.workflow.commands import (
    CompleteStep,
    HandleStepReply,
    PatchWorkflow,
    Purpose,
    ResetWorkflow,
    RetryStepNow,
    SkipStep,
)
from domain.workflow.events import (
    StepExecuted,
    StepScheduled,
    StepSkipped,
    StepUnresolved,
    WorkflowPatched,
    WorkflowReset,
    WorkflowRetried,
)
from domain.workflow.evolve import evolve
from domain.workflow.forward import retry_step
from domain.workflow.instance import WorkflowInstance
from domain.workflow.replies import unusable_output
from domain.workflow.sealing import ask_seal_again
from domain.workflow.status import CompensationStatus, StepStatus, WorkflowStatus
from domain.workflow.step import StepExecution
from domain.workflow.weight import WEIGHT_MAX, json_bytes, same_json, too_large

Handled = Sequence[DomainEvent] | Rejection

#: What the definition reads of a workflow that may be patched, by the name of the part.
INPUT: Final = "input"
CONTEXT: Final = "context"


def repair_fault(instance: WorkflowInstance, verb: str) -> Rejection | None:
    """Why the course of this workflow cannot be changed now: it has ended, or goes back."""
    nothing_undone = instance.compensation_status is CompensationStatus.NONE
    if instance.status in (WorkflowStatus.EXECUTING, WorkflowStatus.PAUSED) or (
        instance.status is WorkflowStatus.FAILED and nothing_undone
    ):
        return None
    needs = "EXECUTING, PAUSED, or FAILED with nothing compensated"
    return Rejection(
        RejectionCode.ILLEGAL_STATUS, f"{instance.id} is {instance.status}; {verb} needs {needs}"
    )


def known_step(instance: WorkflowInstance, step_id: str) -> StepDefinition | Rejection:
    """The step, or a refusal that names those that there are."""
    if instance.definition.has_step(step_id):
        return instance.definition.step(step_id)
    known = ", ".join(instance.steps)
    return Rejection(
        RejectionCode.INVALID_INPUT,
        f"{instance.definition.id} has no step '{step_id}'; it has {known}",
    )


def continued(
    instance: WorkflowInstance, actor: str, reason: str, now: datetime
) -> Sequence[DomainEvent]:
    """A repair of a FAILED workflow lets it go on. It is no retry of the same thing, so it is not counted as one."""
    if instance.status is not WorkflowStatus.FAILED:
        return ()
    return (
        WorkflowRetried(
            occurred_at=now,
            actor=actor,
            retry_count=instance.retry_count,
            max_retries=instance.facts.max_retries,
            from_step_id=None,
            reason=reason,
        ),
    )


# -- retry now -----------------------------------------------------------------------------------


def retry_now(instance: WorkflowInstance, command: RetryStepNow, now: datetime) -> Handled:
    """What the step waits for happens now: its retry, that of its undo, or the next question about its outcome."""
    step = known_step(instance, command.step_id)
    if isinstance(step, Rejection):
        return step
    execution = instance.steps[step.id]
    if execution.seal_due_at is not None:
        events = ask_seal_again(instance, step, now)
    elif (
        instance.status is WorkflowStatus.EXECUTING
        and execution.status is StepStatus.FAILED
        and execution.next_attempt_at is not None
    ):
        events = retry_step(instance, step, now)
    elif (
        instance.status is WorkflowStatus.COMPENSATING
        and execution.status is StepStatus.COMPENSATING
        and execution.undo.next_attempt_at is not None
    ):
        purpose = Purpose.VERIFY if execution.undo.verifying else Purpose.UNDO
        events = (schedule_undo(instance, step, now, purpose),)
    else:
        return Rejection(
            RejectionCode.ILLEGAL_STATUS,
            f"{step.id} is {execution.status} and {instance.id} {instance.status}: it waits for no retry;"
            " a failed workflow is continued with retry, a paused one with resume",
        )
    return [_by(event, command.actor, command.reason) for event in events]


def _by(event: DomainEvent, actor: str, reason: str) -> DomainEvent:
    if isinstance(event, StepScheduled | StepUnresolved):
        return changed(event, actor=actor, reason=reason)
    return event


# -- skip ----------------------------------------------------------------------------------------


def skip_step(instance: WorkflowInstance, command: SkipStep, now: datetime) -> Handled:
    """The step is left out. Refused if it may have been performed, or if something later reads its output."""
    refused = repair_fault(instance, "skip")
    if refused is not None:
        return refused
    step = known_step(instance, command.step_id)
    if isinstance(step, Rejection):
        return step
    if step.kind is StepKind.PIVOT:
        return Rejection(
            RejectionCode.ILLEGAL_STATUS,
            f"{step.id} is the pivot, and what follows it cannot be undone: complete it, or cancel {instance.id}",
        )
    execution = instance.steps[step.id]
    if not was_not_performed(execution):
        state = (
            "FAILED, and may have been performed" if execution.is_unresolved else execution.status
        )
        return Rejection(
            RejectionCode.ILLEGAL_STATUS,
            f"{step.id} is {state}; skip needs a step that was not performed for certain:"
            " wait for its answer, or complete it",
        )
    readers = sorted(set(_readers(instance, step.id)))
    if readers:
        return Rejection(
            RejectionCode.DEPENDENCY_NOT_MET,
            f"the output of {step.id} is read by {', '.join(readers)}: complete the step with an output instead",
        )
    skipped = StepSkipped(
        occurred_at=now, actor=command.actor, step_id=step.id, reason=command.reason
    )
    return (skipped, *continued(instance, command.actor, command.reason, now))


def was_not_performed(execution: StepExecution) -> bool:
    """For certain: each attempt was answered, and none did anything."""
    is_waiting = execution.status in (StepStatus.PENDING, StepStatus.FAILED)
    return is_waiting and not execution.may_be_done


def _readers(instance: WorkflowInstance, step_id: str) -> Iterator[str]:
    """What still reads the step's output: steps to come, undos of others, and the output of the workflow."""
    for other in instance.definition.steps:
        if other.id == step_id:
            continue
        if not instance.steps[other.id].status.is_satisfied and _reads_output(
            _forward_expressions(other), step_id
        ):
            yield other.id
        if _reads_output(_undo_expressions(other), step_id):
            yield f"the undo of {other.id}"
    output = instance.definition.output
    if output is not None and _reads_output(output.expressions, step_id):
        yield "the output of the workflow"


def _forward_expressions(step: StepDefinition) -> Sequence[Expression]:
    when = () if step.when is None else (step.when,)
    return (*step.input.expressions, *when)


def _undo_expressions(step: StepDefinition) -> Sequence[Expression]:
    return [leaf for template in step.undo_templates for leaf in template.expressions]


def _reads_output(expressions: Sequence[Expression], step_id: str) -> bool:
    """An expression that reads all steps at once can do without one of them."""
    return any(
        path[:2] == ("steps", step_id) and path[2:3] in ((), ("output",))
        for each in expressions
        for path in each.references
    )


# -- complete ------------------------------------------------------------------------------------


def complete_step(instance: WorkflowInstance, command: CompleteStep, now: datetime) -> Handled:
    """The step was performed by hand, with this output. Its undo is asked for like that of any other step."""
    refused = repair_fault(instance, "complete")
    if refused is not None:
        return refused
    step = known_step(instance, command.step_id)
    if isinstance(step, Rejection):
        return step
    execution = instance.steps[step.id]
    if execution.status not in (StepStatus.EXECUTING, StepStatus.FAILED):
        return Rejection(
            RejectionCode.ILLEGAL_STATUS,
            f"{step.id} is {execution.status}; complete needs EXECUTING or FAILED:"
            " a step that has not begun is skipped",
        )
    answer = HandleStepReply(
        step_id=step.id, attempt=execution.attempt, round=execution.round, output=command.output
    )
    unusable = unusable_output(instance, step, answer, now)
    if unusable is not None:
        return Rejection(RejectionCode.TOO_LARGE, unusable.message)
    executed = StepExecuted(
        occurred_at=now,
        actor=command.actor,
        step_id=step.id,
        service_name=step.service,
        operation=step.operation,
        attempt=execution.attempt,
        round=execution.round,
        output=command.output,
        execution_time_ms=0,
        reason=command.reason,
    )
    return (executed, *continued(instance, command.actor, command.reason, now))


# -- reset ---------------------------------------------------------------------------------------


def reset(instance: WorkflowInstance, command: ResetWorkflow, now: datetime) -> Handled:
    """Undo a step and what depends on it, then go on from there. Refused if something of it cannot be undone."""
    nothing_undone = instance.compensation_status is CompensationStatus.NONE
    held = instance.status is WorkflowStatus.FAILED and nothing_undone
    if instance.status is not WorkflowStatus.PAUSED and not held:
        return Rejection(
            RejectionCode.ILLEGAL_STATUS,
            f"{instance.id} is {instance.status}; reset needs PAUSED, or FAILED with nothing compensated",
        )
    step = known_step(instance, command.to_step)
    if isinstance(step, Rejection):
        return step
    event = WorkflowReset(
        occurred_at=now, actor=command.actor, to_step=step.id, reason=command.reason
    )
    after = evolve(instance, event)
    taken_back = [each for each in instance.definition.steps if after.goes_back(each.id)]
    return _reset_rejection(instance, taken_back) or (event,)


def _reset_rejection(
    instance: WorkflowInstance, taken_back: Sequence[StepDefinition]
) -> Rejection | None:
    begun = [
        each for each in taken_back if instance.steps[each.id].status is not StepStatus.PENDING
    ]
    if not begun:
        return Rejection(
            RejectionCode.ILLEGAL_STATUS,
            f"{taken_back[0].id} has not begun: nothing is to be reset",
        )
    for step in begun:
        stays = step.kind is not StepKind.READ_ONLY and step.compensation is None
        if stays and instance.steps[step.id].may_be_done:
            return Rejection(
                RejectionCode.PAST_PIVOT,
                f"{step.id} may be done and has no undo, so it cannot be done again: reset to a later step",
            )
    ids = {each.id for each in taken_back}
    for step_id, execution in instance.steps.items():
        # One that is asked to seal would begin a new round before its service has answered.
        is_asked = execution.seal_attempt > 0 and execution.unanswered
        if step_id not in ids and (execution.status is StepStatus.EXECUTING or is_asked):
            return Rejection(
                RejectionCode.ILLEGAL_STATUS,
                f"{step_id} is under way, and the reset does not take it back: reset once it has answered",
            )
    return None


# -- patch ---------------------------------------------------------------------------------------


def patch(instance: WorkflowInstance, command: PatchWorkflow, now: datetime) -> Handled:
    """Change fields of the input or of the metadata: what steps that are not done will read.

    Refused if the new input does not fit the definition, or if the undo of something done would read another value.
    """
    refused = None
    if instance.status is not WorkflowStatus.PENDING:
        refused = repair_fault(instance, "patch")
    if refused is not None:
        return refused
    events = [
        WorkflowPatched(
            occurred_at=now,
            actor=command.actor,
            path=f"{part}.{name}",
            before=known.get(name),
            after=value,
            reason=command.reason,
        )
        for part, known, given in (
            (INPUT, instance.facts.input, command.input),
            (CONTEXT, instance.facts.metadata, command.context),
        )
        for name, value in given.items()
        if not same_json(known.get(name), value)
    ]
    if not events:
        return Rejection(
            RejectionCode.INVALID_INPUT, "the patch changes nothing: these values are there already"
        )
    after = instance
    for event in events:
        size = json_bytes((event.before, event.after))
        if size > WEIGHT_MAX:
            return Rejection(RejectionCode.TOO_LARGE, too_large(f"the patch of {event.path}", size))
        after = evolve(after, event)
    faults = instance.definition.input_faults(after.facts.input)
    if faults:
        listed = "; ".join(f"{fault['path']}: {fault['message']}" for fault in faults)
        detail = f"the patched input does not fit {instance.definition.id}: {listed}"
        return Rejection(RejectionCode.INVALID_INPUT, detail, faults)
    return undo_rejection(instance, after, now) or events


def undo_rejection(
    before: WorkflowInstance, after: WorkflowInstance, now: datetime
) -> Rejection | None:
    """The undo of a step that may be done has to find what the step found."""
    for step in before.definition.steps:
        if not before.steps[step.id].may_be_done:
            continue
        if not all(
            same_json(_rendered(template, before.document()), _rendered(template, after.document()))
            for template in step.undo_templates
        ):
            return Rejection(
                RejectionCode.DEPENDENCY_NOT_MET,
                f"{step.id} may be done, and its undo reads what the patch changes",
            )
        fault = undo_fault(after, step, now)
        if fault is not None:
            return Rejection(RejectionCode.TOO_LARGE, f"with this patch, {fault}")
    return None


def _rendered(template: Template, document: Mapping[str, Any]) -> Any:
    try:
        return template.render(document)
    except ExpressionError as fault:
        return str(fault)
