"""Production mode: workers over HTTP instead of participants on Kafka."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.acceptance.programs import until
from tests.acceptance.sites import Site, initialised

pytestmark = [pytest.mark.e2e, pytest.mark.kafka, pytest.mark.mongo, pytest.mark.redis]
pytestmark += [pytest.mark.timeout(240)]

SERVICES = ("crane", "scale")
#: With deadlines that no dead worker's lease reaches.
TRIAL = {
    "name": "trial",
    "version": 1,
    "type": "TRIAL",
    "steps": [
        {
            "id": "lift",
            "service": "crane",
            "operation": "lift",
            "timeoutMs": 120_000,
            "compensation": {"operation": "lower"},
        },
        {
            "id": "weigh",
            "kind": "read-only",
            "service": "scale",
            "operation": "weigh",
            "timeoutMs": 120_000,
        },
    ],
}


@pytest.fixture
def empty(kafka_bootstrap: str, mongo_uri: str, redis_url: str, tmp_path: Path) -> Iterator[Site]:
    with initialised(kafka_bootstrap, mongo_uri, redis_url, tmp_path) as site:
        yield site


class Worker:
    """Serves one service, as a script with an HTTP client does it."""

    def __init__(self, url: str, service: str) -> None:
        self.service = service
        #: Idempotency keys, in the order of their requests.
        self.keys: list[str] = []
        self._base = f"{url}/api/v1/participants/{service}"
        self._leaving = threading.Event()

    def take(self, http: httpx.Client, **more: Any) -> list[dict[str, Any]]:
        body = {"workerId": self.service, "max": 10, "waitSeconds": 1, "leaseSeconds": 5, **more}
        response = http.post(f"{self._base}/take", json=body)
        response.raise_for_status()
        return response.json()["requests"]

    def work(self) -> None:
        with httpx.Client(timeout=30) as http:
            while not self._leaving.is_set():
                for request in self.take(http):
                    key = request["event"]["idempotencykey"]
                    self.keys.append(key)
                    data = {"output": {"of": key}}
                    event = {"type": "orchestration.step.completed", "data": data}
                    answer = {"lease": request["lease"], "event": event}
                    http.post(f"{self._base}/answer", json=answer).raise_for_status()

    @contextmanager
    def at_work(self) -> Generator[None]:
        thread = threading.Thread(target=self.work)
        thread.start()
        try:
            yield
        finally:
            self._leaving.set()
            thread.join()


def test_workflows_are_performed_by_workers(empty: Site) -> None:
    """Each step by its service; what a dead worker had taken is given out again, and marked."""
    ids = [f"wf-{number}" for number in range(5)]
    with empty.serving(roles="engine,api,workers") as (program, url), httpx.Client() as http:
        http.post(f"{url}/api/v1/definitions", json=TRIAL).raise_for_status()
        workers = [Worker(url, service) for service in SERVICES]
        for each in ids:
            body = {"id": each, "definition": "trial", "input": {}}
            http.post(f"{url}/api/v1/workflows", json=body).raise_for_status()
        dead = Worker(url, "crane")
        until("all requests taken", lambda: _take_into(dead, http) == len(ids), 60, [program])
        [again] = until("one given out again", lambda: _recovered(dead, http), 60, [program])
        assert again["event"]["idempotencykey"] in dead.keys
        assert again["event"]["attempt"] == "1"

        with ExitStack() as shift:
            for worker in workers:
                shift.enter_context(worker.at_work())
            until("ends", lambda: all(_status(http, url, each) == "COMPLETED" for each in ids), 90)
        assert program.stop() == 0

    for worker in workers:
        assert len(set(worker.keys)) == len(ids)


def _take_into(worker: Worker, http: httpx.Client) -> int:
    """How many steps it has requests of."""
    worker.keys += [each["event"]["idempotencykey"] for each in worker.take(http)]
    return len(set(worker.keys))


def _recovered(worker: Worker, http: httpx.Client) -> list[dict[str, Any]]:
    return [each for each in worker.take(http, max=1) if each["recovered"]]


def _status(http: httpx.Client, url: str, workflow_id: str) -> str:
    return http.get(f"{url}/api/v1/workflows/{workflow_id}").json()["status"]
