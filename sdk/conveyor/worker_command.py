"""`conveyor-worker MODULE:OBJECT`: run a worker of your own code."""

from __future__ import annotations

import argparse
import asyncio
import importlib
import logging
import os
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NoReturn

from conveyor.child_process import CANNOT_START, PARENT
from conveyor.observation import Observer
from conveyor.participant import Participant
from conveyor.reloading import run_again_after_changes
from conveyor.worker import HANDLER_THREAD, Connect, Worker, over_http, over_kafka
from conveyor.worker_settings import (
    BOOTSTRAP_SERVERS,
    REDIS_URL,
    TOPIC_PREFIX,
    kafka_properties,
    redis_address,
)

_METRICS_PORT = "CONVEYOR_WORKER__METRICS_PORT"
_METRICS_HOST = "CONVEYOR_WORKER__METRICS_HOST"
_LOOK_SECONDS = 0.5
_LATE_SECONDS = 2.0
log = logging.getLogger(__name__)

_URL, _API_KEY = "CONVEYOR_URL", "CONVEYOR_API_KEY"

#: Goes on until the event is set.
Work = Callable[[asyncio.Event], Awaitable[None]]


class WrongStart(Exception):
    """The message says what is wrong, and what to do."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Entry point of the script."""
    given = _parser().parse_args(arguments)
    logging.basicConfig(format="%(levelname)s %(message)s", level=logging.WARNING)
    try:
        work = _reloading(given) if given.reload else _serving(given)
    except KeyboardInterrupt:
        sys.exit(130)
    except WrongStart as wrong:
        print(f"conveyor-worker: {wrong}", file=sys.stderr)  # noqa: T201
        sys.exit(CANNOT_START)
    asyncio.run(_until_stopped(work))
    sys.exit(0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="conveyor-worker",
        description="Run the participants of your own code.",
        epilog=f"Over Kafka where {BOOTSTRAP_SERVERS} is set, else over HTTP at --url.",
    )
    parser.add_argument(
        "object", metavar="MODULE:OBJECT", help="a Worker or Participant, e.g. hotel.app:worker"
    )
    parser.add_argument("--url", help=f"the address of `conveyor dev` or the API (or {_URL})")
    parser.add_argument(
        "--reload",
        action="store_true",
        help="start again when a .py file below the working folder changes",
    )
    parser.add_argument(
        "--metrics-port", metavar="N", help=f"serve metrics at this port (or {_METRICS_PORT})"
    )
    parser.add_argument(
        "--metrics-host",
        metavar="HOST",
        help=f"the address to bind to for them (or {_METRICS_HOST}); 127.0.0.1 by default",
    )
    return parser


def _serving(given: argparse.Namespace) -> Work:
    worker = load(given.object, Path.cwd())
    joining = Joining(len(worker.participants))
    connect, where = connection(given.url, os.environ, joining.one_joined)
    observer = metrics(given.metrics_port, given.metrics_host, os.environ)
    joining.ready = f"serves {', '.join(worker.services)} of {where}; Ctrl-C stops it"
    joining.late = f"waits for {where}"
    return partial(_serve, worker, connect, joining, observer)


async def _serve(
    worker: Worker,
    connect: Connect,
    joining: Joining,
    observer: Observer | None,
    stop: asyncio.Event,
) -> None:
    late = asyncio.create_task(joining.say_if_late())
    await worker.run(connect, stop, observer)
    late.cancel()
    if await _handlers_run():
        log.warning(
            "Handlers still run after the grace time. The process ends without them,"
            " and their requests are given out again."
        )
        # Python waits for threads at its end, also for those that never return.
        logging.shutdown()
        sys.stdout.flush()
        os._exit(0)


async def _handlers_run() -> bool:
    """Whether some are left. Threads without work take a moment to end."""
    for _ in range(20):
        if not any(each.name.startswith(HANDLER_THREAD) for each in threading.enumerate()):
            return False
        await asyncio.sleep(0.05)
    return True


class Joining:
    """Says once that the worker takes requests, and before that, if it takes long, what it waits for."""

    def __init__(self, participants: int) -> None:
        self._missing = participants
        self._lock = threading.Lock()
        self.ready = self.late = ""

    def one_joined(self) -> None:
        """One more participant takes requests; called in any thread."""
        with self._lock:
            self._missing -= 1
            if self._missing == 0:
                _say(self.ready)

    async def say_if_late(self) -> None:
        await asyncio.sleep(_LATE_SECONDS)
        with self._lock:
            if self._missing > 0:
                _say(self.late)


def _say(sentence: str) -> None:
    print(f"conveyor-worker {sentence}", flush=True)  # noqa: T201


def _reloading(given: argparse.Namespace) -> Work:
    """What no change of the code can mend ends it now."""
    _parts(given.object)
    connection(given.url, os.environ)
    # No cached bytecode: it would hide a change of the same second and size.
    command = [sys.executable, "-B", "-P", "-m", "conveyor.worker_command", given.object]
    if given.url:
        command += ["--url", given.url]
    if given.metrics_port:
        command += ["--metrics-port", given.metrics_port]
    if given.metrics_host:
        command += ["--metrics-host", given.metrics_host]
    return partial(run_again_after_changes, command, Path.cwd())


