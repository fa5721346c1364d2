"""What clients and operators send: starts, commands at random moments, copies of both."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import orjson
from conveyor import topics, types
from conveyor.cloudevents import encode
from conveyor.messages import Message, Record

from adapters.memory.broker import MemoryBroker
from application.codec.times import rfc3339
from tests.simulation.clock import virtual_now
from tests.simulation.faults import Network

_COMMANDS = (
    types.PAUSE,
    types.RESUME,
    types.CANCEL,
    types.COMPENSATE,
    types.RETRY,
    types.SIGNAL,
)
_DEFINITIONS = ("chain", "chain", "diamond", "diamond", "held", "pivoted")


#: Starts that cannot be read or written on, each in its own way.
_GARBAGE = (
    b"?",
    b'{"definition":"chain","input":{"order":1e999,"n":NaN},"idempotencyKey":"k"}',
    b'{"definition":"chain","input":{"order":123456789012345678901234567890}}',
    b'{"definition":"chain","dueAt":"0001-01-01T00:00:00+14:00"}',
    b'{"definition":"chain","input":' + b"[" * 300 + b"]" * 300 + b"}",
)


def garbage(value: bytes) -> Record:
    """A start with this payload."""
    message = Message(
        topic=topics.COMMANDS,
        key="garbage",
        type=types.START,
        source="/clients",
        id=f"garbage-{len(value)}",
        data=value,
        headers={"hops": b"x"},
    )
    return encode(message)


class Clients:
    """Everybody who writes commands. A client whose broker did not answer sends its message once more."""

    def __init__(self, broker: MemoryBroker, network: Network) -> None:
        self._broker = broker
        self._network = network
        #: Every message that the topic accepted, by CloudEvent id.
        self.sent: dict[str, Message] = {}
        self._number = 0

    def schedule(self, workflows: int, seconds: float) -> None:
        """Lay out everything that will be sent in this time."""
        rng = self._network.rng
        for number in range(workflows):
            begin = rng.uniform(0.0, seconds / 2)
            workflow_id = f"wf-{number}"
            self._schedule_starts(workflow_id, begin)
            for _ in range(rng.choice((0, 0, 1, 2, 4))):
                # Some come before their workflow, and are refused.
                moment = max(0.0, begin + rng.uniform(-0.5, seconds / 2))
                self._at(moment, self._command(workflow_id, rng.choice(_COMMANDS)))
        for number in range(rng.randrange(3)):
            for _ in range(rng.randrange(1, 4)):
                self._at(rng.uniform(0.0, seconds), self._command(f"ghost-{number}", types.PAUSE))
        for value in rng.sample(_GARBAGE, k=rng.randrange(len(_GARBAGE) + 1)):
            self._network.later(
                rng.uniform(0.0, seconds), partial(self._broker.append, garbage(value))
            )

    def _schedule_starts(self, workflow_id: str, begin: float) -> None:
        rng = self._network.rng
        data: dict[str, Any] = {
            "definition": rng.choice(_DEFINITIONS),
            "input": {"order": workflow_id, "heavy": rng.random() < 0.5},
        }
        has_key = rng.random() < 0.5
        if has_key:
            data["idempotencyKey"] = f"order-{workflow_id}"
        self._at(begin, self._message(workflow_id, types.START, data))
        if rng.random() < 0.3:
            again = self._message(workflow_id, types.START, data)
            self._at(begin + rng.uniform(0.0, 3.0), again)

    def _command(self, workflow_id: str, command: str) -> Message:
        data: dict[str, Any] = {"reason": "at random"}
        if command == types.SIGNAL:
            data = {"name": "hello"}
        return self._message(workflow_id, command, data)

    def _message(self, workflow_id: str, command: str, data: dict[str, Any]) -> Message:
        self._number += 1
        return Message(
            topic=topics.COMMANDS,
            key=workflow_id,
            type=command,
            source="/clients",
            id=f"m{self._number}",
            subject=workflow_id,
            data=orjson.dumps(data),
        )

    def _at(self, moment: float, message: Message) -> None:
        rng = self._network.rng
        moments = [moment]
        while rng.random() < 0.25:
            moments.append(moment + rng.choice((0.0, rng.uniform(0.0, 6.0))))
        is_dated = rng.random() < 0.5
        for each in moments:
            self._network.later(each, partial(self.send, message, is_dated=is_dated))

    def send(self, message: Message, *, is_dated: bool = False) -> None:
        """Append it; now and then to a partition that is not its workflow's."""
        known = self.sent.get(message.id)
        if known is None:
            known = replace(message, time=rfc3339(virtual_now())) if is_dated else message
            self.sent[message.id] = known
        if self._network.rng.random() < 0.05:
            known = replace(known, partition=self._network.rng.randrange(self._broker.partitions))
        self._network.trace.note("client", f"{known.id} {known.type} {known.subject}")
        self._broker.append(known)

    def ask(self, workflow_id: str, command: str) -> None:
        """An operator's command, now."""
        self.send(self._command(workflow_id, command))
