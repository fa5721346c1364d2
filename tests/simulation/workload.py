"""What clients and operators send: starts, commands at random moments, copies of both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from random import Random
from typing import Any

import orjson
from conveyor import topics, types
from conveyor.messages import Message, Record
from conveyor.times import rfc3339
from conveyor.values import replace

from adapters.memory.broker import MemoryBroker
from domain.aggregate.ids import derived_id
from tests.simulation.chances import Chances, Kind, Plan
from tests.simulation.clock import virtual_now
from tests.simulation.faults import Network
from tests.simulation.watch import OPERATOR

_COMMANDS = (
    types.PAUSE,
    types.PAUSE,
    types.RESUME,
    types.CANCEL,
    types.COMPENSATE,
    types.FORCE_COMPENSATE,
    types.RETRY,
    types.SIGNAL,
    types.EXECUTE_STEP,
    types.EXECUTE_STEP,
)
_REPAIRS = (types.RETRY_STEP_NOW, types.SKIP_STEP, types.SKIP_STEP, types.PATCH, types.PATCH)
#: Of how many seeds operators repair workflows.
_REPAIRING = 0.3
#: The same for resets.
_RESETTING = 0.15
_STEPS = ("reserve", "charge", "assign", "pick", "pack", "weigh", "ship", "nowhere")
#: Definition and version that a start names.
_DEFINITIONS = (
    ("chain", None),
    ("chain", None),
    ("chain", 2),
    ("chain", 2),
    ("chain", 2),
    ("chain-v1", None),
    ("diamond", None),
    ("diamond", 1),
    ("held", None),
    ("pivoted", None),
    ("pivot-held", None),
    ("pivot-held", None),
)
#: What engines read.
INBOXES = (topics.COMMANDS, topics.REPLIES)
#: The name of the signal at which the engine has a bug.
POISON = "poison"
_COPIES = 0.25


#: Starts that are no use, each in its own way.
_GARBAGE = (
    b"?",
    b'{"definition":"chain","input":{"order":1e999,"n":NaN},"idempotencyKey":"k"}',
    b'{"definition":"chain","input":{"order":123456789012345678901234567890}}',
    b'{"definition":"chain","dueAt":"0001-01-01T00:00:00+14:00"}',
    b'{"definition":"chain","input":' + b"[" * 300 + b"]" * 300 + b"}",
)
#: Reading this record raises what no reader expects.
RAISES = b"raises"
#: Those that nobody can read.
UNREADABLE = frozenset((b"?", RAISES))
#: Those that can be read and not be stored: they are refused, as a command is.
UNSTORABLE = frozenset(_GARBAGE) - UNREADABLE


def garbage(value: bytes) -> Message:
    """A start with this payload."""
    return Message(
        topic=topics.COMMANDS,
        key="garbage",
        type=types.START,
        source="/clients",
        id=f"garbage-{len(value)}",
        data=value,
        headers={"hops": b"x"},
    )


#: Of how many seeds some records raise when they are read, and how many such records there are at most.
_RAISING = 0.3
_RAISING_MAX = 8
#: Workflows whose undos repeat much of what was done.
_HEAVY_MAX = 3


class Clients:
    """Everybody who writes commands. A client whose broker did not answer sends its message once more."""

    def __init__(
        self,
        broker: MemoryBroker,
        network: Network,
        chances: Chances,
        plan: Plan,
        *,
        many: bool,
        heavy: bool,
    ) -> None:
        self._broker = broker
        self._network = network
        self._chances = chances
        self._plan = plan
        self._dice = chances.stream("clients")
        #: Many commands to each workflow, all with their time, where engines keep few command ids.
        self.many = many
        #: Workflows with undos that may be too large to be sent, where engines know how much that is.
        self._heavy = heavy
        #: Every message that the topic accepted, by CloudEvent id.
        self.sent: dict[str, Message] = {}
        self._number = 0

    # -- the plan of a run -----------------------------------------------------------------------

    def schedule(self, workflows: int, seconds: float, deployed_at: float) -> None:
        """Lay out everything that will be sent in this time; the second versions are deployed at that moment."""
        dice = self._dice
        ids: dict[str, str] = {}
        for number in range(workflows):
            reference, version = dice.choice(_DEFINITIONS)
            begins = [dice.uniform(0.0, seconds / 2)]
            if version == 2:
                begins = self._when_deployed(deployed_at)
            begin = begins[0]
            name = f"wf-{number}"
            workflow_id = self._schedule_starts(name, begins, reference, version)
            ids[name] = workflow_id
            for _ in range(dice.choice((8, 16, 24)) if self.many else dice.choice((0, 1, 2, 4))):
                # Some come before their workflow, and are refused.
                moment = max(0.0, begin + dice.uniform(-0.5, seconds / 2))
                command = (
                    types.SIGNAL if self.many and dice.random() < 0.7 else dice.choice(_COMMANDS)
                )
                self._at(moment, self._command(workflow_id, command), name)
        for number in range(dice.randrange(3)):
            for _ in range(dice.randrange(1, 4)):
                ghost = f"ghost-{number}"
                self._at(dice.uniform(0.0, seconds), self._command(ghost, types.PAUSE), ghost)
        for value in _GARBAGE:
            if self._chances.strikes(Kind.GARBAGE, 0.3):
                self._network.later(
                    dice.uniform(0.0, seconds), partial(self._broker.append, garbage(value))
                )
        self._schedule_raising(seconds)
        self._schedule_repairs(seconds, ids)
        self._schedule_resets(seconds, ids)
        if self._heavy:
            self._schedule_heavy(seconds)

    def _schedule_raising(self, seconds: float) -> None:
        dice = self._chances.stream("raising")
        if dice.random() >= _RAISING:
            return
        for number in range(_RAISING_MAX):
            moment, topic = dice.uniform(0.0, seconds), dice.choice(INBOXES)
            if self._chances.strikes(Kind.RECORD_RAISES, 0.5):
                record = Record(topic=topic, key=b"raises-%d" % number, value=RAISES)
                self._network.later(moment, partial(self._broker.append, record))

    def _schedule_repairs(self, seconds: float, ids: Mapping[str, str]) -> None:
        """Of any step, at any moment; `ids` are those of the workflows, by name."""
        dice = self._chances.stream("repairs")
        if dice.random() >= _REPAIRING:
            return
        for name, workflow_id in ids.items():
            for _ in range(dice.choice((0, 2, 6))):
                moment = dice.uniform(0.0, seconds)
                self._at(moment, self._repair(workflow_id, dice), name)

    def _schedule_resets(self, seconds: float, ids: Mapping[str, str]) -> None:
        """A workflow is paused, and soon sent back to some step, which may not have begun."""
        dice = self._chances.stream("resets")
        if dice.random() >= _RESETTING:
            return
        for name, workflow_id in ids.items():
            for _ in range(dice.choice((0, 1, 3))):
                moment = dice.uniform(0.0, seconds)
                data = {"toStep": dice.choice(_STEPS), "reason": "at random"}
                self._at(moment, self._command(workflow_id, types.PAUSE), name)
                reset = self._message(workflow_id, types.RESET, data)
                self._at(moment + dice.uniform(0.0, 1.0), reset, name)

    def _repair(self, workflow_id: str, dice: Random) -> Message:
        data: dict[str, Any] = {"reason": "at random"}
        if dice.random() < 0.1:
            data |= {"stepId": dice.choice(_STEPS), "output": {"did": "by hand"}}
            return self._message(workflow_id, types.COMPLETE_STEP, data, OPERATOR)
        command = dice.choice(_REPAIRS)
        if command == types.PATCH:
            field = dice.choice(("note", "note", "order", "heavy"))
            data["input"] = {field: dice.choice((None, "one", "two"))}
        else:
            data["stepId"] = dice.choice(_STEPS)
        return self._message(workflow_id, command, data)

    def _schedule_heavy(self, seconds: float) -> None:
        dice = self._chances.stream("heavy")
        for number in range(dice.randint(1, _HEAVY_MAX)):
            name = f"heavy-{number}"
            self._at(dice.uniform(0.0, seconds / 2), self._start(name, "heavy"), name)

    def start(self, workflow_id: str, definition: str) -> None:
        """Begin one more workflow, now."""
        self.send(self._start(workflow_id, definition))

    def _start(self, workflow_id: str, definition: str) -> Message:
        data = {"definition": definition, "input": {"order": workflow_id, "heavy": True}}
        return self._message(workflow_id, types.START, data)

    def _when_deployed(self, deployed_at: float) -> list[float]:
        """Who names a new version waits for it, now and then not long enough, and asks again."""
        dice = self._dice
        times = dice.choice((1, 2, 4))
        return sorted(max(0.0, deployed_at + dice.uniform(-0.8, 0.4)) for _ in range(times))

    def _schedule_starts(
        self, name: str, begins: Sequence[float], reference: str, version: int | None
    ) -> str:
        dice = self._dice
        begin = begins[0]
        data: dict[str, Any] = {
            "definition": reference,
            "input": {"order": name, "heavy": dice.random() < 0.5},
        }
        if version is not None:
            data["version"] = version
        has_key = dice.random() < 0.6
        if has_key:
            data["idempotencyKey"] = f"order-{name}"
        # Who names no workflow gets one whose id follows from the key.
        is_named = not has_key or dice.random() < 0.6
        definition = reference.removesuffix("-v1")
        workflow_id = name if is_named else derived_id("default", definition, f"order-{name}")
        subject = name if is_named else None
        for moment in begins:
            self._at(moment, self._message(subject, types.START, data), name)
        if dice.random() < 0.3:
            self._at(
                begin + dice.uniform(0.0, 3.0), self._message(subject, types.START, data), name
            )
        if has_key and self._chances.strikes(Kind.KEY_REUSED, 0.3):
            other = {**data, "input": {**data["input"], "order": "another"}}
            if not is_named and dice.random() < 0.5:
                # The same key for another definition is another workflow.
                other["definition"] = "held" if definition != "held" else "diamond"
                other.pop("version", None)
            moment = begin + dice.uniform(0.0, 3.0)
            self._at(moment, self._message(subject, types.START, other), name)
        if definition in ("held", "pivot-held"):
            for _ in range(dice.choice((2, 4, 8))):
                self._at(
                    begin + dice.uniform(1.0, 9.0), self._command(workflow_id, types.RETRY), name
                )
        return workflow_id

    def _command(self, workflow_id: str, command: str) -> Message:
        dice = self._dice
        data: dict[str, Any] = {"reason": "at random"}
        actor = None
        if command == types.SIGNAL:
            data = self._signal()
        elif command == types.CANCEL and dice.random() < 0.5:
            data["compensate"] = dice.random() < 0.5
        elif command == types.EXECUTE_STEP:
            data = {"stepId": dice.choice(_STEPS)}
            if dice.random() < 0.2:
                actor = OPERATOR
                data["result"] = dice.choice(
                    (
                        {"output": {"did": "by hand"}},
                        {"error": {"code": "GIVEN_UP", "message": "by hand"}},
                    )
                )
        return self._message(workflow_id, command, data, actor)

    def _signal(self) -> dict[str, Any]:
        if self._chances.strikes(Kind.POISON, 0.1):
            return {"name": POISON}
        if self._chances.strikes(Kind.TOO_LARGE, 0.1):
            return {"name": "hello", "payload": {"text": "x" * 6_700}}
        return {"name": "hello", "payload": {"text": "x" * self._dice.choice((1, 1, 3_000))}}

    def _message(
        self, workflow_id: str | None, command: str, data: dict[str, Any], actor: str | None = None
    ) -> Message:
        self._number += 1
        return Message(
            topic=topics.COMMANDS,
            key=workflow_id,
            type=command,
            source="/clients",
            id=f"m{self._number}",
            subject=workflow_id,
            data=orjson.dumps(data),
            extensions={"actor": actor} if actor else {},
        )

    def _at(self, moment: float, message: Message, name: str) -> None:
        dice = self._dice
        moments = [moment]
        while self._chances.strikes(Kind.SENT_AGAIN, _COPIES):
            moments.append(moment + dice.choice((0.0, dice.uniform(0.0, 6.0))))
        is_dated = self.many or dice.random() < 0.5
        if not self._plan.has(name):
            return
        for each in moments:
            self._network.later(each, partial(self.send, message, is_dated=is_dated))

    # -- sending ---------------------------------------------------------------------------------

    def send(self, message: Message, *, is_dated: bool = False) -> None:
        """Append it; now and then to a partition that is not its workflow's, or with another payload."""
        known = self.sent.get(message.id)
        if known is None:
            known = replace(message, time=rfc3339(virtual_now())) if is_dated else message
            self.sent[message.id] = known
        elif message.type != types.START and self._chances.strikes(Kind.SENT_ALTERED, 0.2):
            known = replace(known, data=orjson.dumps({"reason": "altered"}))
        if self._chances.strikes(Kind.WRONG_PARTITION, 0.05):
            known = replace(known, partition=self._dice.randrange(self._broker.partitions))
        self._network.trace.note("client", f"{known.id} {known.type} {known.subject}")
        self._broker.append(known)

    def ask(self, workflow_id: str, command: str) -> None:
        """An operator's command, now."""
        self.send(self._command(workflow_id, command))
