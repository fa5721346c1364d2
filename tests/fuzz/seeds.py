"""Inputs that are right, to begin from: histories, commands and definitions that other tests are about."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime

import yaml
from conveyor import topics, types
from conveyor.cloudevents import encode
from conveyor.messages import Message, Record

from application.codec.internal import signed_with
from application.definitions import shipped_definitions
from application.outputs import outputs
from tests.adapters.rest.service import start_of
from tests.contracts.histories import commits_of, shifted
from tests.domain.goldens import SAGAS
from tests.fuzz.rest import ROUTES
from tests.fuzz.targets import MEDIA_TYPES

EXPRESSIONS = (
    "input.orderId",
    "input.lines[*].{sku: sku, quantity: quantity}",
    "input.lines[?quantity > `1`].sku | [0]",
    "steps.\"reserve\".output.id || 'none'",
    'not_null(input.missing, steps.reserve.output.tags[0], `{"a": [1, 2.5, null]}`)',
    "sort_by(input.lines, &sku)[::-1][]",
    "join(', ', map(&to_string(@), input.lines))",
    "{n: to_number('12'), t: type(@), k: keys(input), v: length(values(steps))}",
    "input.n == `1.5` && !(input.orderId) && contains(input.orderId, 'O')",
    "merge(input, steps.*.output | [0])",
    "max_by(input.lines, &quantity).sku",
)
_COMMANDS: Mapping[str, object] = {
    types.START: start_of(),
    types.CANCEL: {"reason": "changed", "compensate": True},
    types.SIGNAL: {"name": "truck", "payload": {"dock": 4}},
    types.EXECUTE_STEP: {"stepId": "pick-items", "result": {"output": {"bin": 7}}},
    types.SKIP_STEP: {"stepId": "pick-items", "reason": "not needed"},
    types.PATCH: {"reason": "typing error", "input": {"dock": 4, "note": None}},
    types.STEP_COMPLETED: {"workflowId": "wf-1", "stepId": "pick", "attempt": 1, "output": {}},
    types.STEP_FAILED: {
        "workflowId": "wf-1",
        "stepId": "pick",
        "attempt": 2,
        "error": {"code": "NO_STOCK", "message": "none left", "type": "UNKNOWN", "retryable": True},
    },
    types.STEP_SEALED: {"workflowId": "wf-1", "stepId": "pick", "performed": False},
}
_QUERIES = (
    b"status=COMPLETED&status=FAILED&active=true&limit=5&sort=startedAt",
    b"label=carrier:DHL&startedAfter=2026-11-21T02:30:00Z&cursor=WzEsMl0",
    b"after=3&limit=10&kind=SAGA_COMPENSATION&type=orchestration.workflow.started",
)


def cloudevents() -> Iterator[bytes]:
    """Records in both modes: commands, replies, and what engines publish."""
    began = datetime(2026, 11, 21, tzinfo=UTC)
    published = [
        message
        for history in SAGAS.values()
        for commit in commits_of("wf-1", shifted(history(), began))
        for message in outputs(commit, signed_with(b""))
    ]
    for message in (*map(_command, _COMMANDS, _COMMANDS.values()), *published[::7]):
        yield _as_input(encode(message))
        yield _as_input(_structured(message))


def _command(type: str, data: object) -> Message:
    return Message(
        topic=topics.COMMANDS,
        key="wf-1",
        type=type,
        source="/orders",
        id="cmd-1",
        subject="wf-1",
        time="2026-11-21T02:30:00.123Z",
        data=json.dumps(data).encode(),
        extensions={"idempotencykey": "wf-1/pick/1", "attempt": "1"},
    )


def _structured(message: Message) -> Record:
    event = {
        "specversion": "1.0",
        "id": message.id,
        "source": message.source,
        "type": message.type,
        "subject": message.subject,
        "time": message.time,
        "datacontenttype": "application/json",
        **message.extensions,
        "data": json.loads(message.data),
    }
    headers = (("content-type", b"application/cloudevents+json"),)
    value = json.dumps(event).encode()
    return Record(topic=message.topic, key=b"wf-1", value=value, headers=headers)


def _as_input(record: Record) -> bytes:
    lines = [b"@key: " + (record.key or b"")]
    lines += [name.encode() + b": " + value for name, value in record.headers]
    return b"\n".join(lines) + b"\n\n" + (record.value or b"")


def definitions() -> Iterator[bytes]:
    """Every shipped definition in every form."""
    for document in shipped_definitions():
        texts = (json.dumps(document), json.dumps(document), yaml.safe_dump(document))
        for place in range(len(MEDIA_TYPES)):
            yield bytes((place,)) + texts[place].encode()


def mappings() -> Iterator[bytes]:
    """Expressions on the target's own document and on one of theirs."""
    for source in EXPRESSIONS:
        yield source.encode()
    yield b"input.a[*].b[]\0" + json.dumps({"input": {"a": [{"b": [1]}, {"b": 2}]}}).encode()


def requests() -> Iterator[bytes]:
    """A right body for every route."""
    document = shipped_definitions()[0]
    start = {**start_of(), "labels": {"a": "b"}, "priority": "HIGH", "timeoutSeconds": 5}
    bodies: Sequence[bytes] = (
        json.dumps({**start, "id": "wf-1"}).encode(),
        json.dumps({**document, "name": "fuzzed"}).encode(),
        yaml.safe_dump({**document, "name": "fuzzed"}).encode(),
        json.dumps({**document, "name": "fuzzed", "version": 2}).encode(),
        b'{"reason": "changed", "compensate": false}',
        b'{"reason": "wrong"}',
    )
    for place, body in enumerate(bodies):
        yield bytes((place,)) + body
    for place, query in ((6, _QUERIES[0]), (6, _QUERIES[1]), (7, _QUERIES[2])):
        assert ROUTES[place][0] == "GET"
        yield bytes((place,)) + query
