"""A real MongoDB with its journal, where the machine has one: a program, or an image and an engine to run it."""

from __future__ import annotations

import shutil
import subprocess
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from deploy.local_services import LocalService
from deploy.local_services.containers import docker_has_images
from deploy.local_services.mongodb import answers_ping
from deploy.local_services.process import (
    LOCALHOST,
    accepts_connections,
    free_port,
    start_process,
)
from tests.acceptance.programs import until
from tests.faults.servers import Server

_IMAGE = "mongo:7"
_START_SECONDS = 60


def real_mongod(folder: Path) -> Server | None:
    """Started; None: there is neither."""
    program = shutil.which("mongod")
    if program is not None:
        return Server(partial(_start_mongod, program, folder, free_port()))
    return MongodContainer() if docker_has_images() else None


def _start_mongod(program: str, folder: Path, port: int) -> LocalService:
    folder.mkdir(exist_ok=True)
    address = f"mongodb://{LOCALHOST}:{port}"
    return start_process(
        "mongod",
        [program, "--dbpath", str(folder), "--port", str(port), "--bind_ip", LOCALHOST],
        address=address,
        folder=folder,
        removes_folder=False,
        answers=lambda: accepts_connections(port) and answers_ping(address),
        deadline_seconds=_START_SECONDS,
    )


class MongodContainer(Server):
    """In a container, which keeps its volume until `remove`, however it is ended before that."""

    def __init__(self) -> None:
        port = free_port()
        self.address = f"mongodb://{LOCALHOST}:{port}"
        self._name = f"conveyor-faults-{uuid.uuid4().hex[:8]}"
        published = f"{LOCALHOST}:{port}:27017"
        _docker("run", "--detach", "--name", self._name, "--publish", published, _IMAGE)
        try:
            self._until_it_answers()
        except BaseException:
            self.remove()
            raise

    def kill(self) -> None:
        _docker("kill", "--signal", "KILL", self._name)

    def stop(self) -> None:
        _docker("stop", self._name)

    def start(self) -> None:
        _docker("start", self._name)
        self._until_it_answers()

    @contextmanager
    def frozen(self) -> Generator[None]:
        _docker("pause", self._name)
        try:
            yield
        finally:
            _docker("unpause", self._name)

    def remove(self) -> None:
        _docker("rm", "--force", "--volumes", self._name)

    def _until_it_answers(self) -> None:
        until(f"{self._name} answers", lambda: answers_ping(self.address), _START_SECONDS)


def _docker(*arguments: str) -> None:
    subprocess.run(["docker", *arguments], check=True, capture_output=True, timeout=_START_SECONDS)
