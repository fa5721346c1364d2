"""Workers: what they refuse at the start, and what their handlers may do."""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

import conveyor
import pytest
from conveyor import Participant, Worker, types
from conveyor.errors import TerminalError, UnknownOutcomeError
from conveyor.key_store import KeyStore, MemoryKeyStore
from conveyor.memory import MemoryTransport
from conveyor.reloading import sources
from conveyor.transport import Transport
from conveyor.worker_command import WrongStart, connection, load, metrics
from conveyor.worker_metrics import WorkerMetrics
from conveyor.worker_settings import kafka_properties, redis_address

from infrastructure.settings import load_settings
from tests.sdk.requests_of import data_of, step_request

SERVICE = "inventory-service"


def participant(name: str = "inventory", service: str = SERVICE) -> Participant:
    participant = Participant(name)

    @participant.step(service, "reserve")
    def reserve() -> dict[str, str]:
        return {"thread": threading.current_thread().name}

    assert callable(reserve)
    return participant


async def test_plain_handlers_block_only_themselves() -> None:
    """They run in threads, many at a time."""
    count = 8
    together = threading.Barrier(count, timeout=20)
    blocking = Participant("blocking")

    @blocking.step(SERVICE, "reserve")
    def reserve() -> dict[str, str]:
        together.wait()
        return {"thread": threading.current_thread().name}

    assert callable(reserve)
    transport = MemoryTransport()

    def connect(_: Participant) -> tuple[Transport, KeyStore]:
        return transport, MemoryKeyStore()

    stop = asyncio.Event()
    running = asyncio.create_task(Worker(blocking).run(connect, stop))
    await transport.request(*[step_request(f"wf-{n}") for n in range(count)])
    async with asyncio.timeout(30):
        replies = await transport.until_replied(count)
        stop.set()
        await running

    assert {reply.type for reply in replies} == {types.STEP_COMPLETED}
    assert len({data_of(reply)["output"]["thread"] for reply in replies}) == count


async def test_an_exception_in_a_thread_is_an_outcome() -> None:
    """Also one that would end a process."""
    raising = Participant("raising")

    @raising.step(SERVICE, "reserve")
    def reserve() -> None:
        sys.exit(3)

    assert callable(reserve)
    transport = MemoryTransport()

    def connect(_: Participant) -> tuple[Transport, KeyStore]:
        return transport, MemoryKeyStore()

    stop = asyncio.Event()
    running = asyncio.create_task(Worker(raising).run(connect, stop))
    await transport.request(step_request())
    async with asyncio.timeout(30):
        [reply] = await transport.until_replied(1)
        stop.set()
        await running

    assert reply.type == types.STEP_FAILED


def test_workers_that_cannot_be() -> None:
    """The sentence says what to change."""
    with pytest.raises(ValueError, match="needs a participant"):
        Worker()
    with pytest.raises(ValueError, match="empty has no handlers"):
        Worker(Participant("empty"))
    with pytest.raises(ValueError, match=f"two participants serve {SERVICE}"):
        Worker(participant("a"), participant("b"))
    with pytest.raises(ValueError, match="at least one thread"):
        Worker(participant(), threads=0)
    with pytest.raises(TypeError, match="'hotel' is not a participant"):
        Worker("hotel")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["", "a/b", "Hotel", "..", "x" * 300])
def test_a_name_that_no_definition_can_have(name: str) -> None:
    """It is refused where the handler is registered: nobody could ask for it."""
    with pytest.raises(ValueError, match="is not the name of a service"):
        participant(service=name)


