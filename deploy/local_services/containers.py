"""The same servers as containers, where a Docker engine answers."""

import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from deploy.local_services.kafka import BROKER_SETTINGS
from deploy.local_services.process import LOCALHOST, RunningService, free_port

_KAFKA_IMAGE = "apache/kafka:4.1.1"
_MONGO_IMAGE = "mongo:7"
_REDIS_IMAGE = "redis:7"
_START_SECONDS = 120


def docker_answers() -> bool:
    """Whether an engine runs: the client alone, which some machines have, is of no use."""
    return _docker_says_yes("info")


def docker_has_images() -> bool:
    """Whether an engine runs and needs not pull: a test's deadline leaves no time for that."""
    return _docker_says_yes("image", "inspect", _KAFKA_IMAGE, _MONGO_IMAGE, _REDIS_IMAGE)


def _docker_says_yes(*arguments: str) -> bool:
    docker = shutil.which("docker")
    if docker is None:
        return False
    try:
        done = subprocess.run(
            [docker, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=10,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def start_kafka_container(port: int | None = None) -> RunningService:
    # A client is sent on to the advertised address: the port must be the same inside and outside.
    broker_port = port or free_port()
    return _start(
        "kafka",
        _KAFKA_IMAGE,
        port=broker_port,
        inner_port=broker_port,
        address=f"{LOCALHOST}:{broker_port}",
        ready_message="Kafka Server started",
        environment={
            "KAFKA_NODE_ID": "1",
            "KAFKA_PROCESS_ROLES": "broker,controller",
            "KAFKA_LISTENERS": f"PLAINTEXT://:{broker_port},CONTROLLER://localhost:9093",
            "KAFKA_ADVERTISED_LISTENERS": f"PLAINTEXT://{LOCALHOST}:{broker_port}",
            "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
            "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
            "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@localhost:9093",
            **{
                f"KAFKA_{name.replace('.', '_').upper()}": str(value)
                for name, value in BROKER_SETTINGS.items()
            },
        },
    )


def start_mongo_container(port: int | None = None) -> RunningService:
    bound_port = port or free_port()
    return _start(
        "mongo",
        _MONGO_IMAGE,
        port=bound_port,
        inner_port=27017,
        address=f"mongodb://{LOCALHOST}:{bound_port}",
        ready_message="Waiting for connections",
    )


def start_redis_container(port: int | None = None) -> RunningService:
    bound_port = port or free_port()
    return _start(
        "redis",
        _REDIS_IMAGE,
        port=bound_port,
        inner_port=6379,
        address=f"redis://{LOCALHOST}:{bound_port}",
        ready_message="Ready to accept connections",
    )


def _start(
    name: str,
    image: str,
    *,
    port: int,
    inner_port: int,
    address: str,
    ready_message: str,
    environment: Mapping[str, str] | None = None,
) -> RunningService:
    # Imported here: a development dependency, and slow to load where it is not needed.
    from testcontainers.core.container import DockerContainer  # noqa: PLC0415
    from testcontainers.core.wait_strategies import LogMessageWaitStrategy  # noqa: PLC0415

    container = DockerContainer(image)
    # Bound to loopback, since nothing here asks for a login; the type of `ports` forgets this form.
    container.ports[inner_port] = (LOCALHOST, port)  # pyright: ignore[reportArgumentType]
    for variable, value in (environment or {}).items():
        container = container.with_env(variable, value)
    container = container.waiting_for(
        LogMessageWaitStrategy(ready_message).with_startup_timeout(_START_SECONDS)
    )
    container.start()
    folder = Path(tempfile.gettempdir())
    return RunningService(name, address, folder, container.stop)
