"""A workflow under test, as it is at this moment."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from conveyor import types

#: A workflow's resource and history, as of the API.
Look = Callable[[], tuple[dict[str, Any], list[dict[str, Any]]]]

_UNDONE = "orchestration.workflow.step.compensated"


@dataclass(frozen=True, slots=True)
class Error:
    """Why an attempt of a step failed."""

    step_id: str | None
    code: str
    message: str
    #: Such as BUSINESS_RULE_VIOLATION or TIMEOUT.
    type: str
    attempt: int | None


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a workflow."""

    id: str
    #: PENDING, EXECUTING, COMPLETED, FAILED, SKIPPED, COMPENSATING or COMPENSATED.
    status: str
    #: How often it was tried; 0: not yet.
    attempts: int
    input: Any
    output: Any
    #: Why its last attempt failed; None if it did not.
    error: Error | None


class RunView:
    """What can be read of a workflow. Everything is read when it is asked for."""

    def __init__(self, id: str, look: Look) -> None:
        self.id = id
        self.look = look

    @property
    def resource(self) -> dict[str, Any]:
        """The resource, as of `GET /api/v1/workflows/{id}`."""
        return self.look()[0]

    @property
    def events(self) -> list[dict[str, Any]]:
        """The history: items as of `GET /api/v1/workflows/{id}/history`."""
        return self.look()[1]

    @property
    def status(self) -> str:
        """EXECUTING, PAUSED, COMPLETED, FAILED, COMPENSATING, COMPENSATED, CANCELLED or PENDING."""
        status: str = self.resource["status"]
        return status

    @property
    def output(self) -> Any:
        """What the workflow gave; None before it is COMPLETED."""
        return self.resource["output"]

    @property
    def errors(self) -> list[Error]:
        """What failed, in order, attempts that were tried again included."""
        return [_error(error) for error in self.resource["errors"]]

    @property
    def incidents(self) -> Sequence[Mapping[str, Any]]:
        """What a person would have to look at."""
        incidents: Sequence[Mapping[str, Any]] = self.resource["incidents"]
        return incidents

    @property
    def undone(self) -> list[str]:
        """Ids of the steps that were undone, in order."""
        return [item["data"]["stepId"] for item in self.events if item["type"] == _UNDONE]

    def step(self, id: str) -> Step:
        """Raises KeyError with the steps that there are."""
        steps = {step["stepId"]: step for step in self.resource["steps"]}
        if id not in steps:
            raise KeyError(f"{self.id} has no step {id}; it has {', '.join(steps)}")
        step = steps[id]
        return Step(
            id=id,
            status=step["status"],
            attempts=step["attempt"],
            input=step["inputData"],
            output=step["output"],
            error=None if step["error"] is None else _error(step["error"]),
        )

    def __repr__(self) -> str:
        """With its state and its failures, since a failed assertion shows it."""
        resource = self.resource
        lines = [f"<Run {self.id} {resource['status']}"]
        lines += [
            f"{step['stepId']} {step['status']}, {error['errorCode']}: {error['message']}"
            for step in resource["steps"]
            if (error := step["error"]) is not None
        ]
        lines += [f"incident {each['code']}: {each['detail']}" for each in resource["incidents"]]
        return "; ".join(lines) + ">"


def _error(document: Mapping[str, Any]) -> Error:
    return Error(
        step_id=document["stepId"],
        code=document["errorCode"],
        message=document["message"],
        type=document["errorType"],
        attempt=document["attempt"],
    )


class Control(Protocol):
    """Sends a command to the workflow, and goes on to the next standstill."""

    async def __call__(self, command: str, workflow_id: str, data: Mapping[str, Any]) -> None: ...


class Run(RunView):
    """A workflow under test, and the commands to it; each returns at the next standstill.

    A command that is not possible raises `Refused`.
    """

    def __init__(self, id: str, look: Look, control: Control) -> None:
        super().__init__(id, look)
        self._control = control

    async def signal(self, name: str, payload: Mapping[str, Any] | None = None) -> None:
        """Send a signal; steps can read its payload under `signals`."""
        await self._control(types.SIGNAL, self.id, {"name": name, "payload": dict(payload or {})})

    async def pause(self) -> None:
        """Begin no further steps until it is resumed."""
        await self._control(types.PAUSE, self.id, {})

    async def resume(self) -> None:
        """Continue after a pause."""
        await self._control(types.RESUME, self.id, {})

    async def cancel(self, *, compensate: bool | None = None) -> None:
        """Cancel; `compensate` says whether completed steps are undone, None leaves that to the definition."""
        await self._control(types.CANCEL, self.id, {"compensate": compensate})

    async def retry(self) -> None:
        """Try a failed workflow again, from the step that failed."""
        await self._control(types.RETRY, self.id, {})

    async def compensate(self) -> None:
        """Undo what a completed or failed workflow has done."""
        await self._control(types.COMPENSATE, self.id, {})
