"""Sends commands to an existing workflow, and returns their outcome."""

from __future__ import annotations

import uuid

import orjson

from application.access import Caller
from application.gateway import CommandGateway
from application.ports import Document, Unavailable
from application.queries import WorkflowReader
from application.use_cases.refusal import key_faults, refused_by, refused_for, require_id
from domain.values import Value

#: How long a response waits for the engine's decision (CONTRACT 1).
DECISION_SECONDS = 2.0


class Controlled(Value):
    """A command that was not refused."""

    workflow_id: str
    command_id: str
    #: The workflow after the command or, if undecided, its current state. None if it cannot be read.
    resource: Document | None
    #: False: the command is on its topic and not decided yet.
    is_decided: bool


class ControlWorkflow:
    """Sends a command to a workflow in its caller's name."""

    def __init__(self, gateway: CommandGateway, reader: WorkflowReader) -> None:
        self._gateway = gateway
        self._reader = reader

    async def __call__(
        self,
        caller: Caller,
        command_type: str,
        workflow_id: str,
        data: Document,
        *,
        idempotency_key: str | None = None,
        expected_version: int | None = None,
    ) -> Controlled:
        """`data` has the shape of the command. With the same key and data, a command is carried out once.

        It is refused (STALE) if the workflow has another version than the expected one.

        Raises Refused, and Unavailable when the command could not be sent.
        """
        require_id(workflow_id)
        if faults := key_faults(idempotency_key):
            raise refused_for(faults)
        command = self._gateway.message(
            command_type,
            workflow_id,
            data,
            actor=caller.actor,
            traceparent=caller.traceparent,
            command_id=_command_id(
                caller, command_type, workflow_id, data, idempotency_key, expected_version
            ),
            expected_version=expected_version,
        )
        outcome = await self._gateway.send(command, DECISION_SECONDS)
        if outcome.is_rejected and outcome.event is not None:
            raise refused_by(outcome.event)
        try:
            resource = await self._reader.get(workflow_id)
        except Unavailable:
            # The command was sent, so a failed read must not look like a refusal.
            resource = None
        return Controlled(
            workflow_id=workflow_id,
            command_id=command.id,
            resource=resource,
            is_decided=outcome.is_known,
        )


def _command_id(
    caller: Caller,
    command_type: str,
    workflow_id: str,
    data: Document,
    key: str | None,
    expected_version: int | None,
) -> str | None:
    """Equal for repetitions of a command, by which the engine recognises them."""
    if key is None:
        return None
    said: list[object] = [caller.actor, command_type, workflow_id, key, data]
    if expected_version is not None:
        said.append(expected_version)
    text = orjson.dumps(said, option=orjson.OPT_SORT_KEYS).decode()
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"conveyor:command:{text}"))
