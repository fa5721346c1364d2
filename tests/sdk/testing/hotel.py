"""A user's saga: a trip with a room and a flight side by side, a condition, a pivot, and a verified undo."""

from __future__ import annotations

import asyncio
from typing import Any

from conveyor.errors import TerminalError
from conveyor.handlers import StepContext
from conveyor.participant import Participant

DEFINITION = """
name: hotel-booking
version: 1
type: BOOKING
inputSchema:
  type: object
  required: [guest, nights]
  properties:
    guest: {type: string}
    nights: {type: integer, minimum: 1}
output: {room: steps.room.output.room, payment: steps.charge.output.payment}
steps:
  - id: room
    service: hotel
    operation: reserve
    dependsOn: []
    input: {guest: input.guest, nights: input.nights}
    compensation:
      operation: release
      input: {room: steps.room.output.room}
      verify: {operation: is-free, input: {room: steps.room.output.room}}
  - id: flight
    service: airline
    operation: book
    dependsOn: []
    when: input.flight
    input: {guest: input.guest}
    compensation: {operation: cancel}
  - id: charge
    service: payment
    operation: charge
    dependsOn: [room, flight]
    kind: pivot
    input: {guest: input.guest, amount: input.nights}
  - id: confirm
    service: hotel
    operation: confirm
    kind: retriable
    input: {room: steps.room.output.room}
"""


class Town:
    """What the participants have done: the user's own world."""

    def __init__(self) -> None:
        #: Idempotency key -> room.
        self.rooms: dict[str, int] = {}
        self.flights: set[str] = set()
        #: Key -> payment.
        self.payments: dict[str, str] = {}
        self.confirmed: list[int] = []
        self.hotel = self._hotel()
        self.airline = self._airline()
        self.payment = self._payment()

    def forget(self) -> None:
        self.rooms.clear()
        self.flights.clear()
        self.payments.clear()
        self.confirmed.clear()

    @property
    def participants(self) -> tuple[Participant, ...]:
        return self.hotel, self.airline, self.payment

    def _hotel(self) -> Participant:
        hotel = Participant("hotel")

        @hotel.step("hotel", "reserve")
        def reserve(request: dict[str, Any], context: StepContext) -> dict[str, Any]:
            if request["nights"] > 30:
                raise TerminalError("TOO_LONG", "a guest stays 30 nights at most")
            key = context.idempotency_key
            return {"room": self.rooms.setdefault(key, len(self.rooms) + 1)}

        @reserve.compensation("release")
        async def release(request: dict[str, Any], context: StepContext) -> None:
            await asyncio.sleep(0)
            self.rooms.pop(context.idempotency_key.removesuffix("/undo"), None)

        @hotel.step("hotel", "is-free")
        def is_free(request: dict[str, Any]) -> None:
            if request["room"] in self.rooms.values():
                raise TerminalError("TAKEN", "the room is not free")

        @hotel.step("hotel", "confirm")
        def confirm(request: dict[str, Any]) -> None:
            self.confirmed.append(request["room"])

        return hotel

    def _airline(self) -> Participant:
        airline = Participant("airline")

        @airline.step("airline", "book")
        async def book(request: dict[str, Any], context: StepContext) -> None:
            await asyncio.sleep(0)
            self.flights.add(context.idempotency_key)

        @book.compensation("cancel")
        async def cancel(context: StepContext) -> None:
            self.flights.discard(context.idempotency_key.removesuffix("/undo"))

        return airline

    def _payment(self) -> Participant:
        payment = Participant("payment")

        @payment.step("payment", "charge")
        async def charge(request: dict[str, Any], context: StepContext) -> dict[str, Any]:
            key = context.idempotency_key
            return {"payment": self.payments.setdefault(key, f"payment-{len(self.payments) + 1}")}

        return payment