APP = """
from conveyor import Participant, Worker

hotel = Participant("hotel")
empty = Participant("empty")
number = 7

@hotel.step("hotel-service", "book")
def book() -> None: ...

worker = Worker(hotel)
"""


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module of a name of its own, in `tmp_path`."""
    name = f"app_{time.monotonic_ns()}"
    (tmp_path / f"{name}.py").write_text(APP)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return name


@pytest.mark.parametrize("name", ["worker", "hotel"])
def test_a_worker_is_loaded(tmp_path: Path, app: str, name: str) -> None:
    """By itself, or made of a participant."""
    assert load(f"{app}:{name}", tmp_path).services == ("hotel-service",)


@pytest.mark.parametrize(
    ("reference", "sentence"),
    [
        ("{app}", "write MODULE:OBJECT"),
        (".{app}:worker", "write MODULE:OBJECT"),
        (
            "{app}:absent",
            "has no absent, and needs a Worker or Participant; it has hotel, empty, worker",
        ),
        ("{app}:number", "has int as number"),
        ("{app}:empty", "empty has no handlers"),
        ("nowhere.app:worker", "there is no module nowhere"),
    ],
)
def test_what_cannot_be_loaded(tmp_path: Path, app: str, reference: str, sentence: str) -> None:
    """Each wrong reference is named, with what there is."""
    with pytest.raises(WrongStart, match=sentence):
        load(reference.format(app=app), tmp_path)


@pytest.mark.parametrize("ending", ["import sys; sys.exit(3)", "raise SystemExit"])
def test_a_module_that_ends_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    """A script without a guard, for example: it is no start that could be tried again."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    name = f"script_{time.monotonic_ns()}"
    (tmp_path / f"{name}.py").write_text(f"{ending}\n")
    with pytest.raises(WrongStart, match=rf"SystemExit.*{name}\.py, line 1.*__main__"):
        load(f"{name}:worker", tmp_path)


def test_a_module_that_raises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line of the user's code is named."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    name = f"broken_{time.monotonic_ns()}"
    (tmp_path / f"{name}.py").write_text("import conveyor\nraise RuntimeError('no database')\n")
    with pytest.raises(WrongStart, match=rf"RuntimeError: no database \(.*{name}\.py, line 2\)"):
        load(f"{name}:worker", tmp_path)


@pytest.mark.parametrize(
    ("url", "environment", "place"),
    [
        ("http://localhost:8080", {}, "http://localhost:8080"),
        (None, {"CONVEYOR_URL": "http://api:8080"}, "http://api:8080"),
        (
            None,
            {
                "CONVEYOR_KAFKA__BOOTSTRAP_SERVERS": "broker:9092",
                "CONVEYOR_REDIS__URL": "redis://redis",
                "CONVEYOR_URL": "http://api:8080",
            },
            "Kafka at broker:9092",
        ),
    ],
)
def test_where_a_worker_connects(url: str | None, environment: dict[str, str], place: str) -> None:
    """To Kafka where its settings are present, unless an address is given."""
    _, where = connection(url, environment)

    assert where == place


NO_ADDRESSES = (
    "localhost:8080",
    "http://",
    "http://:80",
    "http://[::1",
    "http://127.0.0.1:99999",
    "http://a b",
    "http://127.0.0.1/?x=1",
)


@pytest.mark.parametrize(
    ("url", "environment", "sentence"),
    [
        (None, {}, "give --url http://localhost:8080"),
        *((url, {}, "is not an address") for url in NO_ADDRESSES),
        (
            None,
            {"CONVEYOR_KAFKA__BOOTSTRAP_SERVERS": "b:9092", "CONVEYOR_REDIS__URL": "nope"},
            "CONVEYOR_REDIS__URL is 'nope'; write redis://",
        ),
        (None, {"CONVEYOR_KAFKA__BOOTSTRAP_SERVERS": "broker:9092"}, "set CONVEYOR_REDIS__URL"),
        (
            None,
            {
                "CONVEYOR_KAFKA__BOOTSTRAP_SERVERS": "broker:9092",
                "CONVEYOR_REDIS__URL": "redis://redis",
                "CONVEYOR_REDIS__DATABASE": "three",
            },
            "CONVEYOR_REDIS__DATABASE is 'three'; set a number",
        ),
    ],
)
def test_a_worker_without_a_place(
    url: str | None, environment: dict[str, str], sentence: str
) -> None:
    """The sentence says what to give."""
    with pytest.raises(WrongStart, match=sentence):
        connection(url, environment)


def test_the_package_offers_what_it_has() -> None:
    """Names of the package that are loaded on use."""
    assert conveyor.Worker is Worker
    with pytest.raises(AttributeError, match="no attribute 'Wroker'"):
        _ = conveyor.Wroker  # type: ignore[attr-defined]


