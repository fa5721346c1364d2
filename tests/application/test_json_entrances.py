"""One table of JSON texts with the same verdict at every entrance."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import orjson
import pytest
from conveyor import exchange, topics, types
from conveyor.cloudevents import decode as decode_record
from conveyor.json_text import NESTING_MAX, NotJson, UnstorableJson, read_json
from conveyor.messages import MalformedEvent, Message, Record
from conveyor.payloads import InvalidPayload, parse_exchanged
from conveyor.requests import REQUEST_NESTING_MAX
from typer.testing import CliRunner

from adapters.rest.definition_body import UnreadableDocument, read_document
from application.aggregates.catalog import CATALOG
from application.codec.starts import StartIntent
from application.definitions import InvalidDefinition, compile_definition
from domain.aggregate.rejection import Rejection, RejectionCode
from domain.workflow.commands import HandleSealAnswer, HandleStepReply, SignalWorkflow
from infrastructure.cli import app as cli
from infrastructure.cli.failures import Exit
from tests.adapters.rest.service import WORKFLOWS, serving
from tests.documents import document as definition_document
from tests.documents import step
from tests.messages import message_of

Verdict = Literal["taken", "unstorable", "not json"]

JSON_TYPE = {"content-type": "application/json"}
BOM = b"\xef\xbb\xbf"

#: A value within a document, and what becomes of the document.
VALUES: dict[bytes, Verdict] = {
    b"0": "taken",
    b"-0": "taken",
    b"-0.0": "taken",
    b"1.0": "taken",
    b"1e2": "taken",
    b"1E+2": "taken",
    b"1e-400": "taken",
    b"1e308": "taken",
    b"0.1234567890123456789012345": "taken",
    b"9223372036854775807": "taken",
    b"-9223372036854775808": "taken",
    b"9223372036854775808": "unstorable",
    b"-9223372036854775809": "unstorable",
    b"18446744073709551615": "unstorable",
    b"18446744073709551616": "unstorable",
    b"100000000000000000000000000000": "unstorable",
    b"1" * 5000: "unstorable",
    b"1e309": "unstorable",
    b"1e400": "unstorable",
    b"-1E+400": "unstorable",
    b"1e00400": "unstorable",
    b"1.7976931348623159e308": "unstorable",
    b"9" * 310 + b".5": "unstorable",
    b"NaN": "unstorable",
    b"Infinity": "unstorable",
    b"-Infinity": "unstorable",
    b'"\\ud800"': "unstorable",
    b'"\\uDFFF\\uD800"': "unstorable",
    b'{"\\ud800":1}': "unstorable",
    b'"\\ud83d\\ude00"': "taken",
    b'"\\u0000"': "taken",
    b'{"\\u0000":1}': "taken",
    b'"NaN, Infinity, 1e400 and 100000000000000000000000000000"': "taken",
    b'{"a":1,"a":2}': "taken",
    b'{"":1}': "taken",
    b'{"$ref":"x","$id":1}': "taken",
    b"[" * 60 + b"]" * 60: "taken",
    b"[" * NESTING_MAX + b"]" * NESTING_MAX: "unstorable",
    b"[" * 300 + b"]" * 300: "unstorable",
    b"[" * 50_000 + b"]" * 50_000: "unstorable",
    b"01": "not json",
    b"1.": "not json",
    b".5": "not json",
    b"+1": "not json",
    b"nan": "not json",
    b"'a'": "not json",
    b'"\x01"': "not json",
    b'"\\x41"': "not json",
    b'"\xff"': "not json",
    b'"\xed\xa0\x80"': "not json",
    b"1,": "not json",
    b"[1": "not json",
    b"": "not json",
    b"1 /* one */": "not json",
}

Entrance = Callable[[bytes], Verdict]


def read(text: bytes) -> Verdict:
    """The reader itself."""
    try:
        read_json(b'{"v":' + text + b"}")
    except UnstorableJson:
        return "unstorable"
    except NotJson:
        return "not json"
    return "taken"


def _decoded(message: Message, taken: type[Any]) -> Verdict:
    try:
        intent = CATALOG.decode(message).intent
    except MalformedEvent as fault:
        if fault.code != "NOT_JSON":
            raise
        return "not json"
    if isinstance(intent, taken):
        return "taken"
    assert isinstance(intent, Rejection)
    assert intent.code is RejectionCode.INVALID_INPUT
    return "unstorable"


def start(text: bytes) -> Verdict:
    """A start on the topic, binary mode."""
    data = b'{"definition":"order","idempotencyKey":"k","input":{"v":' + text + b"}}"
    return _decoded(message_of(types.START, data), StartIntent)


def signal(text: bytes) -> Verdict:
    data = b'{"name":"n","payload":{"v":' + text + b"}}"
    return _decoded(message_of(types.SIGNAL, data), SignalWorkflow)


def structured(text: bytes) -> Verdict:
    """A signal on the topic, structured mode."""
    value = (
        b'{"specversion":"1.0","id":"1","source":"/test","type":"%b","subject":"wf-1",'
        b'"data":{"name":"n","payload":{"v":%b}}}' % (types.SIGNAL.encode(), text)
    )
    headers = (("content-type", b"application/cloudevents+json"),)
    try:
        message = decode_record(
            Record(topic=topics.COMMANDS, key=b"wf-1", value=value, headers=headers)
        )
    except MalformedEvent as fault:
        if fault.code != "MALFORMED_EVENT":
            raise
        return "not json"
    return _decoded(message, SignalWorkflow)


def request(text: bytes) -> Verdict:
    """A request to a participant."""
    data = (
        b'{"workflowId":"wf-1","stepId":"a","service":"s","operation":"o","input":{"v":%b}}' % text
    )
    try:
        parse_exchanged(exchange.StepRequest, data, REQUEST_NESTING_MAX)
    except MalformedEvent:
        return "not json"
    except InvalidPayload:
        return "unstorable"
    return "taken"


def definition(text: bytes) -> Verdict:
    head, tail = DEFINITION.split(b'"here"')
    try:
        compile_definition(read_document(head + text + tail, "application/json"))
    except UnreadableDocument as fault:
        if fault.code != "NOT_JSON":
            raise
        return "not json"
    except InvalidDefinition as invalid:
        if not all(fault.path.startswith("steps[0].metadata.v") for fault in invalid.faults):
            raise
        return "unstorable"
    return "taken"


DEFINITION = orjson.dumps(definition_document(step("a", metadata={"v": "here"})))


@pytest.mark.parametrize(("text", "verdict"), VALUES.items(), ids=lambda value: str(value)[:30])
@pytest.mark.parametrize("entrance", [read, start, signal, structured, request, definition])
def test_values(entrance: Entrance, text: bytes, verdict: Verdict) -> None:
    """Refused as a text, refused with a path, or taken: everywhere the same."""
    if entrance is request and text.count(b"[") == NESTING_MAX:
        # A definition's mapping puts accepted values deeper into each other.
        verdict = "taken"
    if entrance is definition and text == b"[" * 60 + b"]" * 60:
        return  # the document stands around it
    assert entrance(text) == verdict


async def test_values_over_rest(tmp_path: Path) -> None:
    """The same verdicts by status and code; nothing that is refused was changed silently before."""
    found: dict[bytes, Verdict] = {}
    verdicts: dict[tuple[int, str], Verdict] = {
        (422, "UNKNOWN_DEFINITION"): "taken",
        (422, "INVALID_INPUT"): "unstorable",
        (400, "NOT_JSON"): "not json",
    }
    async with serving(tmp_path / "json.db", with_engine=False, with_warehouse=False) as service:
        for text in VALUES:
            body = b'{"definition":"nobody-has-this","input":{"v":' + text + b"}}"
            response = await service.client.post(WORKFLOWS, content=body, headers=JSON_TYPE)
            problem = response.json()
            found[text] = verdicts[response.status_code, problem["code"]]
            if found[text] == "unstorable":
                assert problem["errors"][0]["path"].startswith("input.v")

    assert found == VALUES


@pytest.mark.parametrize("option", ["--input", "--file"])
def test_values_on_the_command_line(option: str, tmp_path: Path) -> None:
    """What is refused is refused here, in a sentence; anything else is sent (here: to nobody)."""
    file = tmp_path / "input.json"
    for text, verdict in VALUES.items():
        file.write_bytes(b'{"v":' + text + b"}")
        given = str(file) if option == "--file" else f"@{file}"
        result = CliRunner().invoke(
            cli, ["workflow", "start", "order", option, given, "--url", "http://127.0.0.1:9"]
        )
        refused = Exit.REFUSED if option == "--file" else Exit.USAGE
        assert result.exit_code == (Exit.NO_CONNECTION if verdict == "taken" else refused), text
        assert result.exception is None or isinstance(result.exception, SystemExit)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"a":1}'.encode("utf-16"), "UTF-16"),
        ('{"a":1}'.encode("utf-16-le"), "UTF-16"),
        ('{"a":1}'.encode("utf-32"), "UTF-16"),
        (gzip.compress(b"{}"), "gzip"),
        ('{"a":"\u00e4"}'.encode("latin-1"), "byte 0xe4 at position 6"),
        (b"{'a':1}", "not JSON"),
        (b"", "not JSON"),
    ],
)
def test_what_is_not_json_is_told_why(text: bytes, said: str) -> None:
    """In one sentence that says what to do."""
    with pytest.raises(NotJson, match=said):
        read_json(text)


def test_a_byte_order_mark_is_skipped() -> None:
    """Editors on Windows write one; the payload is the same with it."""
    start = b'{"definition":"order","idempotencyKey":"k"}'
    intent = CATALOG.decode(message_of(types.START, start)).intent

    assert read_json(BOM + b'{"a":1}') == {"a": 1}
    assert read_document(BOM + DEFINITION) == read_document(DEFINITION)
    assert CATALOG.decode(message_of(types.START, BOM + start)).intent == intent


YAML_VALUES: dict[str, bool] = {
    "9223372036854775807": True,
    "9223372036854775808": False,
    ".inf": False,
    "-.inf": False,
    ".nan": False,
    "1.0e+400": False,
    "2026-11-21": False,
    "2026-11-21T02:30:00Z": False,
    "!!binary aGVsbG8=": False,
    "!!set {a, b}": False,
    "{1: a}": False,
    "{true: a}": False,
    "1e400": True,  # in YAML 1.1 a text
    "text": True,
    "0x10": True,
}


@pytest.mark.parametrize(("text", "is_taken"), YAML_VALUES.items())
def test_values_in_yaml(text: str, is_taken: bool) -> None:
    """YAML knows more than JSON; what JSON cannot hold is refused with its path."""
    text = DEFINITION.decode().replace('"here"', text)
    paths: list[str] = []
    try:
        compile_definition(read_document(text.encode(), "application/yaml"))
    except InvalidDefinition as invalid:
        paths = [fault.path for fault in invalid.faults]
    assert paths == ([] if is_taken else ["steps[0].metadata.v"])


# -- answers of participants -----------------------------------------------------------------------


def reply(output: bytes, more: bytes = b"") -> HandleStepReply:
    data = b'{"workflowId":"wf-1","stepId":"a","attempt":1,%b"output":%b}' % (more, output)
    command = CATALOG.decode(message_of(types.STEP_COMPLETED, data)).intent
    assert isinstance(command, HandleStepReply)
    return command


@pytest.mark.parametrize(("text", "verdict"), VALUES.items(), ids=lambda value: str(value)[:30])
def test_an_output_that_cannot_be_stored_is_an_answer(text: bytes, verdict: Verdict) -> None:
    """The step was performed: it fails with a code and is not performed again for its output."""
    output = b'{"v":' + text + b"}"
    if verdict == "not json" and b"\xff" not in text and b"\xed" not in text:
        with pytest.raises(MalformedEvent, match="not JSON"):
            reply(output)
        return
    command = reply(output)
    if verdict == "taken":
        assert command.error is None
    else:
        assert command.error is not None
        assert command.error.error_code == "INVALID_OUTPUT"
        assert command.error.message.startswith("output.v")
        assert command.performed
        assert command.output is None


@pytest.mark.parametrize("output", [b'"sent"', b"[1]", b"1", b"true", b"1e400"])
def test_an_output_is_an_object(output: bytes) -> None:
    """Anything else is an answer as well, whose output nobody can use."""
    command = reply(output)
    assert command.error is not None
    assert command.error.error_code == "INVALID_OUTPUT"


def test_a_sealed_answer_counts_without_its_output() -> None:
    """`performed` is what the seal asked for."""
    data = b'{"workflowId":"wf-1","stepId":"a","performed":true,"output":{"n":1e400},"attempt":1}'
    answer = CATALOG.decode(message_of(types.STEP_SEALED, data)).intent
    assert isinstance(answer, HandleSealAnswer)
    assert (answer.performed, answer.output) == (True, None)
    assert answer.error is not None
    assert answer.error.error_code == "INVALID_OUTPUT"


@pytest.mark.parametrize(
    "duration", [b"100000000000000000000", b"1e400", b"-1", b'"12"', b"null", b"true", b"NaN"]
)
def test_a_duration_is_never_a_reason_to_refuse(duration: bytes) -> None:
    """`executionTimeMs` is for information: what is not one is left out."""
    command = reply(b"{}", b'"executionTimeMs":' + duration + b",")
    assert (command.error, command.execution_time_ms) == (None, 0)
    assert reply(b"{}", b'"executionTimeMs":12.7,').execution_time_ms == 12


def test_a_failure_keeps_what_can_be_read_of_its_message() -> None:
    data = (
        b'{"workflowId":"wf-1","stepId":"a","attempt":1,"extra":1e400,'
        b'"error":{"code":"X","message":"b\\ud800d \xff"}}'
    )
    command = CATALOG.decode(message_of(types.STEP_FAILED, data)).intent
    assert isinstance(command, HandleStepReply)
    assert command.error is not None
    assert command.error.message == "b\ufffdd \ufffd"


def test_identity_is_not_guessed() -> None:
    """An answer is dead-lettered if its step, attempt or round cannot be told."""
    for member in (
        b'"attempt":100000000000000000000',
        b'"attempt":0',
        b'"attempt":1,"round":1e400',
    ):
        data = b'{"workflowId":"wf-1","stepId":"a",%b,"output":{}}' % member
        with pytest.raises(MalformedEvent) as fault:
            CATALOG.decode(message_of(types.STEP_COMPLETED, data))
        assert fault.value.code == "INVALID_DATA"
