"""The routes under `/api/v1/definitions`."""

from __future__ import annotations

from dataclasses import replace

import pytest
import yaml

from adapters.rest.app import create_app
from application.definitions import shipped_definitions
from application.use_cases.definitions import RegisterDefinition
from tests.adapters.rest.service import DEFINITIONS, Json, Service, client_of

PARCEL: Json = {
    "name": "parcel",
    "version": 1,
    "type": "PARCEL",
    "steps": [
        {
            "id": "pack",
            "service": "packing-service",
            "operation": "pack",
            "compensation": {"service": "label-service", "operation": "unpack"},
        }
    ],
}
YAML = {"content-type": "application/yaml"}


async def test_register(undecided: Service) -> None:
    """A new definition is a 201 with its place, where it stands as it was registered."""
    response = await undecided.client.post(DEFINITIONS, json=PARCEL)

    assert response.status_code == 201
    assert response.headers["location"] == "/api/v1/definitions/parcel/1"
    assert (await undecided.client.get(response.headers["location"])).json() == PARCEL
    listed = (await undecided.client.get(DEFINITIONS)).json()["items"]
    assert PARCEL in listed
    assert shipped_definitions()[0] in listed


@pytest.mark.parametrize("headers", [YAML, {"content-type": "text/yaml; charset=utf-8"}, {}])
async def test_register_yaml(undecided: Service, headers: dict[str, str]) -> None:
    """YAML is as good as JSON, told by the media type or found out."""
    response = await undecided.client.post(
        DEFINITIONS, content=yaml.safe_dump(PARCEL), headers=headers
    )

    assert response.status_code == 201
    assert (await undecided.client.get(f"{DEFINITIONS}/parcel/1")).json() == PARCEL


async def test_registered_again(undecided: Service) -> None:
    """The same content is a 200, whatever the order of fields; other content is a conflict."""
    await undecided.client.post(DEFINITIONS, json=PARCEL)

    same = await undecided.client.post(DEFINITIONS, json=dict(reversed(PARCEL.items())))
    other = await undecided.client.post(DEFINITIONS, json={**PARCEL, "title": "Parcels"})

    assert same.status_code == 200
    assert other.status_code == 409
    assert other.json()["code"] == "DEFINITION_EXISTS"


async def test_request_topics(undecided: Service) -> None:
    """Every service of a definition has its request topic before the definition is known."""
    ensured: list[tuple[str, bool]] = []

    async def ensure(service: str) -> None:
        is_known = await undecided.api.definitions.get("parcel", 1) is not None
        ensured.append((service, is_known))

    register = RegisterDefinition(undecided.engine._backbone.registry, ensure)
    app = create_app(replace(undecided.api, register=register))
    async with client_of(app) as client:
        await client.post(DEFINITIONS, json=PARCEL)

    assert ensured == [("label-service", False), ("packing-service", False)]


async def test_every_fault(undecided: Service) -> None:
    """A definition that is not safe is refused with every reason, its place and rule."""
    faulty = {
        **PARCEL,
        "name": "Parcel!",
        "steps": [
            {"id": "a", "service": "s", "operation": "o"},
            {"id": "b", "service": "s", "operation": "o", "dependsOn": ["c"], "input": "steps["},
        ],
    }

    response = await undecided.client.post(DEFINITIONS, json=faulty)

    assert response.status_code == 422
    assert {fault["rule"] for fault in response.json()["errors"]} == {
        "NAME",
        "COMPENSATION_MISSING",
        "UNKNOWN_DEPENDENCY",
        "EXPRESSION",
    }
    assert {fault.get("step") for fault in response.json()["errors"]} == {None, "a", "b"}
    assert (await undecided.client.get(f"{DEFINITIONS}/Parcel!/1")).status_code == 404


