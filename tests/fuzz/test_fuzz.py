"""A bounded dose of fuzzing in every run of the tests; `make fuzz` goes on for as long as one likes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import httpx
import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from adapters.rest.problems import MEDIA_TYPE
from application.definitions import shipped_definitions
from tests.adapters.rest.service import start_of
from tests.fuzz import seeds, targets
from tests.fuzz.__main__ import FOLDER, again
from tests.fuzz.rest import check_answer, rest_target
from tests.fuzz.targets import Target, check_target, cloudevent, definition, mapping

#: Pieces that parsers stumble over.
MORSELS = (
    b"",
    b"\0",
    b"\n\n",
    b'"',
    b"\\ud800",
    b"\xff\xfe",
    b"1e999",
    b"NaN",
    b"-0",
    b"99999999999999999999999",
    b"9" * 5000,
    b"[" * 300,
    b"[@, @][] | " * 30,
    b"&a *a <<: ",
    b"2026-02-30T25:61:61Z",
    b"0001-01-01T00:00:00+23:59",
    "é\u2028\U0001f680".encode(),
)
TOKENS = (
    *("input", "lines", "a", "@", "*", "[", "]", "[]", "[?", "{", "}", "(", ")", ".", ",", ":"),
    *("|", "||", "&&", "!", "&", "==", "<", "`1`", "`[1, {}]`", "'x'", '"y"', "0", "-1", " "),
    *("length(", "to_string(", "join(", "map(", "sort_by(", "to_number(", "merge(", "contains("),
)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(("input.a", "[@, @][]", "", "order-v1", "2026-11-21T02:30:00Z", "a" * 300))
)
json_values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)


def mutated(inputs: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """A right input with some pieces cut out, put in or doubled; now and then nothing but noise."""
    edits = st.lists(
        st.tuples(
            st.floats(0, 1),
            st.integers(0, 12),
            st.sampled_from(MORSELS) | st.binary(max_size=6) | st.sampled_from(inputs),
        ),
        max_size=4,
    )
    return st.binary(max_size=200) | st.builds(edited, st.sampled_from(inputs), edits)


def edited(data: bytes, edits: Sequence[tuple[float, int, bytes]]) -> bytes:
    for where, length, piece in edits:
        place = int(where * len(data))
        data = data[:place] + piece + data[place + length :]
    return data


@st.composite
def with_any_field_anything(draw: st.DrawFn, document: Any) -> Any:
    """The document with one value, wherever it stands, replaced or dropped."""
    if isinstance(document, dict) and document and draw(st.integers(0, 3)):
        name = draw(st.sampled_from(sorted(document)))
        inner = draw(with_any_field_anything(document[name]))
        return {**document, name: inner}
    if isinstance(document, list) and document and draw(st.integers(0, 3)):
        place = draw(st.integers(0, len(document) - 1))
        inner = draw(with_any_field_anything(document[place]))
        return [*document[:place], inner, *document[place + 1 :]]
    return draw(json_values)


@given(mutated([*seeds.cloudevents()]))
def test_cloudevents(data: bytes) -> None:
    """A record is a message that is written as it is read, or MalformedEvent."""
    check_target(cloudevent, data)


@given(mutated([*seeds.definitions()]))
def test_definitions(data: bytes) -> None:
    """A text is a definition, or UnreadableDocument, or InvalidDefinition with its faults."""
    check_target(definition, data)


@given(with_any_field_anything(shipped_definitions()[0]))
def test_definitions_with_any_field_anything(document: Any) -> None:
    """The same of documents that are right but for one field."""
    check_target(definition, b"\1" + orjson.dumps(document))


@given(mutated([*seeds.mappings()]))
@example(b"[@, @][]" + b" | [@, @][]" * 60)
@example(b"[" + b"9" * 5000 + b"]")
@example(b"to_number('inf')")
@example(b"&a")
def test_mappings(data: bytes) -> None:
    """An expression gives JSON, or InvalidExpression, or ExpressionError, and that soon."""
    check_target(mapping, data)


@given(st.lists(st.sampled_from(TOKENS), max_size=24))
def test_mappings_of_tokens(tokens: list[str]) -> None:
    """The same of texts that are nearly expressions."""
    check_target(mapping, "".join(tokens).encode())


@pytest.fixture(scope="module")
def rest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    with rest_target(tmp_path_factory.mktemp("fuzz")) as target:
        yield target


@given(data=mutated([*seeds.requests()]))
def test_requests(rest: Target, data: bytes) -> None:
    """A request is answered; what is refused has a problem document; nothing is an error of the service."""
    check_target(rest, data)


@given(body=with_any_field_anything(start_of()))
def test_starts_with_any_field_anything(rest: Target, body: Any) -> None:
    """The same of starts that are right but for one field."""
    check_target(rest, b"\0" + orjson.dumps(body))


@given(body=with_any_field_anything({**shipped_definitions()[0], "name": "fuzzed"}))
def test_registrations_with_any_field_anything(rest: Target, body: Any) -> None:
    """The same of definitions."""
    check_target(rest, b"\1" + orjson.dumps(body))


@pytest.mark.parametrize("name", ["cloudevents", "definitions", "mappings"])
def test_seeds_are_right(name: str) -> None:
    """Fuzzing begins from inputs that are read to their end."""
    target = {"cloudevents": cloudevent, "definitions": definition, "mappings": mapping}[name]
    inputs: list[bytes] = [*getattr(seeds, name)()]

    for data in inputs:
        check_target(target, data)

    assert inputs


def test_requests_of_the_seeds_are_accepted(rest: Target) -> None:
    """Requests are mutated from those that the service takes."""
    for data in seeds.requests():
        check_target(rest, data)


def test_an_error_that_is_not_documented_is_seen() -> None:
    """Whatever a target lets through fails the run."""

    def broken(data: bytes) -> None:
        raise KeyError(data)

    with pytest.raises(KeyError):
        check_target(broken, b"")


def test_slowness_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """An input that takes longer than it may fails the run."""
    monkeypatch.setattr(targets, "CPU_SECONDS_MAX", 0.0)

    with pytest.raises(AssertionError, match=" s"):
        check_target(mapping, b"input.lines[]")


def test_what_fails_is_told_with_the_line_that_repeats_it() -> None:
    """The line names the file that libFuzzer has written, as it stands in its log."""
    file = FOLDER / "mapping-crash-0a4d55a8d778e5022fab701977c5d840bbc486d0"
    log = f"==1== ERROR: libFuzzer: fuzz target exited\nTest unit written to {file}\nBase64: Zm9v\n"

    line = again("mapping", log)

    replayed = f"--target mapping --replay {file.relative_to(FOLDER.parents[1])}"
    assert line.endswith(f" -m tests.fuzz {replayed}")
    assert "no input was kept" in again("mapping", "ModuleNotFoundError: No module named 'atheris'")


def test_fuzzing_has_new_inputs_each_time() -> None:
    """The profile of `make fuzz` is not the one of CI, which tries the same ones."""
    assert settings.get_profile("ci").derandomize
    assert not settings.get_profile("fresh").derandomize
    assert settings.get_profile("fresh").max_examples > settings.get_profile("ci").max_examples


@pytest.mark.parametrize(
    "response",
    [
        httpx.Response(500, json={}),
        httpx.Response(404, text="nothing here"),
        httpx.Response(404, json={"status": 404, "code": ""}, headers={"content-type": MEDIA_TYPE}),
    ],
    ids=["error", "no problem document", "no code"],
)
def test_wrong_answers_are_seen(response: httpx.Response) -> None:
    """An error of the service fails the run, and so does a refusal that tells nothing."""
    with pytest.raises(AssertionError):
        check_answer(response)
