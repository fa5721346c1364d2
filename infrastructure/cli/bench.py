"""`conveyor bench`."""

from __future__ import annotations

import signal
import sys
import time
from enum import StrEnum
from pathlib import Path
from types import FrameType
from typing import Annotated, NoReturn

import orjson
import typer

from infrastructure.bench import (
    BenchError,
    Load,
    Options,
    ServersAwayError,
    run_embedded,
    run_kafka,
)
from infrastructure.cli.failures import Exit
from infrastructure.settings import LogSection, Settings, load_settings
from infrastructure.telemetry import configure_logging

#: As a shell tells it.
_INTERRUPTED = 130
_PROGRESS_SECONDS = 0.5


class Mode(StrEnum):
    """Run modes that can be measured."""

    EMBEDDED = "embedded"
    KAFKA = "kafka"


def bench(
    mode: Annotated[Mode, typer.Option(help="What is measured.")] = Mode.EMBEDDED,
    workflows: Annotated[int, typer.Option(min=1, help="Workflows within the clock.")] = 4000,
    in_flight: Annotated[int, typer.Option(min=1, help="Workflows under way at a time.")] = 1000,
    compensate_share: Annotated[
        float, typer.Option(min=0, max=1, help="Share of workflows that fail and are undone.")
    ] = 0.0,
    rss_at: Annotated[
        str, typer.Option(help="Note the engine's memory at these numbers: 20000,200000.")
    ] = "",
    flushes: Annotated[
        bool, typer.Option("--flushes", help="Count flushes to disk, by strace, in a second run.")
    ] = False,
    profile: Annotated[
        Path | None, typer.Option(help="Write CPU time by function (pstats); figures suffer.")
    ] = None,
) -> None:
    """Measure five-step workflows from start command to end event; the report is JSON.

    Starts its own engine and participant, with topics, group and database of their own, and removes
    all of it. Exits with 0 only if every workflow ended as it should, 3 if a server is away.
    """
    load = Load(workflows=workflows, in_flight=in_flight, compensate_share=compensate_share)
    options = Options(
        rss_at=_numbers(rss_at, workflows),
        flushes=flushes,
        profile=profile,
        progress=_Progress() if sys.stderr.isatty() else _quiet,
        warn=lambda sentence: print(sentence, file=sys.stderr),
    )
    raise typer.Exit(_run(mode, load, options, load_settings()))


def _run(mode: Mode, load: Load, options: Options, settings: Settings) -> int:
    configure_logging(LogSection(level="WARNING"))
    # Not Python's own handler: asyncio would turn that into a cancellation, which a task may lose.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    run = run_kafka if mode is Mode.KAFKA else run_embedded
    try:
        report, is_as_it_should = run(load, options, settings)
    except ServersAwayError as away:
        print(away, file=sys.stderr)
        return Exit.NO_CONNECTION
    except BenchError as fault:
        print(fault, file=sys.stderr)
        return Exit.REFUSED
    except KeyboardInterrupt:
        return _INTERRUPTED
    print(orjson.dumps(report).decode())
    if not is_as_it_should:
        print("not every workflow ended as it should", file=sys.stderr)
        return Exit.REFUSED
    return 0


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _numbers(text: str, workflows: int) -> tuple[int, ...]:
    try:
        numbers = sorted({int(part) for part in text.split(",") if part.strip()})
    except ValueError:
        raise typer.BadParameter(
            f"'{text}' is not a list as 20000,200000", param_hint="--rss-at"
        ) from None
    if numbers and not 1 <= numbers[0] <= numbers[-1] <= workflows:
        raise typer.BadParameter(
            f"{text}: only 1 to {workflows} workflows will have ended; raise --workflows",
            param_hint="--rss-at",
        )
    return tuple(numbers)


def _quiet(_ended: int, _workflows: int) -> None:
    """Nobody watches a terminal."""


class _Progress:
    """How far the run is, on a terminal, seldom enough to cost nothing."""

    def __init__(self) -> None:
        self._next = 0.0

    def __call__(self, ended: int, workflows: int) -> None:
        now = time.monotonic()
        if now >= self._next or ended == workflows:
            self._next = now + _PROGRESS_SECONDS
            end = "\n" if ended == workflows else "\r"
            print(f"{ended} of {workflows} workflows", end=end, file=sys.stderr, flush=True)
