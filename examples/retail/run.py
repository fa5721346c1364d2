"""The orders of one real morning through `order-fulfillment`, and the one cancellation among them.

    .venv/bin/python examples/retail/run.py --mode embedded
    .venv/bin/python examples/retail/run.py --mode kafka --url http://127.0.0.1:8080

The result is one line of JSON on stdout; progress goes to stderr. Exit codes: 0 if
every order completed and the cancelled one was undone, 1 if not, 2 for wrong settings, 3 if no
service answers.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
from contextlib import ExitStack
from pathlib import Path

from conveyor import Client
from conveyor.client import AsyncClient
from conveyor.errors import (
    OutcomeUnknownError,
    RequestRefusedError,
    ServerUnavailableError,
    WorkflowFailedError,
)
from conveyor.resources import WorkflowResource
from embedded import NotStartedError, embedded_service
from orders import Invoice, cancelled_order, read_invoices

from infrastructure.settings import SettingsError, load_settings

DEFINITION = "order-fulfillment"
ORDERS = Path(__file__).with_name("retail-orders.jsonl")
DEFAULT_URL = "http://127.0.0.1:8080"
_DEADLINE_SECONDS = 120.0


def main() -> int:
    arguments = _arguments()
    # So that an embedded service is stopped as after Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with ExitStack() as running:
            url = arguments.url
            if url is None and arguments.mode == "embedded":
                url = running.enter_context(embedded_service())
            return asyncio.run(
                _run(arguments.mode, url or os.environ.get("CONVEYOR_URL", DEFAULT_URL))
            )
    except ServerUnavailableError as fault:
        tell(f"no connection: {fault}; is `conveyor serve` running at --url?")
    except NotStartedError as fault:
        tell(str(fault))
    except OutcomeUnknownError as fault:
        tell(f"{fault}; is an engine running on this Kafka?")
    except SettingsError as fault:
        tell(str(fault))
        return 2
    except KeyboardInterrupt:
        return 130
    return 3


async def _run(mode: str, url: str) -> int:
    async with _client(mode, url) as client:
        try:
            async with asyncio.timeout(_DEADLINE_SECONDS):
                return await Morning(client).replay(read_invoices(ORDERS))
        except RequestRefusedError as fault:
            tell(f"refused: {fault}")
        except TimeoutError:
            tell(f"not done after {_DEADLINE_SECONDS:g} s; is `conveyor warehouse` running?")
        return 1


def _client(mode: str, url: str) -> Client:
    """Two ways to give commands, HTTP and Kafka. Both read over HTTP."""
    if mode == "embedded":
        return Client(url)
    kafka = load_settings().kafka
    return Client.over_kafka(
        kafka.bootstrap_servers,
        source="/examples/retail",
        topic_prefix=kafka.topic_prefix,
        properties=kafka.client_properties(),
        url=url,
    )


class Morning:
    """Plays the invoices in file order, without the pauses between them."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def replay(self, invoices: list[Invoice]) -> int:
        """0 if every workflow ended as it should."""
        started: list[str] = []
        undone: list[str] = []
        unmatched: list[str] = []
        for place, invoice in enumerate(invoices):
            if not invoice.is_cancellation:
                await self._client.start(
                    DEFINITION,
                    invoice.document,
                    workflow_id=invoice.id,
                    # Played again, the file starts nothing twice.
                    idempotency_key=invoice.id,
                )
                started.append(invoice.id)
                continue
            order = cancelled_order(invoice, invoices[:place])
            if order is None:
                tell(
                    f"{invoice.id}: no earlier order of customer {invoice.customer} has these items"
                )
                unmatched.append(invoice.id)
            else:
                await self._undo(order.id, f"cancelled by {invoice.id}")
                undone.append(order.id)
        wrong = await self._wrong_ends(started, undone)
        counts = {"started": len(started), "undone": len(undone), "unmatched": len(unmatched)}
        print(json.dumps(counts), flush=True)
        return 1 if wrong else 0

    async def _undo(self, order_id: str, reason: str) -> None:
        """Cancel the order if it is under way, compensate it if it is complete."""
        order = self._client.workflow(order_id)
        while True:
            workflow = await self._begun(order_id)
            if workflow.status == "COMPLETED":
                command, send = "compensate", order.compensate
            elif workflow.is_active and workflow.status != "COMPENSATING":
                command, send = "cancel", order.cancel
            else:
                tell(f"{order_id}: {reason}, is {workflow.status} already")
                return
            try:
                await send(reason)
            except RequestRefusedError as refusal:
                if refusal.code != "ILLEGAL_STATUS":
                    raise
                # It went on between the question and the command.
                continue
            tell(f"{order_id}: {reason}, was {workflow.status}: {command}")
            return

    async def _begun(self, order_id: str) -> WorkflowResource:
        """The workflow once a step of it is done: minutes lay between an order and its cancellation."""
        order = self._client.workflow(order_id)
        async for event in order.events():
            if event.event_type == "WorkflowStepExecutedEvent":
                break
        return await order.get()

    async def _wrong_ends(self, started: list[str], undone: list[str]) -> int:
        """How many workflows did not end as they should; each is printed."""
        wrong = 0
        for order_id in started:
            expected = "COMPENSATED" if order_id in undone else "COMPLETED"
            status = await self._end(order_id)
            if status != expected:
                tell(f"{order_id}: ended {status}, not {expected}")
                wrong += 1
        tell(f"{len(started) - wrong} of {len(started)} orders ended as they should")
        return wrong

    async def _end(self, order_id: str) -> str:
        try:
            await self._client.workflow(order_id).result()
        except WorkflowFailedError as failure:
            return failure.status
        return "COMPLETED"


def tell(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="The orders of one real morning.")
    parser.add_argument(
        "--mode",
        choices=["embedded", "kafka"],
        default="embedded",
        help="commands over REST, or as messages on the Kafka of the settings",
    )
    parser.add_argument(
        "--url",
        help="where Conveyor serves its API; embedded starts a service of its own without it",
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
