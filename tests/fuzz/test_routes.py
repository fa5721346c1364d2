"""Every route with odd values in its path, query, headers and body: never an error of the service."""

from __future__ import annotations

import json
from collections.abc import Generator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.rest.glossary import BODIES, GLOSSARY
from adapters.rest.routes import ROUTES, Route
from tests.fuzz.rest import Ask, check_answer, rest_service

PARAMETERS = (
    *("wait", "status", "active", "type", "definition", "correlationId", "userId", "wallet"),
    *("label", "startedAfter", "startedBefore", "sort", "limit", "cursor", "after", "kind"),
)
NUMBERS = (
    "-1",
    "0",
    "1",
    "1.0",
    "1e400",
    "NaN",
    str(2**31),
    str(2**63),
    str(10**20),
    "1" * 5000,
    "²",
)
TIMES = (
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-14:00",
    "0000-01-01T00:00:00Z",
    "2026-02-30T00:00:00Z",
    "2026-11-21T23:59:60Z",
    "2026-11-21",
    "1700000000",
    "2026-11-21T02:30:00.12345678901234567890Z",
)
REFERENCES = (
    "order-fulfillment",
    "order-fulfillment-v1",
    "order-fulfillment-v²",
    "order-fulfillment-v99999999999999999999",
    "order-fulfillment-v0",
    "-v1",
)
TEXTS = (
    "",
    " ",
    "\0",
    "a\nb",
    "\u00e4",
    "\U0001f600",
    "wf-1",
    "x" * 300,
    "../..",
    "%00",
    "$where",
    "a:b",
    ":",
)

odd_text = st.sampled_from((*NUMBERS, *TIMES, *REFERENCES, *TEXTS)) | st.text(max_size=20)
odd_json = st.sampled_from(
    (b"1e400", b"NaN", b"-0", b"1.0", b"100000000000000000000000000000", b'"\\ud800"', b"[" * 5000)
)
odd_value = (
    odd_text.map(orjson.dumps)
    | odd_json
    | st.integers(-(2**63), 2**64 - 1).map(orjson.dumps)
    | st.sampled_from((None, True, [], {}, [{}], {"$ref": 1}, {"": ""})).map(orjson.dumps)
)
FIELDS = sorted({name.rpartition(".")[2] for name in GLOSSARY})


@st.composite
def requests(draw: st.DrawFn) -> tuple[Route, str, Any, bytes, Any]:
    route = draw(st.sampled_from(ROUTES))
    path = route.path
    for name in ("id", "name", "version"):
        path = path.replace(f"{{{name}}}", quote(draw(odd_text), safe=""))
    query = draw(st.lists(st.tuples(st.sampled_from(PARAMETERS), odd_text), max_size=2))
    body = b""
    if route.body is not None:
        members = {name: orjson.dumps(value) for name, value in BODIES[_body_of(route)].items()}
        members |= draw(st.dictionaries(st.sampled_from(FIELDS), odd_value, max_size=3))
        body = b"{%b}" % b",".join(
            orjson.dumps(name) + b":" + text for name, text in members.items()
        )
    headers = draw(
        st.dictionaries(
            st.sampled_from(("Idempotency-Key", "X-Correlation-ID", "traceparent", "Accept")),
            odd_text.map(_header_text),
            max_size=2,
        )
    )
    return route, path, query, body, headers


def _body_of(route: Route) -> str:
    assert route.body is not None
    return route.body.__name__


def _header_text(text: str) -> bytes:
    return text.replace("\r", "").replace("\n", "").replace("\0", "").strip().encode()


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Generator[Ask]:
    folder: Path = tmp_path_factory.mktemp("routes")
    with rest_service(folder) as ask:
        yield ask


@given(asked=requests())
def test_no_request_is_an_error_of_the_service(ask: Ask, asked: Any) -> None:
    """Every integer, time and reference has bounds, wherever it stands."""
    route, path, query, body, headers = asked
    if body:
        headers = {**headers, "content-type": b"application/json"}
    response = ask(
        lambda client: client.request(
            route.method,
            path,
            params=query,
            content=body,
            headers=headers,
        )
    )
    check_answer(response)


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/api/v1/workflows", {"version": 99999999999999999999}, 422),
        ("POST", "/api/v1/workflows", {"definition": "order-fulfillment-v²"}, 422),
        ("POST", "/api/v1/workflows", {"dueAt": "0001-01-01T00:00:00+14:00"}, 422),
        ("GET", "/api/v1/definitions/order-fulfillment/9223372036854775808", None, 422),
        ("GET", "/api/v1/definitions/order-fulfillment/2", None, 404),
        ("GET", "/api/v1/workflows?startedAfter=0001-01-01T00:00:00%2B14:00", None, 422),
        ("GET", "/api/v1/workflows/wf-1/history?after=99999999999999999999", None, 422),
    ],
)
def test_out_of_bounds(ask: Ask, method: str, path: str, body: Any, status: int) -> None:
    """What answered 500 once."""
    content = None if body is None else _json({**BODIES["StartWorkflowRequest"], **body})
    headers = {"content-type": "application/json"} if content is not None else {}
    response = ask(lambda client: client.request(method, path, content=content, headers=headers))

    check_answer(response)
    assert response.status_code == status


def _json(document: Any) -> bytes:
    return json.dumps(document).encode()