@pytest.mark.parametrize(
    ("content", "headers", "status", "code"),
    [
        (b"{", {"content-type": "application/json"}, 400, "NOT_JSON"),
        (b"name: parcel", {"content-type": "application/json"}, 400, "NOT_JSON"),
        (b"a: [", YAML, 400, "NOT_YAML"),
        (b"a: b\n---\nc: d", YAML, 400, "NOT_YAML"),
        (b"!!python/object:os.system {}", YAML, 400, "NOT_YAML"),
        (b"\xff\xfe\xff", YAML, 400, "NOT_YAML"),
        (b"", YAML, 422, "INVALID_INPUT"),
        (b"", {}, 422, "INVALID_INPUT"),
        (b"[]", {}, 422, "INVALID_INPUT"),
        (b"just a text", {}, 422, "INVALID_INPUT"),
        (b"name: 2026-01-01", YAML, 422, "INVALID_INPUT"),
        (b"1: a", YAML, 422, "INVALID_INPUT"),
        (b"a: &a [*a]", YAML, 422, "TOO_LARGE"),
        (b"[" * 900 + b"]" * 900, YAML, 422, "TOO_LARGE"),
        (b"- " * 400_000 + b"a", YAML, 422, "TOO_LARGE"),
        (b"? " * 400_000 + b"a", YAML, 422, "TOO_LARGE"),
        (b"a: !!bool maybe", YAML, 400, "NOT_YAML"),
        (b"a: !!timestamp maybe", YAML, 400, "NOT_YAML"),
        (b"a: !!int ''", YAML, 400, "NOT_YAML"),
        (b"a: !!float ''", YAML, 400, "NOT_YAML"),
        (b"a: 1" + b":00" * 400 + b".0", YAML, 400, "NOT_YAML"),
        (b"a: 1" + b":11" * 300_000, YAML, 400, "NOT_YAML"),
    ],
)
async def test_unreadable(
    undecided: Service, content: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    """A body that is no document at all is refused for what it is."""
    response = await undecided.client.post(DEFINITIONS, content=content, headers=headers)

    assert (response.status_code, response.json()["code"]) == (status, code)


@pytest.mark.parametrize(
    ("first", "further"),
    [
        ("&a0 [x, x, x, x, x, x, x, x, x]", "&a{n} [{aliases}]"),
        ("&a0 {x: y}", "&a{n} {{x: [{aliases}]}}"),
        ("&a0 {x: y}", "&a{n} {{<<: [{aliases}], a{n}: 1}}"),
        ("&a0 x", "&a{n} {{? [{aliases}] : y}}"),
    ],
)
async def test_yaml_bomb(undecided: Service, first: str, further: str) -> None:
    """A few lines that stand for millions of values are refused before they are written out."""
    lines = [f"a0: {first}"]
    lines += [
        f"a{n}: {further.format(n=n, aliases=', '.join([f'*a{n - 1}'] * 9))}" for n in range(1, 12)
    ]

    response = await undecided.client.post(DEFINITIONS, content="\n".join(lines), headers=YAML)

    assert response.status_code == 422
    assert response.json()["code"] == "TOO_LARGE"


async def test_aliases_that_nest(undecided: Service) -> None:
    """A chain of aliases is as deep as what it stands for."""
    lines = ["a0: &a0 [x]", *(f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, 100))]

    response = await undecided.client.post(DEFINITIONS, content="\n".join(lines), headers=YAML)

    assert response.json()["code"] == "TOO_LARGE"
    assert "nested" in response.json()["detail"]


@pytest.mark.parametrize("source", [r'"\ud800"', r'steps."\ud800".output', r'steps.pack."\udc00"'])
async def test_half_of_a_surrogate_pair(undecided: Service, source: str) -> None:
    """An expression may name with an escape what no response can contain; its refusal can still be read."""
    steps: list[Json] = [{**PARCEL["steps"][0], "input": {"x": source}}]
    response = await undecided.client.post(DEFINITIONS, json={**PARCEL, "steps": steps})

    assert response.status_code == 422
    assert response.json()["errors"][0]["path"] == "steps.pack.input.x"


async def test_deeply_nested(undecided: Service) -> None:
    """A document that is nested too deeply is refused, not an error of the service."""
    nested = b"[" * 900 + b"]" * 900
    content = b'{"name": "deep", "version": 1, "type": "T", "output": {"x": ' + nested + b"}}"

    response = await undecided.client.post(DEFINITIONS, content=content)

    assert response.status_code == 422


@pytest.mark.parametrize(
    ("path", "status"),
    [("nothing/1", 404), ("order-fulfillment/99", 404), ("order-fulfillment/first", 422)],
)
async def test_unknown(undecided: Service, path: str, status: int) -> None:
    """A version that is not registered is a 404, one that is no number a 422."""
    response = await undecided.client.get(f"{DEFINITIONS}/{path}")

    assert response.status_code == status
    if status == 404:
        assert response.json()["code"] == "UNKNOWN_DEFINITION"
