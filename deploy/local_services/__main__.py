"""`make services`: start all three, print their settings on stdout, wait for a signal."""

import signal
import sys
import time
from contextlib import ExitStack
from types import FrameType
from typing import NoReturn

from deploy.local_services import (
    LocalService,
    RunningService,
    ServiceError,
    start_kafka,
    start_mongo,
    start_redis,
)
from deploy.local_services.containers import (
    docker_answers,
    start_kafka_container,
    start_mongo_container,
    start_redis_container,
)
from deploy.local_services.process import free_port

_KAFKA_PORT = 9092
_MONGO_PORT = 27017
_REDIS_PORT = 6379


def main() -> int:
    signal.signal(signal.SIGTERM, _leave)
    signal.signal(signal.SIGINT, _leave)
    with ExitStack() as running:
        try:
            services = _start_all(running)
        except ServiceError as error:
            print(error, file=sys.stderr)
            return 1
        return _wait(services)


def _start_all(running: ExitStack) -> list[RunningService]:
    in_containers = docker_answers()
    print("Starting Kafka, MongoDB and Redis ...", file=sys.stderr)
    kafka_port, mongo_port, redis_port = map(free_port, (_KAFKA_PORT, _MONGO_PORT, _REDIS_PORT))
    redis = running.enter_context(
        start_redis_container(redis_port) if in_containers else start_redis(port=redis_port)
    )
    mongo = running.enter_context(
        start_mongo_container(mongo_port) if in_containers else start_mongo(port=mongo_port)
    )
    kafka = running.enter_context(
        start_kafka_container(kafka_port) if in_containers else start_kafka(port=kafka_port)
    )
    print(
        f"export CONVEYOR_KAFKA__BOOTSTRAP_SERVERS={kafka.address}",
        f"export CONVEYOR_MONGODB__URI={mongo.address}",
        "export CONVEYOR_MONGODB__DATABASE=conveyor",
        f"export CONVEYOR_REDIS__URL={redis.address}",
        "# ready",
        sep="\n",
        flush=True,
    )
    return [kafka, mongo, redis]


def _wait(services: list[RunningService]) -> int:
    while True:
        for service in services:
            if isinstance(service, LocalService) and service.process.poll() is not None:
                print(f"{service.name} ended by itself", file=sys.stderr)
                return 1
        time.sleep(1)


def _leave(_number: int, _frame: FrameType | None) -> NoReturn:
    # A second Ctrl-C must not interrupt the stopping of the servers.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise SystemExit(0)


if __name__ == "__main__":
    sys.exit(main())
