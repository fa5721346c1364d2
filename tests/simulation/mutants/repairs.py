"""Repairs that break what the engine promises of steps and undos."""

from __future__ import annotations

from domain.definition.definition import StepDefinition
from domain.values import changed
from domain.workflow import repair
from domain.workflow.instance import WorkflowInstance
from domain.workflow.status import StepStatus
from domain.workflow.step import StepExecution
from tests.simulation.mutants.mutant import Mutant, patched

_WAITING = (StepStatus.PENDING, StepStatus.FAILED)


def _direct_dependencies_hold(instance: WorkflowInstance, step: StepDefinition) -> bool:
    return all(instance.steps[each].status.is_satisfied for each in step.depends_on)


def _old_round(step: StepExecution) -> StepExecution:
    return changed(_begin_again(step), renewed=False)


_begin_again = StepExecution.begin_again

MUTANTS: tuple[Mutant, ...] = (
    patched(
        "open-attempt-skipped",
        1,
        "a step is skipped while an attempt of it has no answer",
        (repair, "was_not_performed", lambda step: step.status in _WAITING),
    ),
    patched(
        "skipped-step-hides-others",
        0,
        "a step that is skipped ahead of its turn lets the next one begin",
        (WorkflowInstance, "dependencies_hold", _direct_dependencies_hold),
    ),
    patched(
        "patched-while-open",
        10,
        "a patched step begins a new round while an attempt of the old one has no answer",
        (StepExecution, "may_be_renewed", property(lambda step: step.renewed)),
    ),
    patched(
        "reset-without-undo",
        0,
        "a reset takes back steps that cannot be undone, or leaves others running",
        (repair, "_reset_rejection", lambda *_: None),
    ),
    patched(
        "reset-in-the-old-round",
        10,
        "after a reset, steps run again under their old keys",
        (StepExecution, "begin_again", _old_round),
    ),
    patched(
        "patch-changes-an-undo",
        0,
        "a patch changes what the undo of something done reads",
        (repair, "undo_rejection", lambda *_: None),
    ),
)
