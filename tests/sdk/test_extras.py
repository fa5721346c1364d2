"""Without an extra, the package says which one to install, as soon as it is needed."""

from __future__ import annotations

import subprocess
import sys

import pytest


def run_without(module: str, program: str) -> subprocess.CompletedProcess[str]:
    """As where the module is not installed."""
    code = f"import sys; sys.modules[{module!r}] = None\n{program}"
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize(
    ("module", "program", "extra"),
    [
        ("httpx", "Client()", "http"),
        ("httpx", "Client.over_kafka('localhost:9092', source='/s', url='http://h')", "http"),
        ("confluent_kafka", "Client.over_kafka('localhost:9092', source='/s')", "kafka"),
        ("confluent_kafka", "import conveyor.kafka", "kafka"),
        ("redis", "import conveyor.redis_keys", "redis"),
        ("httpx", "import conveyor.http_transport", "http"),
        ("prometheus_client", "import conveyor.worker_metrics", "metrics"),
    ],
)
def test_an_extra_is_missing(module: str, program: str, extra: str) -> None:
    """The error has the command that installs it."""
    done = run_without(module, f"from conveyor import Client; {program}")

    assert f"pip install 'conveyor-sdk[{extra}]'" in done.stderr


def test_kafka_needs_no_http() -> None:
    """A client that only speaks Kafka is made without it."""
    program = "from conveyor import Client; Client.over_kafka('localhost:9092', source='/s')"
    done = run_without("httpx", program)

    assert (done.returncode, done.stderr) == (0, "")
