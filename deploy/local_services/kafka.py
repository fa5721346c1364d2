"""Kafka as one KRaft process, broker and controller in one."""

import subprocess
import uuid
from collections.abc import Mapping
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from deploy.local_services.maven_build import kafka_jars
from deploy.local_services.process import (
    LOCALHOST,
    LocalService,
    ServiceError,
    accepts_connections,
    free_port,
    required_program,
    start_process,
    state_folder,
)

_START_SECONDS = 60
_FORMAT_SECONDS = 60


def start_kafka(
    folder: Path | None = None,
    port: int | None = None,
    *,
    advertised_port: int | None = None,
    is_short_lived: bool = False,
    properties: Mapping[str, str] | None = None,
) -> LocalService:
    """Start a broker; `address` is its bootstrap server. A folder used before is continued.

    Clients are sent on to `advertised_port`, where something stands before the broker. A short-lived
    broker is compiled quickly rather than well: on two cores it serves up to twice as many messages
    in its first seconds, and half as many for ever after. `properties` are added to the broker's own.
    """
    java = required_program("java", "default-jdk-headless")
    jars = kafka_jars()
    state = state_folder("kafka", folder)
    broker_port = port or free_port()
    # Written again for every start: the ports may differ from the last one.
    file = state / "server.properties"
    file.write_text(
        _server_properties(
            state, broker_port, free_port(), advertised_port or broker_port, properties or {}
        )
    )
    if not (state / "data" / "meta.properties").exists():
        _format_storage(java, jars, state, file)
    return start_process(
        "kafka",
        [
            *_java_command(java, jars),
            *_SERVER_OPTIONS,
            *([_COMPILE_QUICKLY] if is_short_lived else []),
            "kafka.Kafka",
            str(file),
        ],
        address=f"{LOCALHOST}:{broker_port}",
        folder=state,
        removes_folder=folder is None,
        answers=lambda: _answers(broker_port),
        deadline_seconds=_START_SECONDS,
    )


_COMPILE_QUICKLY = "-XX:TieredStopAtLevel=1"
_SERVER_OPTIONS = ["-Xms512m", "-Xmx512m", "-XX:+UseSerialGC"]


def _java_command(java: str, jars: Path) -> list[str]:
    return [java, "-cp", f"{jars}/*", "-Djava.awt.headless=true"]


def _server_properties(
    state: Path,
    broker_port: int,
    controller_port: int,
    advertised_port: int,
    properties: Mapping[str, str],
) -> str:
    settings = {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@{LOCALHOST}:{controller_port}",
        "controller.listener.names": "CONTROLLER",
        "listeners": (
            f"PLAINTEXT://{LOCALHOST}:{broker_port},CONTROLLER://{LOCALHOST}:{controller_port}"
        ),
        "advertised.listeners": f"PLAINTEXT://{LOCALHOST}:{advertised_port}",
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
        "log.dirs": state / "data",
        **BROKER_SETTINGS,
        **properties,
    }
    return "".join(f"{name}={value}\n" for name, value in settings.items())


#: What Conveyor expects of a broker for trying and testing, in a container as well.
BROKER_SETTINGS: dict[str, str | int] = {
    # `conveyor init` creates topics; a misspelt one must fail.
    "auto.create.topics.enable": "false",
    "offsets.topic.replication.factor": 1,
    "offsets.topic.num.partitions": 4,
    "transaction.state.log.replication.factor": 1,
    "transaction.state.log.min.isr": 1,
    "share.coordinator.state.topic.replication.factor": 1,
    "share.coordinator.state.topic.min.isr": 1,
    # Rebalances at once and time-outs of a few seconds: what is tried out must be seen.
    "group.initial.rebalance.delay.ms": 0,
    "group.min.session.timeout.ms": 1000,
    "group.consumer.min.session.timeout.ms": 6000,
    "group.consumer.session.timeout.ms": 6000,
    "group.consumer.min.heartbeat.interval.ms": 1000,
    "group.consumer.heartbeat.interval.ms": 1000,
}


def _format_storage(java: str, jars: Path, state: Path, properties: Path) -> None:
    done = subprocess.run(
        [
            *_java_command(java, jars),
            _COMPILE_QUICKLY,
            "-XX:+UseSerialGC",
            "kafka.tools.StorageTool",
            "format",
            f"--cluster-id={uuid.uuid4().hex[:22]}",
            f"--config={properties}",
        ],
        cwd=state,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_FORMAT_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        raise ServiceError(f"Kafka's storage could not be formatted:\n{done.stdout + done.stderr}")


def _answers(port: int) -> bool:
    # The port first: librdkafka would write every refused connection to stderr.
    return accepts_connections(port) and _lists_topics(port)


def _lists_topics(port: int) -> bool:
    client = AdminClient({"bootstrap.servers": f"{LOCALHOST}:{port}", "log_level": 0})
    try:
        return bool(client.list_topics(timeout=5).brokers)
    except KafkaException:
        return False
