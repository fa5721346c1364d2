"""How far a workflow is, forward and back."""

from __future__ import annotations

from domain.definition.definition import OnFailure
from tests.domain.definitions import Path, chain, step, workflow
from tests.domain.sagas import Saga


def test_progress_of_four_steps() -> None:
    """Progress goes 0, 25, 50, 75, 100."""
    saga = Saga(chain("reserve", "charge", "pick", "pack")).starts()

    seen = [saga.instance.progress]
    steps = ("reserve", "charge", "pick", "pack")
    seen.extend(saga.succeeds(name).instance.progress for name in steps)

    assert seen == [0, 25, 50, 75, 100]


def test_a_skipped_step_counts() -> None:
    """What need not be done is done."""
    definition = workflow(step("wrap", when=Path("input.gift")), step("pick", "wrap"))

    assert Saga(definition).starts({"gift": False}).instance.progress == 50


def test_progress_does_not_go_back() -> None:
    """Undone steps were done; what is undone shows as compensation progress."""
    saga = Saga(chain("reserve", "charge", "pick")).starts().succeed("reserve", "charge")
    saga.fails("pick")
    assert (saga.instance.progress, saga.instance.compensation_progress) == (66, 0)

    saga.undone("charge")
    assert (saga.instance.progress, saga.instance.compensation_progress) == (66, 50)

    saga.undone("reserve")
    assert (saga.instance.progress, saga.instance.compensation_progress) == (66, 100)


def test_a_workflow_that_never_compensates_has_no_compensation_progress() -> None:
    """Completed or running, there is nothing to undo."""
    saga = Saga(chain("reserve")).starts()

    assert saga.instance.compensation_progress == 0
    assert saga.succeeds("reserve").instance.compensation_progress == 0


def test_the_current_step() -> None:
    """Running before undone before failed before pending; none at the end."""
    saga = Saga(chain("reserve", "charge", "pick", on_failure=OnFailure.HOLD)).starts()
    assert saga.instance.current_step_id == "reserve"

    saga.succeeds("reserve").pauses().succeeds("charge")
    assert saga.instance.current_step_id == "pick"

    saga.resumes().fails("pick")
    assert saga.instance.current_step_id == "pick"

    saga.compensates()
    assert saga.instance.current_step_id == "charge"

    saga.undone("charge").undone("reserve").expect_status("COMPENSATED")
    assert saga.instance.current_step_id is None


def test_a_workflow_whose_steps_are_done_but_that_is_held_has_no_current_step() -> None:
    """FAILED, but the late success has left nothing to do."""
    saga = Saga(chain("reserve", on_failure=OnFailure.HOLD)).starts().gives_no_answer("reserve")

    assert saga.instance.current_step_id == "reserve"
    assert saga.succeeds("reserve").instance.current_step_id is None


def test_active_and_terminal() -> None:
    """A running workflow is active, a compensated one has ended."""
    saga = Saga(chain("reserve")).starts()
    assert (saga.instance.is_active, saga.instance.is_terminal) == (True, False)

    saga.fails("reserve")
    assert (saga.instance.is_active, saga.instance.is_terminal) == (False, True)