def test_what_a_reload_watches(tmp_path: Path) -> None:
    """The project's own code: no hidden folder, no environment, nothing that is not Python."""
    for name in ("app.py", "hotel/rooms.py", "notes.txt", ".git/hook.py", "env/lib/other.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).touch()
    (tmp_path / "env" / "pyvenv.cfg").touch()

    assert sources(tmp_path).keys() == {"app.py", "hotel/rooms.py"}


def test_a_worker_reads_the_settings_of_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it could not log in, or would not find the key records that others have written."""
    environment = {
        "CONVEYOR_KAFKA__SECURITY_PROTOCOL": "SASL_SSL",
        "CONVEYOR_KAFKA__SASL_MECHANISM": "SCRAM-SHA-512",
        "CONVEYOR_KAFKA__SASL_USERNAME": "hotel",
        "CONVEYOR_KAFKA__SASL_PASSWORD": "secret",
        "CONVEYOR_KAFKA__SSL_CA_LOCATION": "/etc/ca.pem",
        "CONVEYOR_KAFKA__SSL_CERTIFICATE_LOCATION": "/etc/client.pem",
        "CONVEYOR_KAFKA__SSL_KEY_LOCATION": "/etc/client.key",
        "CONVEYOR_REDIS__URL": "rediss://redis:6379",
        "CONVEYOR_REDIS__DATABASE": "3",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    settings = load_settings()

    assert kafka_properties(environment) == settings.kafka.client_properties()
    assert redis_address(environment) == settings.redis.address


@pytest.mark.parametrize(
    ("url", "database", "address"),
    [
        ("redis://redis:6379", "0", "redis://redis:6379"),
        ("redis://redis:6379/2", "3", "redis://redis:6379/2"),
        ("unix:///run/redis.sock", "3", "unix:///run/redis.sock"),
    ],
)
def test_the_database_of_the_key_records(
    url: str, database: str, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the service reads it, too."""
    environment = {"CONVEYOR_REDIS__URL": url, "CONVEYOR_REDIS__DATABASE": database}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    assert redis_address(environment) == load_settings().redis.address == address


async def test_what_metrics_show() -> None:
    """Each run of a handler by its outcome, and what is in flight; no request that needed no handler."""
    ending = Participant("ending")

    @ending.step(SERVICE, "reserve")
    async def reserve(data: dict[str, str]) -> None:
        if data["ends"] == "failed":
            raise TerminalError("NONE_LEFT", "there are none left")
        if data["ends"] == "unknown":
            raise UnknownOutcomeError("SILENT", "no word from there", "UNKNOWN")

    assert callable(reserve)
    transport = MemoryTransport()

    def connect(_: Participant) -> tuple[Transport, KeyStore]:
        return transport, MemoryKeyStore()

    observer = WorkerMetrics()
    stop = asyncio.Event()
    running = asyncio.create_task(Worker(ending).run(connect, stop, observer))
    outcomes = ("performed", "failed", "unknown")
    await transport.request(*[step_request(f"wf-{end}", input={"ends": end}) for end in outcomes])
    await transport.request(step_request("wf-other", operation="absent"))
    async with asyncio.timeout(30):
        await transport.until_replied(4)
        stop.set()
        await running

    labels = {"service": SERVICE, "operation": "reserve"}
    value = observer.registry.get_sample_value
    for outcome in outcomes:
        counted = value("conveyor_worker_handler_seconds_count", {**labels, "outcome": outcome})
        assert counted == 1, outcome
    samples = [each for metric in observer.registry.collect() for each in metric.samples]
    assert not [each for each in samples if each.labels.get("operation") == "absent"]
    assert value("conveyor_worker_requests_in_flight") == 0


@pytest.mark.parametrize("port", ["0", "65536", "http"])
def test_a_port_that_cannot_be(port: str) -> None:
    """Of metrics: refused with what can be."""
    with pytest.raises(WrongStart, match="from 1 to 65535"):
        metrics(port, None, {})


def test_a_port_that_is_taken() -> None:
    """The sentence names it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        with pytest.raises(WrongStart, match=f"127.0.0.1:{port}: .*in use"):
            metrics(None, None, {"CONVEYOR_WORKER__METRICS_PORT": port})


def test_a_worker_of_something_else() -> None:
    """As a typing mistake gives it."""
    anything: Any = "hotel"
    with pytest.raises(TypeError, match="'hotel' is not a participant; write Worker"):
        Worker(anything)
