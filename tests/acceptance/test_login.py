"""A production site with API keys, used by everybody who may use it."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from conveyor import Client
from conveyor.errors import RequestRefusedError

from tests.acceptance.programs import Program, run, running, until
from tests.acceptance.sites import Site, initialised, order
from tests.acceptance.test_worker_command import WORKER
from tests.infrastructure.commands import told

pytestmark = [pytest.mark.e2e, pytest.mark.kafka, pytest.mark.mongo, pytest.mark.redis]
pytestmark += [pytest.mark.timeout(240)]

APP = """
from conveyor import Participant, Worker

stock = Participant("stock")

@stock.step("stock-service", "pick")
def pick() -> dict:
    return {"picked": True}

worker = Worker(stock)
"""
DEFINITION = {
    "name": "picking",
    "version": 1,
    "type": "PICKING",
    "steps": [{"id": "pick", "service": "stock-service", "operation": "pick", "kind": "read-only"}],
}


def key_of(file: Path, role: str, *labels: str) -> str:
    arguments = ["keys", "create", "--actor", f"{role}-1", "--role", role, "--file", str(file)]
    for label in labels:
        arguments += ["--label", label]
    return str(told("http://127.0.0.1:1", *arguments)["key"])


async def test_a_production_site_with_keys(
    kafka_bootstrap: str, mongo_uri: str, redis_url: str, tmp_path: Path
) -> None:
    """It starts without --insecure, refuses strangers and those who may not, and serves all others."""
    file = tmp_path / "keys"
    keys = {role: key_of(file, role) for role in ("viewer", "operator", "admin")}
    keys["service"] = key_of(file, "service", "service:stock-service")
    with initialised(kafka_bootstrap, mongo_uri, redis_url, tmp_path) as site:
        site.settings["CONVEYOR_PROFILE"] = "production"
        without = run("serve", "--roles", "api", folder=tmp_path, settings=site.settings)
        assert without.returncode == 2
        assert "CONVEYOR_AUTH__API_KEYS_FILE" in without.stderr

        site.settings["CONVEYOR_AUTH__API_KEYS_FILE"] = str(file)
        with site.serving(roles="engine,api,workers") as (program, url):
            await used_by_everybody(site, program, url, keys)


async def used_by_everybody(site: Site, program: Program, url: str, keys: dict[str, str]) -> None:
    def asked(method: str, path: str, role: str | None, **options: object) -> httpx.Response:
        headers = {} if role is None else {"Authorization": f"Bearer {keys[role]}"}
        return httpx.request(method, url + path, headers=headers, timeout=30, **options)  # type: ignore[arg-type]

    stranger = asked("GET", "/api/v1/workflows", None)
    assert (stranger.status_code, stranger.json()["code"]) == (401, "NOT_AUTHENTICATED")
    assert stranger.headers["www-authenticate"] == "Bearer"
    assert asked("GET", "/openapi.json", None).status_code == 200
    me = asked("GET", "/api/v1/me", "operator").json()
    assert (me["actor"], me["roles"]) == ("operator-1", ["operator"])

    assert asked("POST", "/api/v1/definitions", "operator", json=DEFINITION).status_code == 403
    assert asked("POST", "/api/v1/definitions", "admin", json=DEFINITION).status_code == 201
    async with Client(url, api_key=keys["viewer"]) as client:
        with pytest.raises(RequestRefusedError, match="may not start"):
            await client.start("picking")

    take = {"workerId": "w", "max": 1, "waitSeconds": 0, "leaseSeconds": 5}
    other = asked("POST", "/api/v1/participants/money-service/take", "service", json=take)
    assert (other.status_code, other.json()["code"]) == (403, "FORBIDDEN")
    assert asked("GET", "/api/v1/workflows", "service").status_code == 403

    (site.folder / "app.py").write_text(APP)
    settings = {"CONVEYOR_URL": url, "CONVEYOR_API_KEY": keys["service"]}
    arguments = ["app:worker", "--url", url]
    with running(
        "worker", *arguments, folder=site.folder, settings=settings, program=[WORKER]
    ) as worker:
        until("it serves", lambda: "conveyor-worker serves" in worker.log, 60, [worker, program])
        async with Client(url, api_key=keys["operator"]) as client:
            done = await client.start("picking", order("o-1"))
            await done.result(timeout=60)
            history = await done.history()
        assert worker.stop() == 0
    assert history[0].actor == "operator-1"
