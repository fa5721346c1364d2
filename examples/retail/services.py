"""Two ways to give Conveyor commands, REST and Kafka, and one to look at workflows."""

from __future__ import annotations

from typing import Any, Protocol

import httpx
from conveyor.client import Accepted, ConveyorClient, Outcome
from conveyor.wire import StartData

DEFINITION = "order-fulfillment"
WORKFLOWS = "/api/v1/workflows"


class RefusedError(Exception):
    """Conveyor understood a command and refused it."""


class Commands(Protocol):
    """What this example asks of Conveyor."""

    async def start(self, order_id: str, order: dict[str, Any]) -> None:
        """Start the order's workflow; repeating it does no harm. Raises RefusedError."""
        ...

    async def cancel(self, order_id: str, reason: str) -> bool:
        """False: refused, because the workflow is not (or no longer) active."""
        ...

    async def compensate(self, order_id: str, reason: str) -> bool:
        """False: refused, because the workflow has not completed."""
        ...


class RestCommands:
    """Commands as requests, answered with what became of them."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def start(self, order_id: str, order: dict[str, Any]) -> None:
        answer = await self._http.post(
            WORKFLOWS,
            json={"id": order_id, "definition": DEFINITION, "input": order},
            headers={"Idempotency-Key": order_id},
        )
        if not answer.is_success:
            raise RefusedError(answer.text)

    async def cancel(self, order_id: str, reason: str) -> bool:
        return await self._control(order_id, "cancel", reason)

    async def compensate(self, order_id: str, reason: str) -> bool:
        return await self._control(order_id, "compensate", reason)

    async def _control(self, order_id: str, command: str, reason: str) -> bool:
        answer = await self._http.put(f"{WORKFLOWS}/{order_id}/{command}", json={"reason": reason})
        if answer.status_code == httpx.codes.CONFLICT:
            return False
        answer.raise_for_status()
        return True


class KafkaCommands:
    """Commands as messages, with the SDK's client; their outcomes come as events."""

    def __init__(self, client: ConveyorClient) -> None:
        self._client = client

    async def start(self, order_id: str, order: dict[str, Any]) -> None:
        # A command id of its own for each order: sent again, it is the same command.
        outcome = await self._client.start(
            StartData(definition=DEFINITION, input=order),
            workflow_id=order_id,
            command_id=f"start-{order_id}",
        )
        if not _is_accepted(outcome):
            raise RefusedError(str(outcome))

    async def cancel(self, order_id: str, reason: str) -> bool:
        return _is_accepted(await self._client.cancel(order_id, reason))

    async def compensate(self, order_id: str, reason: str) -> bool:
        return _is_accepted(await self._client.compensate(order_id, reason))


def _is_accepted(outcome: Outcome) -> bool:
    return isinstance(outcome, Accepted)


async def workflow(http: httpx.AsyncClient, order_id: str) -> dict[str, Any]:
    """The workflow of an order, as new as any answer about it."""
    answer = await http.get(f"{WORKFLOWS}/{order_id}")
    document: dict[str, Any] = answer.raise_for_status().json()
    return document
