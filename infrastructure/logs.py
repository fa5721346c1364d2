"""The destination and format of log lines: JSON for collectors, one line per workflow for people.

Servers log to stdout. Commands whose stdout is their result log to stderr.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, Processor

from infrastructure.printable import json_text, printable, printable_lines
from infrastructure.settings import LogSection

#: Fields that the readable form shows in a fixed place, or not at all.
_PLACED = frozenset(
    ("event", "level", "logger", "timestamp", "exception", "workflowId", "definition", "status")
)
_NOISE = frozenset(("correlationId", "version"))


def configure_logging(settings: LogSection, stream: TextIO | None = None) -> None:
    """Write log lines to the stream (stderr by default) in the form of the settings.

    Lines of libraries, from WARNING on, have the same destination and format.
    """
    out: TextIO = stream or sys.stderr
    level = logging.getLevelNamesMapping()[settings.level]
    form = settings.format
    if form == "auto":
        form = "console" if out.isatty() else "json"
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    render: Processor = (
        structlog.processors.JSONRenderer()
        if form == "json"
        else ReadableLines(with_progress=level <= logging.DEBUG)
    )
    structlog.configure(
        processors=[*shared, _add_name, render],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *names: _NamedLogger(names[0] if names else "conveyor", out),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    # During an outage it would log every refused connection; the service itself logs once which server is away.
    logging.getLogger("librdkafka").setLevel(logging.CRITICAL)


class ReadableLines:
    """Log lines for a terminal: one per workflow that ended, and everything except the progress of workflows."""

    def __init__(self, *, with_progress: bool) -> None:
        self._with_progress = with_progress

    def __call__(self, _logger: Any, _method: str, event: EventDict) -> str:
        """Raises DropEvent for the progress of workflows."""
        workflow = event.get("workflowId")
        status = event.get("status")
        if workflow is not None and event["level"] == "info" and not self._with_progress:
            if status is None:
                raise structlog.DropEvent
            text = f"{workflow}  {event['definition']}  {status}"
        else:
            level = "" if event["level"] == "info" else f"{event['level'].upper()} "
            text = f"{level}{event['event']}" + (f" ({workflow})" if workflow else "")
        shown = {
            name: value
            for name, value in event.items()
            if name not in _PLACED and name not in _NOISE and value is not None
        }
        fields = "".join(f"  {name}={_value(value)}" for name, value in shown.items())
        line = f"{event['timestamp'][11:19]} {printable(text)}{fields}"
        if "exception" in event:
            line += f"\n{printable_lines(event['exception'])}"
        return line


def _value(value: Any) -> str:
    if isinstance(value, dict | list | tuple):
        return json_text(value)  # pyright: ignore[reportUnknownArgumentType] - of any JSON
    return printable(str(value))


class _NamedLogger:
    """A named line writer. A line that cannot be written is dropped, so that logging never stops any work."""

    def __init__(self, name: str, stream: TextIO) -> None:
        self.name = name
        self._stream = stream

    def msg(self, line: str) -> None:
        with contextlib.suppress(
            OSError, ValueError
        ):  # a pipe without a reader, a full disk, a closed stream
            self._stream.write(f"{line}\n")
            self._stream.flush()

    debug = info = warning = error = critical = exception = msg


def _add_name(logger: Any, _method: str, event: EventDict) -> EventDict:
    event["logger"] = getattr(logger, "name", None)
    return event
