"""The commands that run servers, or prepare what they need.

Each imports its code when it is called, so that client commands start without the servers' libraries.
"""
# ruff: noqa: PLC0415

from __future__ import annotations

import errno
import logging
import signal
import socket
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO, cast

import typer

from infrastructure.cli.failures import Exit, fail
from infrastructure.cli.options import Form, Output
from infrastructure.cli.output import note, write

if TYPE_CHECKING:
    from infrastructure.settings import Settings

Host = Annotated[str, typer.Option(help="The address to bind to.")]
Port = Annotated[int, typer.Option(min=1, max=65535)]
Insecure = Annotated[
    bool, typer.Option("--insecure", help="Warn of what is insecure instead of refusing it.")
]


def dev(
    host: Host = "127.0.0.1",
    port: Port = 8080,
    db: Annotated[Path, typer.Option(help="The database file.")] = Path("conveyor.db"),
    orders_per_second: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=10_000,
            help="Simulated orders per second; 0 for none.",
            show_default="1; without a warehouse 0",
        ),
    ] = None,
    no_warehouse: Annotated[
        bool, typer.Option("--no-warehouse", help="Without the simulated services.")
    ] = False,
    worker: Annotated[
        str | None,
        typer.Option(metavar="MODULE:OBJECT", help="Run this worker of your own code, too."),
    ] = None,
    reload: Annotated[
        bool,
        typer.Option("--reload", help="Start the worker again when its code changes."),
    ] = False,
    definitions: Annotated[
        Path | None,
        typer.Option(help="A folder of definitions to register, again when a file changes."),
    ] = None,
) -> None:
    """Try Conveyor: everything in one process on one file, with a simulated warehouse."""
    settings = _settings(sys.stdout)
    _refuse_taken(host, port, "--port, or make run PORT=")
    if orders_per_second is None:
        # Nobody would carry them out.
        orders_per_second = 0.0 if no_warehouse else 1.0
    from infrastructure.embedded import run_dev

    run_to_end(
        run_dev(
            settings,
            db=db,
            host=host,
            port=port,
            orders_per_second=orders_per_second,
            with_warehouse=not no_warehouse,
            worker=worker,
            reload=reload,
            definitions=definitions,
        )
    )


def serve(
    roles: Annotated[str, typer.Option(help="Any of engine, api, workers; separated by commas.")],
    host: Host = "127.0.0.1",
    port: Port = 8080,
    health_port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="Health and metrics on a port of their own."),
    ] = None,
    insecure: Insecure = False,
) -> None:
    """Run roles of the service on Kafka, MongoDB and Redis."""
    settings = server_settings(sys.stdout)
    from infrastructure.roles import ROLES, serve_http
    from infrastructure.serve import run_serve

    wanted = [role.strip() for role in roles.split(",") if role.strip()]
    if serve_http([ROLES[name] for name in wanted if name in ROLES]):
        _refuse_taken(host, port, "--port")
    if health_port is not None:
        _refuse_taken(host, health_port, "--health-port")
    run_to_end(
        run_serve(
            settings, wanted, host=host, port=port, health_port=health_port, insecure=insecure
        )
    )


def init(
    partitions: Annotated[
        int,
        typer.Option(min=1, max=10_000, help="Partitions of the inbox; fixed by the first init."),
    ] = 12,
    replication_factor: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=100,
            help="Copies of each message. Default: 3, or fewer if there are fewer brokers.",
        ),
    ] = None,
    insecure: Insecure = False,
    output: Output = Form.TABLE,
) -> None:
    """Prepare Kafka and MongoDB: topics, indexes, shipped definitions. May be repeated."""
    settings = server_settings(sys.stderr)
    from infrastructure.initialise import run_init

    layout = run_to_end(run_init(settings, partitions, replication_factor, insecure=insecure))
    document = {"partitions": layout.partitions, "topics": dict(layout.topic_ids)}
    write(output, document, {"partitions": layout.partitions, "inbox": ", ".join(layout.topic_ids)})


