"""Which names the service answers to, and which web pages may use it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from adapters.rest.app import create_app
from adapters.rest.hosts import Hosts
from tests.adapters.rest.service import DEFINITIONS, WORKFLOWS, Service, client_of, start_of


@pytest.mark.parametrize(
    ("host", "is_accepted"),
    [
        ("localhost", True),
        ("localhost:8080", True),
        ("LOCALHOST:8080", True),
        ("localhost.:8080", True),
        ("127.0.0.1:8080", True),
        ("127.1.2.3", True),
        ("[::1]:8080", True),
        ("app.localhost:8080", True),
        ("conveyor.example.com", True),
        ("conveyor.example.com:8080", True),
        ("evil.example.com", False),
        ("localhost.example.com", False),
        ("127.0.0.1.example.com", False),
        ("10.0.0.1", False),
        ("[", False),
        ("", False),
    ],
)
async def test_hosts(undecided: Service, host: str, is_accepted: bool) -> None:
    """A name that its owner could point at the loopback address is refused."""
    api = replace(undecided.api, hosts=Hosts(allowed=("Conveyor.example.com",)))
    async with client_of(create_app(api)) as client:
        response = await client.get(DEFINITIONS, headers={"Host": host})
        health = await client.get("/health/live", headers={"Host": host})

    assert response.status_code == (200 if is_accepted else 403)
    assert health.status_code == 200
    if not is_accepted:
        assert response.headers["content-type"] == "application/problem+json"
        assert response.headers["X-Correlation-ID"]
        assert "ALLOWED_HOSTS" in response.json()["detail"]


@pytest.mark.parametrize(
    ("origin", "is_accepted"),
    [
        ("http://localhost", True),
        ("https://console.example.com", True),
        ("http://localhost:3000", False),
        ("https://evil.example.com", False),
        ("null", False),
        ("", False),
        ("http://[::1", False),
        ("http://localhost]", False),
        ("http://[localhost]", False),
    ],
)
async def test_origins(undecided: Service, origin: str, is_accepted: bool) -> None:
    """A page of another origin cannot start, cancel or register anything; it may read nothing either."""
    api = replace(undecided.api, hosts=Hosts(origins=("https://console.example.com",)))
    refused = 403
    async with client_of(create_app(api)) as client:
        headers = {"Origin": origin}
        answers = [
            await client.post(WORKFLOWS, json={"definition": "none"}, headers=headers),
            await client.put(f"{WORKFLOWS}/-x/cancel", headers=headers),
            await client.post(DEFINITIONS, json={}, headers=headers),
        ]

    assert all((answer.status_code != refused) is is_accepted for answer in answers)


async def test_allowed_origins_may_read(undecided: Service) -> None:
    """A browser hands the answer on to pages of the allowed origins only."""
    api = replace(undecided.api, hosts=Hosts(origins=("https://console.example.com",)))
    allowed = "access-control-allow-origin"
    async with client_of(create_app(api)) as client:
        ours = await client.get(WORKFLOWS, headers={"Origin": "https://console.example.com"})
        other = await client.get(WORKFLOWS, headers={"Origin": "https://evil.example.com"})
        asked = await client.options(
            WORKFLOWS,
            headers={
                "Origin": "https://console.example.com",
                "Access-Control-Request-Method": "POST",
                "Access-Control-Request-Headers": "content-type",
            },
        )

    assert ours.headers[allowed] == "https://console.example.com"
    assert allowed not in other.headers
    assert asked.status_code == 200


async def test_a_start_needs_no_origin(service: Service) -> None:
    """Programs send none."""
    assert (await service.start(start_of())).status_code == 201