async def _until_stopped(work: Work) -> None:
    """SIGTERM, Ctrl-C and the end of the parent stop it."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with asyncio.TaskGroup() as group:
        watching = group.create_task(_end_with_parent(os.environ.get(PARENT), stop))
        await work(stop)
        watching.cancel()


async def _end_with_parent(parent: str | None, stop: asyncio.Event) -> None:
    """A process that was killed leaves no worker behind."""
    while parent is not None and not stop.is_set():
        if str(os.getppid()) != parent:
            stop.set()
        await asyncio.sleep(_LOOK_SECONDS)


def _parts(reference: str) -> tuple[str, str]:
    """The names of module and object. Raises WrongStart."""
    module, _, name = reference.partition(":")
    if not (module and name) or module.startswith(".") or "/" in module:
        raise WrongStart(f"{reference!r} names no object; write MODULE:OBJECT, as hotel.app:worker")
    return module, name


def load(reference: str, folder: Path) -> Worker:
    """The worker of `module:object`, imported as from this folder. Raises WrongStart."""
    module_name, name = _parts(reference)
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as absent:
        if absent.name is None or not f"{module_name}.".startswith(f"{absent.name}."):
            raise WrongStart(f"{module_name} cannot be imported: {_last_line(absent)}") from absent
        raise WrongStart(
            f"there is no module {absent.name} in {folder}; start it where that module is"
        ) from absent
    except SystemExit as ended:
        raise WrongStart(
            f"{module_name} cannot be imported: {_last_line(ended)};"
            " keep what ends the process behind `if __name__ == '__main__':`"
        ) from ended
    except Exception as error:
        raise WrongStart(f"{module_name} cannot be imported: {_last_line(error)}") from error
    found = getattr(module, name, None)
    try:
        if isinstance(found, Participant):
            return Worker(found)
    except ValueError as error:
        raise WrongStart(str(error)) from error
    if isinstance(found, Worker):
        return found
    others = [
        each for each, value in vars(module).items() if isinstance(value, Worker | Participant)
    ]
    hint = f"; it has {', '.join(others)}" if others else ""
    what = "has no" if found is None else f"has {type(found).__name__} as"
    raise WrongStart(f"{module_name} {what} {name}, and needs a Worker or Participant{hint}")


def _last_line(error: BaseException) -> str:
    """The error, with the line of the user's code that raised it."""
    frames = [
        each for each in traceback.extract_tb(error.__traceback__) if "<frozen" not in each[0]
    ]
    place = f" ({frames[-1].filename}, line {frames[-1].lineno})" if len(frames) > 2 else ""
    return f"{type(error).__name__}: {error}{place}"


def connection(
    url: str | None,
    environment: Mapping[str, str],
    on_joined: Callable[[], None] | None = None,
) -> tuple[Connect, str]:
    """How the worker connects, and to what. Raises WrongStart.

    `on_joined` is called once for each participant, in any thread, when it takes requests.
    """
    kafka = environment.get(BOOTSTRAP_SERVERS)
    # An address that is given counts more than Kafka, one of the environment less.
    url = url or (None if kafka else environment.get(_URL))
    try:
        if url:
            name = f"{socket.gethostname()}-{os.getpid()}"
            return over_http(url, name, environment.get(_API_KEY), on_joined=on_joined), url
        if kafka:
            redis = redis_address(environment)
            if redis is None:
                raise WrongStart(f"set {REDIS_URL}: over Kafka, key records are kept in Redis")
            if not redis.startswith(("redis://", "rediss://", "unix://")):
                raise WrongStart(f"{REDIS_URL} is {redis!r}; write redis://127.0.0.1:6379")
            connect = over_kafka(
                kafka,
                redis,
                topic_prefix=environment.get(TOPIC_PREFIX, ""),
                properties=kafka_properties(environment),
                on_joined=on_joined,
            )
            return connect, f"Kafka at {kafka}"
    except (ModuleNotFoundError, ValueError) as fault:
        raise WrongStart(str(fault)) from fault
    raise WrongStart(
        "give --url http://localhost:8080 for `conveyor dev`,"
        f" or set {BOOTSTRAP_SERVERS} and {REDIS_URL}"
    )


def metrics(port: str | None, host: str | None, environment: Mapping[str, str]) -> Observer | None:
    """What serves metrics, where a port is given. Raises WrongStart."""
    port = port or environment.get(_METRICS_PORT)
    host = host or environment.get(_METRICS_HOST) or "127.0.0.1"
    if not port:
        return None
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 2**16):
        raise WrongStart(f"{port!r} is not the port of metrics; write a number from 1 to 65535")
    try:
        from conveyor.worker_metrics import WorkerMetrics  # noqa: PLC0415 - an extra

        found = WorkerMetrics()
        found.serve(host, int(port))
    except ModuleNotFoundError as absent:
        raise WrongStart(str(absent)) from absent
    except OSError as error:
        raise WrongStart(f"metrics cannot be served at {host}:{port}: {error}") from error
    return found


if __name__ == "__main__":
    main()
