"""The client for asyncio: starts workflows, awaits and controls them, and reads what became of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel

from conveyor import types
from conveyor.connection import BEGINNING, Connection, command
from conveyor.resources import Event, WorkflowPage, WorkflowResource
from conveyor.times import rfc3339
from conveyor.wire import (
    CancelData,
    CompleteStepData,
    ExecuteStepData,
    PatchData,
    Priority,
    ReasonData,
    ResetData,
    SignalData,
    StartData,
    StepOutcome,
    StepRepairData,
)


class AsyncWorkflow:
    """One workflow, by its id. Whether it exists is known with the first call.

    Every command takes an `idempotency_key`: sent again with the same key, it is carried out only once. Without one, it
    has a key of its own, so that the client's own repetitions do nothing twice. Every command may raise
    `RequestRefusedError`, `OutcomeUnknownError` (repeat it with the error's key), `ServerUnavailableError` and, over
    Kafka, `RecordRefusedError`. Every read may raise `RequestRefusedError` (`WORKFLOW_NOT_FOUND`),
    `ServerUnavailableError` and, for a client over Kafka without `url`, `UnsupportedError`.
    """

    def __init__(self, connection: Connection, id: str) -> None:
        self._connection = connection
        self.id = id

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.id!r})"

    async def result(self, timeout: float | None = None) -> dict[str, Any]:  # noqa: ASYNC109 - as everywhere else
        """Wait for the end of the workflow, and return its output.

        Raises `WorkflowFailedError` if it did not complete, and `TimeoutError` after `timeout` seconds. None waits for
        as long as it takes, also while the service is away.
        """
        try:
            async with asyncio.timeout(timeout):
                return await self._connection.result(self.id)
        except TimeoutError:
            raise TimeoutError(f"{self.id} has not ended within {timeout} s") from None

    # -- reads -----------------------------------------------------------------------------------

    async def get(self) -> WorkflowResource:
        """The workflow as it is now, with its data and steps."""
        return await self._connection.reads.get(self.id)

    async def history(self, *, after_version: int = 0) -> Sequence[Event]:
        """The events above a version, in order."""
        return await self._connection.reads.history(self.id, after_version)

    def events(self, *, after_version: int = 0) -> AsyncGenerator[Event, None]:
        """The events above a version, as they come. It ends when the workflow has ended."""
        return self._connection.reads.events(self.id, after_version)

    # -- commands --------------------------------------------------------------------------------

    async def signal(
        self,
        name: str,
        payload: Mapping[str, Any] | None = None,
        *,
        idempotency_key: str | None = None,
    ) -> None:
        """Send a named signal with a payload; a step may wait for it."""
        data = SignalData(name=name, payload=dict(payload or {}))
        await self._send(types.SIGNAL, data, idempotency_key)

    async def pause(self, reason: str | None = None, *, idempotency_key: str | None = None) -> None:
        """Begin no further step until `resume`."""
        await self._send(types.PAUSE, ReasonData(reason=reason), idempotency_key)

    async def resume(
        self, reason: str | None = None, *, idempotency_key: str | None = None
    ) -> None:
        """Continue a paused workflow."""
        await self._send(types.RESUME, ReasonData(reason=reason), idempotency_key)

    async def cancel(
        self,
        reason: str | None = None,
        *,
        compensate: bool | None = None,
        idempotency_key: str | None = None,
    ) -> None:
        """Cancel a workflow that has not ended.

        `compensate` says whether completed steps are undone; None leaves that to the definition.
        """
        data = CancelData(reason=reason, compensate=compensate)
        await self._send(types.CANCEL, data, idempotency_key)

    async def compensate(
        self, reason: str | None = None, *, idempotency_key: str | None = None
    ) -> None:
        """Undo the completed steps of a completed or failed workflow."""
        await self._send(types.COMPENSATE, ReasonData(reason=reason), idempotency_key)

    async def force_compensate(
        self, reason: str | None = None, *, idempotency_key: str | None = None
    ) -> None:
        """Undo what can be undone, and declare the rest undone. For administrators."""
        await self._send(types.FORCE_COMPENSATE, ReasonData(reason=reason), idempotency_key)

    async def retry(self, reason: str | None = None, *, idempotency_key: str | None = None) -> None:
        """Run a failed workflow again from the step that failed."""
        await self._send(types.RETRY, ReasonData(reason=reason), idempotency_key)

    async def execute_step(
        self,
        step_id: str,
        *,
        input: Mapping[str, Any] | None = None,
        result: StepOutcome | None = None,
        idempotency_key: str | None = None,
    ) -> None:
        """Dispatch a pending step now, with this input if given; or record its result in place of the participant."""
        given = None if input is None else dict(input)
        data = ExecuteStepData(step_id=step_id, input=given, result=result)
        await self._send(types.EXECUTE_STEP, data, idempotency_key)

    async def retry_step_now(
        self, step_id: str, reason: str, *, idempotency_key: str | None = None
    ) -> None:
        """Try a step now that waits for its retry, or its undo, or the question about its outcome."""
        data = StepRepairData(step_id=step_id, reason=reason)
        await self._send(types.RETRY_STEP_NOW, data, idempotency_key)

    async def skip_step(
        self, step_id: str, reason: str, *, idempotency_key: str | None = None
    ) -> None:
        """Leave out a step that was not performed."""
        data = StepRepairData(step_id=step_id, reason=reason)
        await self._send(types.SKIP_STEP, data, idempotency_key)

    async def complete_step(
        self,
        step_id: str,
        reason: str,
        output: Mapping[str, Any] | None = None,
        *,
        idempotency_key: str | None = None,
    ) -> None:
        """Record a step that was performed by hand."""
        data = CompleteStepData(step_id=step_id, reason=reason, output=dict(output or {}))
        await self._send(types.COMPLETE_STEP, data, idempotency_key)

    async def patch(
        self,
        reason: str,
        *,
        input: Mapping[str, Any] | None = None,
        context: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
    ) -> None:
        """Change fields of the input or of the metadata (`context`), for what is not done yet. None removes a field."""
        data = PatchData(reason=reason, input=dict(input or {}), context=dict(context or {}))
        await self._send(types.PATCH, data, idempotency_key)

    async def reset(self, to_step: str, reason: str, *, idempotency_key: str | None = None) -> None:
        """Undo this step and everything that depends on it, then go on from there in a new round."""
        data = ResetData(to_step=to_step, reason=reason)
        await self._send(types.RESET, data, idempotency_key)

    async def _send(self, type: str, data: BaseModel, idempotency_key: str | None) -> None:
        await self._connection.send(command(type, self.id, data, idempotency_key))


class AsyncClient:
    """An open client; `async with Client(...)` gives it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def start(
        self,
        definition: str,
        input: Mapping[str, Any] | None = None,
        *,
        version: int | None = None,
        workflow_id: str | None = None,
        idempotency_key: str | None = None,
        correlation_id: str | None = None,
        priority: Priority | None = None,
        labels: Mapping[str, str] | None = None,
        metadata: Mapping[str, Any] | None = None,
        tenant: str | None = None,
        triggered_by: str | None = None,
        user_id: str | None = None,
        wallet: str | None = None,
        timeout_seconds: int | None = None,
        max_retries: int | None = None,
        lock_key: str | None = None,
        lock_policy: Literal["wait", "reject"] | None = None,
        lock_wait_seconds: int | None = None,
        release_queue: str | None = None,
        due_at: datetime | None = None,
    ) -> AsyncWorkflow:
        """Start a workflow, and return when Conveyor has started it.

        Without `version` the highest active version of the definition runs. Without `workflow_id` the service chooses
        one. A start with the same `idempotency_key` and the same arguments starts nothing and returns the first
        workflow again; with other arguments it is refused (`IDEMPOTENCY_CONFLICT`). None leaves the choice to the
        definition. `timeout_seconds` is the workflow's; 0 means no time-out.

        Raises `RequestRefusedError` with every fault of the start, `OutcomeUnknownError` (start it again with the
        error's key), `ServerUnavailableError` and, over Kafka, `RecordRefusedError`. Data that JSON does not have, such
        as NaN, raises `UnstorableJson` before anything is sent; other arguments that cannot be meant raise ValueError.
        """
        given = {
            "definition": definition,
            "version": version,
            "input": dict(input or {}),
            "priority": priority,
            "correlation_id": correlation_id,
            "labels": None if labels is None else dict(labels),
            "metadata": None if metadata is None else dict(metadata),
            "tenant": tenant,
            "triggered_by": triggered_by,
            "user_id": user_id,
            "wallet": wallet,
            "timeout_seconds": timeout_seconds,
            "max_retries": max_retries,
            "lock_key": lock_key,
            "lock_policy": lock_policy,
            "lock_wait_seconds": lock_wait_seconds,
            "release_queue": release_queue,
            "due_at": None if due_at is None else _time(due_at),
        }
        data = StartData.model_validate({k: v for k, v in given.items() if v is not None})
        started = await self._connection.send(
            command(types.START, workflow_id, data, idempotency_key)
        )
        return AsyncWorkflow(self._connection, started)

    def workflow(self, workflow_id: str) -> AsyncWorkflow:
        """A workflow that was started before, here or elsewhere."""
        return AsyncWorkflow(self._connection, workflow_id)

    async def list(
        self,
        *,
        status: Sequence[str] = (),
        active: bool | None = None,
        type: str | None = None,
        definition: str | None = None,
        correlation_id: str | None = None,
        user_id: str | None = None,
        wallet: str | None = None,
        labels: Mapping[str, str] | None = None,
        incident: str | None = None,
        started_after: datetime | None = None,
        started_before: datetime | None = None,
        oldest_first: bool = False,
        limit: int = 50,
        cursor: str | None = None,
    ) -> WorkflowPage:
        """One page of the workflows that all filters hold for; it may be a second behind (`as_of`).

        `status` is any of these, `incident` a code or `any`. `limit` is 1 to 200. `cursor` is the `next_cursor` of the
        page before.
        """
        filters = {
            "status": [*status],
            "active": active,
            "type": type,
            "definition": definition,
            "correlationId": correlation_id,
            "userId": user_id,
            "wallet": wallet,
            "label": [f"{name}:{value}" for name, value in (labels or {}).items()],
            "incident": incident,
            "startedAfter": None if started_after is None else _time(started_after),
            "startedBefore": None if started_before is None else _time(started_before),
            "sort": "startedAt" if oldest_first else "-startedAt",
            "limit": limit,
            "cursor": cursor,
        }
        given = {name: value for name, value in filters.items() if value is not None}
        return await self._connection.reads.list(given)

    def subscribe(
        self, *, group: str | None = None, after: str | None = None
    ) -> AsyncGenerator[Event, None]:
        """The events of all workflows, as they come, at least once and each workflow's in order. Over Kafka only.

        With `group`, Kafka remembers how far this group of consumers has read, and its members share the workflows. An
        event is done when the next one is asked for. A new group begins with the oldest event that is kept.

        With `after`, your own program remembers it: give the `position` of the last event that you have dealt with.
        Without either, it begins with the oldest event that is kept (`conveyor.client.BEGINNING`).

        Raises `UnsupportedError` over HTTP, ValueError for both arguments and, while it is read,
        `PositionLostError` if events after the position are deleted, and `ServerUnavailableError`.
        """
        if group is not None and after is not None:
            raise ValueError("give group or after: a group remembers its own position")
        return self._connection.subscribe(group, BEGINNING if after is None else after)


def _time(time: datetime) -> str:
    if time.tzinfo is None:
        raise ValueError(f"{time} has no time zone; give one, as in datetime.now(UTC)")
    return rfc3339(time)
