"""One message names one thing: whatever its parts name differently has no effect (FAULTS kind 8)."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from conveyor import types
from conveyor.messages import MalformedEvent, Message
from conveyor.values import replace

from application.aggregates.catalog import CATALOG
from domain.workflow.commands import HandleSealAnswer, HandleStepReply, Purpose
from tests.messages import message_of

ERROR = {"code": "X"}


def message(message_type: str, key: str | None = None, **data: Any) -> Message:
    """A message about the first round of step a of wf-1; `key` is its idempotency key."""
    own = {"workflowId": "wf-1", "stepId": "a", **data} if message_type != types.START else data
    extensions = {} if key is None else {"idempotencykey": key}
    return message_of(message_type, orjson.dumps(own), extensions=extensions)


DONE: dict[str, Any] = {"attempt": 1, "output": {}}
FAILED: dict[str, Any] = {"attempt": 1, "error": ERROR}
CONFLICTS = {
    "another workflow in the data": message(types.STEP_COMPLETED, **DONE, workflowId="wf-2"),
    "a failure of another workflow": message(types.STEP_FAILED, **FAILED, workflowId="wf-2"),
    "a seal of another workflow": message(types.STEP_SEALED, performed=True, workflowId="wf-2"),
    "another workflow in the key": message(types.STEP_COMPLETED, "wf-2/a/1", **DONE),
    "another step": message(types.STEP_COMPLETED, "wf-1/b/1", **DONE),
    "another round": message(types.STEP_COMPLETED, "wf-1/a/2", **DONE, round=1),
    "another round of the data": message(types.STEP_FAILED, "wf-1/a/1", **FAILED, round=2),
    "an item that the data has not": message(types.STEP_COMPLETED, "wf-1/a/x/1", **DONE),
    "an undo by its key only": message(
        types.STEP_COMPLETED, "wf-1/a/1/undo", **DONE, compensation=False
    ),
    "an undo by its data only": message(
        types.STEP_COMPLETED, "wf-1/a/1", **DONE, compensation=True
    ),
    "a verification and an undo": message(
        types.STEP_FAILED, "wf-1/a/1/verify", **FAILED, compensation=True
    ),
    "a key of no step": message(types.STEP_COMPLETED, "order-1", **DONE),
    "a seal of another step": message(types.STEP_SEALED, "wf-1/b/1", performed=False),
    "a seal of another round": message(types.STEP_SEALED, "wf-1/a/2", performed=False),
    "a seal of an undo": message(types.STEP_SEALED, "wf-1/a/1/undo", performed=False),
    "two idempotency keys of a start": message(
        types.START, "order-1", definition="d", idempotencyKey="order-2"
    ),
}


@pytest.mark.parametrize("conflicting", CONFLICTS.values(), ids=CONFLICTS)
def test_what_is_named_differently_is_a_dead_letter(conflicting: Message) -> None:
    """Which of the two is meant nobody knows, so neither is changed."""
    with pytest.raises(MalformedEvent) as refused:
        CATALOG.decode(conflicting)
    assert refused.value.code == "CONFLICTING_IDS"


@pytest.mark.parametrize(
    "sent",
    [
        message(types.PAUSE),
        message(types.START, definition="d"),
        message(types.STEP_COMPLETED, **DONE),
        message(types.STEP_SEALED, performed=True),
    ],
    ids=lambda sent: sent.type,
)
def test_key_and_subject_agree(sent: Message) -> None:
    """Either alone names the workflow, both name the same one (PROTOCOL rule 17)."""
    data = b"{}" if sent.type == types.PAUSE else sent.data
    sent = replace(sent, data=data)
    for alone in (replace(sent, key=None), replace(sent, subject=None)):
        assert CATALOG.decode(alone).aggregate_id == "wf-1"

    with pytest.raises(MalformedEvent) as refused:
        CATALOG.decode(replace(sent, key="wf-2"))
    assert refused.value.code == "CONFLICTING_IDS"


@pytest.mark.parametrize("attempt", ["2", "x"])
def test_the_attempt_is_named_once(attempt: str) -> None:
    """A participant that copies the attribute as well copies that of its request."""
    reply = message(types.STEP_COMPLETED, "wf-1/a/1", **DONE)
    with pytest.raises(MalformedEvent):
        CATALOG.decode(replace(reply, extensions={**reply.extensions, "attempt": attempt}))
    CATALOG.decode(replace(reply, extensions={**reply.extensions, "attempt": "1"}))


@pytest.mark.parametrize(
    ("suffix", "more", "purpose"),
    [
        ("", {}, Purpose.FORWARD),
        ("", {"compensation": False}, Purpose.FORWARD),
        ("/undo", {"compensation": True}, Purpose.UNDO),
        ("/undo", {}, Purpose.UNDO),
        ("/verify", {"compensation": False}, Purpose.VERIFY),
        (None, {"compensation": True}, Purpose.UNDO),
    ],
)
def test_what_agrees_is_taken(suffix: str | None, more: dict[str, Any], purpose: Purpose) -> None:
    """What is left out says nothing else."""
    key = None if suffix is None else f"wf-1/a/1{suffix}"

    command = CATALOG.decode(message(types.STEP_COMPLETED, key, **DONE, **more)).intent

    assert isinstance(command, HandleStepReply)
    assert command.purpose is purpose
    sealed = CATALOG.decode(message(types.STEP_SEALED, "wf-1/a/1", performed=True)).intent
    assert isinstance(sealed, HandleSealAnswer)