def warehouse(
    failure_rate: Annotated[
        float, typer.Option(min=0, max=1, help="Share of attempts that fail and are retried.")
    ] = 0.0,
    latency_ms: Annotated[
        int, typer.Option(min=0, max=3_600_000, help="How long every step takes at least.")
    ] = 0,
    journal: Annotated[
        Path | None, typer.Option(help="A file that gets a line of JSON for each effect.")
    ] = None,
) -> None:
    """Run the simulated services over Kafka."""
    if journal is not None:
        _refuse_unwritable(journal)
    settings = server_settings(sys.stdout)
    from infrastructure.warehouse_kafka import run_warehouse

    run_to_end(
        run_warehouse(settings, journal=journal, failure_rate=failure_rate, latency_ms=latency_ms)
    )


def server_settings(log_stream: TextIO) -> Settings:
    """The settings for Kafka, MongoDB and Redis. Raises SettingsError."""
    settings = _settings(log_stream)
    from infrastructure.drivers import require_usable

    require_usable(settings)
    return settings


def _settings(log_stream: TextIO) -> Settings:
    """The settings, and log lines on that stream. Raises SettingsError."""
    import structlog

    from infrastructure.logs import configure_logging
    from infrastructure.settings import load_settings

    settings = load_settings()
    configure_logging(settings.log, log_stream)
    for variable in settings.without_effect():
        structlog.get_logger("conveyor").warning("this setting has no effect yet", setting=variable)
    return settings


def _refuse_taken(host: str, port: int, options: str) -> None:
    """Refuse a port that another process uses, before anything is started."""
    try:
        socket.create_server((host, port), family=_family(host)).close()
    except OSError as fault:
        if fault.errno == errno.EADDRINUSE:
            fail(f"port {port} of {host} is taken; choose another: {options}", Exit.USAGE)
        fail(f"{host}:{port} cannot be served: {fault.strerror}", Exit.USAGE)


def _refuse_unwritable(journal: Path) -> None:
    try:
        journal.open("ab").close()
    except OSError as fault:
        fail(f"--journal {journal} cannot be written: {fault.strerror}", Exit.USAGE)


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def run_to_end(work: Coroutine[Any, Any, Any]) -> Any:
    """The result of the work. Ends the command with a sentence if an operator has to fix something."""
    import uvloop
    from conveyor.errors import ServerUnavailableError

    from adapters.kafka.errors import TopicMismatchError
    from adapters.sqlite.file import UnusableFileError
    from adapters.sqlite.verification import NoStoreError
    from application.ports import SetupError, Unavailable
    from domain.aggregate.kind import HistoryError

    sentences: list[str] = []
    code = Exit.USAGE
    try:
        return uvloop.run(work)
    except* (
        SetupError,
        HistoryError,
        UnusableFileError,
        NoStoreError,
        TopicMismatchError,
    ) as wrong:
        sentences = [str(fault) for fault in _leaves(wrong)]
    except* (Unavailable, ServerUnavailableError) as away:
        sentences += [_away(fault) for fault in _leaves(away)]
        code = Exit.NO_CONNECTION
    note("\n".join(sentences))
    raise typer.Exit(code)


_ADDRESSES = {
    "kafka": "CONVEYOR_KAFKA__BOOTSTRAP_SERVERS",
    "eventStore": "CONVEYOR_MONGODB__URI",
    "redis": "CONVEYOR_REDIS__URL",
}


def _away(fault: BaseException) -> str:
    """The failure, with the setting that names the server."""
    setting = _ADDRESSES.get(getattr(fault, "component", ""))
    return f"{fault}; is it running there? ({setting})" if setting else str(fault)


def _leaves(fault: BaseException) -> list[BaseException]:
    if not isinstance(fault, BaseExceptionGroup):
        return [fault]
    group = cast("BaseExceptionGroup[BaseException]", fault)
    return [leaf for inner in group.exceptions for leaf in _leaves(inner)]


def test_engine() -> None:
    """The engine of the SDK's test kit: commands on stdin, responses on stdout."""
    import structlog

    from infrastructure.lockstep.server import serve

    # The tests look at the workflows; a log of every one would hide their own output.
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    # Ctrl-C stops the tests; this process ends with them, when its stdin does.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    serve(sys.stdin.buffer, sys.stdout.buffer)
