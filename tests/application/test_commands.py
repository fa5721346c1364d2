"""What inbox messages ask for."""

from __future__ import annotations

import pytest
from conveyor import types
from conveyor.payloads import NESTING_MAX

from application.aggregates.catalog import CATALOG
from domain.aggregate.rejection import Rejection, RejectionCode
from domain.workflow.commands import HandleSealAnswer, HandleStepReply, SignalWorkflow
from tests.messages import message_of


def test_the_answer_to_a_seal_brings_what_an_undo_needs() -> None:
    """Of a step found performed, output and snapshot: RESTORE_STATE restores from it."""
    data = b'{"workflowId":"wf-1","stepId":"a","performed":true,"output":{"x":1},"snapshot":{"before":5}}'

    assert CATALOG.decode(message_of(types.STEP_SEALED, data)).intent == HandleSealAnswer(
        step_id="a", round=1, performed=True, output={"x": 1}, snapshot={"before": 5}
    )


def nested(levels: int) -> bytes:
    """A value with so many objects in each other."""
    return b'{"a":' * levels + b"1" + b"}" * levels


def test_a_command_is_nested_as_deep_as_documents_may_be() -> None:
    """MongoDB refuses documents of more than 100 levels, and a refused insert would stop the partition."""
    deepest = b'{"name":"n","payload":' + nested(NESTING_MAX - 1) + b"}"
    deeper = b'{"name":"n","payload":' + nested(NESTING_MAX) + b"}"
    flat = b'{"name":"' + b"[{" * NESTING_MAX + b'"}'

    assert isinstance(CATALOG.decode(message_of(types.SIGNAL, deepest)).intent, SignalWorkflow)
    assert isinstance(CATALOG.decode(message_of(types.SIGNAL, flat)).intent, SignalWorkflow)
    refused = CATALOG.decode(message_of(types.SIGNAL, deeper)).intent
    assert isinstance(refused, Rejection)
    assert refused.code is RejectionCode.INVALID_INPUT


def test_an_answer_that_cannot_be_kept_says_that_the_step_was_done() -> None:
    """It is never performed again for the sake of its output, and its undo can follow."""
    head = b'{"workflowId":"wf-1","stepId":"a","attempt":1,"performed":true,"output":'
    data = head + nested(NESTING_MAX) + b"}"

    completed = CATALOG.decode(message_of(types.STEP_COMPLETED, data)).intent
    sealed = CATALOG.decode(message_of(types.STEP_SEALED, data)).intent

    for answer in (completed, sealed):
        assert isinstance(answer, HandleStepReply | HandleSealAnswer)
        assert answer.performed
        assert answer.output is None
        assert answer.error is not None
        assert not answer.error.recoverable


@pytest.mark.parametrize(
    ("message_type", "more"),
    [
        (types.STEP_FAILED, b'"attempt":1,"performed":true'),
        (types.STEP_SEALED, b'"performed":true'),
    ],
)
def test_a_participant_may_say_that_its_output_cannot_be_used(
    message_type: str, more: bytes
) -> None:
    """The step is done, and nobody has to guess from an empty output that something is missing."""
    data = b'{"workflowId":"wf-1","stepId":"a","error":{"code":"INVALID_OUTPUT"},%b}' % more

    answer = CATALOG.decode(message_of(message_type, data)).intent

    assert isinstance(answer, HandleStepReply | HandleSealAnswer)
    assert answer.performed
    assert answer.error is not None
    assert answer.error.error_code == "INVALID_OUTPUT"


def test_the_texts_of_a_failure_are_kept_within_bounds() -> None:
    """They come again in several events and in the undos' reason."""
    long = b"x" * 10_000
    data = b'{"workflowId":"wf-1","stepId":"a","attempt":1,"error":{"code":"%b","message":"%b"}}'

    answer = CATALOG.decode(message_of(types.STEP_FAILED, data % (long, long))).intent

    assert isinstance(answer, HandleStepReply)
    assert answer.error is not None
    assert (len(answer.error.error_code), len(answer.error.message)) == (255, 4000)


def test_a_failure_says_that_its_outcome_is_unknown() -> None:
    """Beside any type: the attempt stays unanswered, whatever went wrong."""
    data = b'{"workflowId":"wf-1","stepId":"a","attempt":1,"error":{"code":"TIMEOUT","type":"TIMEOUT"%s}}'

    for more, is_open in ((b"", False), (b',"outcomeUnknown":true', True)):
        failed = CATALOG.decode(message_of(types.STEP_FAILED, data % more)).intent
        assert isinstance(failed, HandleStepReply)
        assert failed.error is not None
        assert failed.error.leaves_outcome_open is is_open
        assert failed.error.recoverable
