"""`conveyor bench`."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from types import FrameType
from typing import Annotated, NoReturn

import orjson
import typer

from application.ports import Document
from bench.recipes import (
    BenchError,
    Load,
    Options,
    ServersAwayError,
    ceiling_embedded,
    ceiling_kafka,
    grow_embedded,
    grow_kafka,
    recover_embedded,
    recover_kafka,
    run_embedded,
    run_kafka,
    run_workers,
)
from infrastructure.cli.failures import Exit
from infrastructure.logs import configure_logging
from infrastructure.settings import LogSection, Settings, load_settings

#: As a shell reports it.
_INTERRUPTED = 130
_PROGRESS_SECONDS = 0.5


class Mode(StrEnum):
    """Run modes that can be measured."""

    EMBEDDED = "embedded"
    KAFKA = "kafka"


class Recipe(StrEnum):
    """What can be measured."""

    THROUGHPUT = "throughput"
    CEILING = "ceiling"
    GROWTH = "growth"
    RECOVERY = "recovery"
    WORKERS = "workers"


#: The report, and whether every workflow ended as it should.
Outcome = tuple[Document, bool]

_LOADED: dict[tuple[Recipe, Mode], Callable[[Load, Options, Settings], Outcome]] = {
    (Recipe.THROUGHPUT, Mode.EMBEDDED): run_embedded,
    (Recipe.THROUGHPUT, Mode.KAFKA): run_kafka,
    (Recipe.CEILING, Mode.EMBEDDED): ceiling_embedded,
    (Recipe.CEILING, Mode.KAFKA): ceiling_kafka,
    (Recipe.WORKERS, Mode.EMBEDDED): run_workers,
}
#: Options that a recipe does not use are refused, not ignored.
_OPTIONS = {
    Recipe.THROUGHPUT: {
        "workflows",
        "in_flight",
        "compensate_share",
        "rss_at",
        "flushes",
        "profile",
    },
    Recipe.CEILING: {"workflows", "in_flight", "rss_at", "flushes", "profile"},
    Recipe.GROWTH: {"sizes"},
    Recipe.RECOVERY: {"workflows"},
    Recipe.WORKERS: {"workflows", "in_flight", "rss_at", "profile"},
}
_GROWING = {Mode.EMBEDDED: grow_embedded, Mode.KAFKA: grow_kafka}


def bench(
    context: typer.Context,
    mode: Annotated[Mode, typer.Option(help="What is measured.")] = Mode.EMBEDDED,
    recipe: Annotated[
        Recipe,
        typer.Option(help="How: as it is, without an engine, growing, killed, or by a worker."),
    ] = Recipe.THROUGHPUT,
    workflows: Annotated[
        int, typer.Option(min=1, help="Workflows within the clock; open ones of a recovery.")
    ] = 4000,
    in_flight: Annotated[int, typer.Option(min=1, help="Workflows under way at a time.")] = 1000,
    compensate_share: Annotated[
        float, typer.Option(min=0, max=1, help="Share of workflows that fail and are undone.")
    ] = 0.0,
    sizes: Annotated[
        str, typer.Option(help="Numbers of stored workflows at which growth is measured.")
    ] = "10000,20000",
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
    _refuse_useless(context, recipe)
    stored = _numbers(sizes, "--sizes")
    options = Options(
        rss_at=_numbers(rss_at, "--rss-at", workflows),
        flushes=flushes,
        profile=profile,
        progress=_Progress() if sys.stderr.isatty() else _quiet,
        warn=lambda sentence: print(sentence, file=sys.stderr),
    )
    settings = load_settings()

    def measure() -> Outcome:
        if recipe is Recipe.GROWTH:
            return _GROWING[mode](stored, options, settings)
        if recipe is Recipe.RECOVERY:
            if mode is Mode.EMBEDDED:
                return recover_embedded(workflows, options)
            return recover_kafka(workflows, options, settings)
        if (recipe, mode) not in _LOADED:
            raise typer.BadParameter(
                f"{recipe.value} is measured embedded only", param_hint="--mode"
            )
        return _LOADED[recipe, mode](load, options, settings)

    raise typer.Exit(_run(measure))


def _run(measure: Callable[[], Outcome]) -> int:
    configure_logging(LogSection(level="WARNING"))
    # Not Python's own handler: asyncio would turn that into a cancellation, which a task may lose.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    try:
        report, is_as_it_should = measure()
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


def _refuse_useless(context: typer.Context, recipe: Recipe) -> None:
    for name in context.params.keys() - _OPTIONS[recipe] - {"mode", "recipe"}:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            option = f"--{name.replace('_', '-')}"
            raise typer.BadParameter(f"{recipe.value} has no use for it", param_hint=option)


def _numbers(text: str, option: str, highest: int | None = None) -> tuple[int, ...]:
    try:
        numbers = sorted({int(part) for part in text.split(",") if part.strip()})
    except ValueError:
        raise typer.BadParameter(
            f"'{text}' is not a list as 20000,200000", param_hint=option
        ) from None
    if numbers and numbers[0] < 1:
        raise typer.BadParameter(f"{text}: numbers are from 1 on", param_hint=option)
    if numbers and highest is not None and numbers[-1] > highest:
        raise typer.BadParameter(
            f"{text}: only 1 to {highest} workflows will have ended; raise --workflows",
            param_hint=option,
        )
    return tuple(numbers)


def _quiet(_ended: int, _workflows: int) -> None:
    """No progress: there is no terminal."""


class _Progress:
    """Shows progress on a terminal, rarely enough to cost nothing."""

    def __init__(self) -> None:
        self._next = 0.0

    def __call__(self, ended: int, workflows: int) -> None:
        now = time.monotonic()
        if now >= self._next or ended == workflows:
            self._next = now + _PROGRESS_SECONDS
            end = "\n" if ended == workflows else "\r"
            print(f"{ended} of {workflows} workflows", end=end, file=sys.stderr, flush=True)
