"""Real servers for the tests that need them, and the Hypothesis profiles.

`make test` tries the same inputs each time under CI, so that a run says something about the change; `make
fuzz` tries others each time (the profile `fresh`), and tells the seed.

A server comes from the environment (TEST_KAFKA, TEST_MONGO, TEST_REDIS), else from Docker where an
engine has the images, else it is a local process. A test that needs one is never skipped.
"""

import os
import signal
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import settings

from deploy.local_services import RunningService, start_kafka, start_mongo, start_redis
from deploy.local_services.containers import (
    docker_has_images,
    start_kafka_container,
    start_mongo_container,
    start_redis_container,
)

#: What needs one of these is an integration test, wherever it stands ...
_OF_SERVERS = {"kafka", "mongo", "redis", "e2e", "kafka_bootstrap", "mongo_uri", "redis_url"}
#: ... and so is everything here: parts that work together, files, other processes.
_TOGETHER = (
    "acceptance",
    "adapters/rest",
    "adapters/sqlite",
    "bench",
    "deploy",
    "faults",
    "foreign_clients",
    "infrastructure",
    "sdk/testing",
    "simulation",
)
_TESTS = Path(__file__).parent

settings.register_profile("dev", max_examples=50, deadline=None)
settings.register_profile("ci", max_examples=200, deadline=None, derandomize=True)
settings.register_profile(
    "fresh", max_examples=500, deadline=None, derandomize=False, print_blob=True
)
settings.load_profile("ci" if os.environ.get("CI") == "true" else "dev")


def pytest_sessionstart() -> None:
    """Let Ctrl-C interrupt. A shell that starts the tests in the background has it ignored, for children too."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: Iterable[pytest.Item]) -> None:
    """Mark what `make integration` runs; everything else is a unit test."""
    for item in items:
        needs = {mark.name for mark in item.iter_markers()} | set(getattr(item, "fixturenames", ()))
        place = item.path.relative_to(_TESTS).as_posix()
        if needs & _OF_SERVERS or place.startswith(tuple(f"{folder}/" for folder in _TOGETHER)):
            item.add_marker(pytest.mark.integration)


@pytest.fixture(scope="session", autouse=True)
def uncached_loggers() -> Iterator[None]:
    """A command that a test runs in this process does not bind the loggers of all tests after it."""
    configure = structlog.configure

    def uncached(**options: Any) -> None:
        configure(**{**options, "cache_logger_on_first_use": False})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(structlog, "configure", uncached)
        yield


@pytest.fixture(scope="session")
def kafka_bootstrap() -> Iterator[str]:
    """Bootstrap servers of a broker that all tests share: name topics and groups apart."""
    yield from _address(
        "TEST_KAFKA", start_kafka_container, partial(start_kafka, is_short_lived=True)
    )


@pytest.fixture(scope="session")
def mongo_uri() -> Iterator[str]:
    """URI of a MongoDB that all tests share: name databases apart."""
    yield from _address(
        "TEST_MONGO", start_mongo_container, partial(start_mongo, is_short_lived=True)
    )


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """URL of a Redis that all tests share: name keys apart."""
    yield from _address("TEST_REDIS", start_redis_container, start_redis)


def _address(
    variable: str,
    start_container: Callable[[], RunningService],
    start_process: Callable[[], RunningService],
) -> Iterator[str]:
    given = os.environ.get(variable)
    if given:
        yield given
        return
    with start_container() if docker_has_images() else start_process() as service:
        yield service.address
