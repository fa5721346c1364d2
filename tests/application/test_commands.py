"""What inbox messages ask for."""

from __future__ import annotations

from conveyor import topics, types
from conveyor.messages import Message

from application.codec.commands import decode
from domain.commands import HandleSealAnswer


def test_the_answer_to_a_seal_brings_what_an_undo_needs() -> None:
    """Of a step found performed, output and snapshot: RESTORE_STATE restores from it."""
    message = Message(
        topic=topics.REPLIES,
        key="wf-1",
        subject="wf-1",
        type=types.STEP_SEALED,
        source="/participants/stock",
        id="1",
        data=b'{"workflowId":"wf-1","stepId":"a","performed":true,"output":{"x":1},"snapshot":{"before":5}}',
    )

    assert decode(message).intent == HandleSealAnswer(
        step_id="a", round=1, performed=True, output={"x": 1}, snapshot={"before": 5}
    )
