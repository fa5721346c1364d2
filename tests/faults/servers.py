"""Servers of these tests' own, that may be killed, frozen and started again where they were."""

from __future__ import annotations

import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from deploy.local_services import LocalService, start_kafka, start_mongo
from deploy.local_services.process import (
    LOCALHOST,
    accepts_connections,
    free_port,
    required_program,
    start_process,
)
from deploy.local_services.redis_server import answers_ping


class Server:
    """A server process that keeps its folder, its port and what it has stored."""

    def __init__(self, start: Callable[[], LocalService]) -> None:
        self._start = start
        self._service = start()
        self.address = self._service.address

    def kill(self) -> None:
        """SIGKILL: what is in the process is gone, what it gave to the operating system is not."""
        self._service.kill()

    def stop(self) -> None:
        """SIGTERM, for good or until `start`."""
        self._service.stop()

    def start(self) -> None:
        """On the folder and port of before; answers when this returns."""
        self._service.stop()
        self._service = self._start()

    def remove(self) -> None:
        """For good."""
        self.stop()

    @contextmanager
    def frozen(self) -> Generator[None]:
        """It keeps its connections and answers nothing."""
        self._service.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._service.process.send_signal(signal.SIGCONT)


def kafka(folder: Path, advertised_port: int | None = None) -> Server:
    """A broker; clients are sent to `advertised_port` where one is given."""
    port = free_port()
    return Server(
        partial(start_kafka, folder, port, advertised_port=advertised_port, is_short_lived=True)
    )


def mongo_standin(folder: Path, *, keeps_documents: bool = False) -> Server:
    """The stand-in of a MongoDB: in memory, or in a file that it writes in the background."""
    backend = "h2" if keeps_documents else "memory"
    return Server(partial(start_mongo, folder, free_port(), backend=backend, is_short_lived=True))


def redis(folder: Path) -> Server:
    """A Redis that has every write in its file before it answers, as participants' keys need it."""
    return Server(partial(_start_redis, folder, free_port()))


def _start_redis(folder: Path, port: int) -> LocalService:
    folder.mkdir(exist_ok=True)
    return start_process(
        "redis",
        [
            required_program("redis-server", "redis-server"),
            *("--bind", LOCALHOST, "--port", str(port), "--dir", str(folder), "--save", ""),
            *("--appendonly", "yes", "--appendfsync", "always"),
        ],
        address=f"redis://{LOCALHOST}:{port}",
        folder=folder,
        removes_folder=False,
        answers=lambda: accepts_connections(port) and answers_ping(port),
        deadline_seconds=20,
    )
