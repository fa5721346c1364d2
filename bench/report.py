"""Figures for people: tables and a plot of a report, and pages from those that are kept.

`python -m bench.report` shows bench/report.json as Markdown. `--docs` writes what stands between the
marks in README.md and docs/maintainers/performance.md, and the plot next to it, from bench/baseline.json and
bench/growth.json.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.figures import engine_cpu_ms_per_saga, mib_of_open
from bench.plot import Bar, Line, bars, lines, stacked

HERE = Path(__file__).parent
BASELINE = HERE / "baseline.json"
GROWTH = HERE / "growth.json"
PAGE = HERE.parent / "docs" / "maintainers" / "performance.md"
PLOT = HERE.parent / "docs" / "maintainers" / "performance.svg"
README = HERE.parent / "README.md"
MARKS = ("<!-- figures: written by bench/report.py -->\n", "<!-- end of figures -->\n")

#: Sagas per second and ms alone of others, five steps, on two cores of the same kind.
PEERS = {
    "Restate": (620, 11),
    "LittleHorse": (130, 18),
    "DBOS on PostgreSQL": (67, 16),
    "Temporal, tuned dev server": (20, 84),
    "Temporal, dev server": (10, 550),
}
MODES = ("embedded", "kafka")
#: Runnable processes on average, below which a machine has nothing else to do.
_QUIET = 1.0
_CEILING = ", ceiling"
_LOADS = (
    "1000 in flight",
    "50 in flight",
    "alone",
    "compensating",
    "a worker, 1000 in flight",
    "a worker, alone",
)
Report = Mapping[str, Any]
#: Of each column the field, or how the figure follows from several.
Columns = Mapping[str, str | Callable[[Report], float]]

_FIGURES: Columns = {
    "sagas/s": "sagasPerSecond",
    "p50 ms": "p50Ms",
    "p99 ms": "p99Ms",
    "CPU ms per saga": "cpuMsPerSaga",
    "engine CPU ms per saga": engine_cpu_ms_per_saga,
    "RSS MiB": "rssMiB",
    "flushes per saga": "flushesPerSaga",
}
_IN_SHORT = ("sagas/s", "p50 ms", "p99 ms", "CPU ms per saga", "engine CPU ms per saga")
_KILLED: Columns = {
    "open": "openInstances",
    "s to first decision": "secondsToFirstDecision",
    "s to all completed": "secondsToAllCompleted",
    "RSS MiB": "rssMiBOpen",
    "MiB for the open ones": mib_of_open,
}
_GROWN: Columns = {
    "stored": "stored",
    "sagas/s": "sagasPerSecond",
    "p50 ms alone": "p50AloneMs",
    "RSS MiB": "rssMiB",
    "stored MiB": "storedMiB",
}


def markdown(report: Report) -> str:
    """Every table that the report has figures for."""
    runs = report["runs"]
    parts = [*_loads(runs), *_ceilings(runs)]
    # Of growth each run has its own: they take long, and are measured on different days.
    if "machine" in report:
        parts.insert(0, _taken(report))
        if report["machine"]["loadAverage"] < _QUIET:
            # Others were measured on a machine of their own.
            parts += _peers(runs)
    return "\n\n".join([*parts, *_kills(runs), *_growth(runs)]) + "\n"


def _taken(measured: Report) -> str:
    """When, where, and during what other work."""
    machine = measured["machine"]
    return (
        f"Taken {measured['at'][:16].replace('T', ' ')} UTC on {machine['cpus']} cores ({machine['cpu']}),"
        f" {machine['memoryGiB']} GiB, {machine['system']}, Python {machine['python']};"
        f" load average before: {machine['loadAverage']}{_advice(machine['loadAverage'])}."
    )


def _advice(load: float) -> str:
    """A machine that others use shows ratios at best."""
    return (
        ""
        if load < _QUIET
        else ", so other work took most of the machine: only CPU and memory mean something"
    )


def in_short(report: Report) -> str:
    """One table of how fast, for who has just arrived."""
    runs = report["runs"]
    columns = {name: _FIGURES[name] for name in _IN_SHORT}
    rows = [
        [name, *_cells(runs[name], columns), _number(_ceiling_of(name, runs))]
        for name in _loaded(runs)
    ]
    heads = ["", *columns, "ceiling sagas/s"]
    return f"{_taken(report)}\n\n{_table(None, heads, rows)}"


def _ceiling_of(name: str, runs: Report) -> float | None:
    return runs.get(name + _CEILING, {}).get("sagasPerSecond")


def _loaded(runs: Report) -> list[str]:
    return [f"{mode}, {load}" for mode in MODES for load in _LOADS if f"{mode}, {load}" in runs]


def _loads(runs: Report) -> Iterator[str]:
    names = _loaded(runs)
    if names:
        rows = [[name, *_cells(runs[name], _FIGURES)] for name in names]
        yield _table("Under load and alone", ["", *_FIGURES], rows)


def _ceilings(runs: Report) -> Iterator[str]:
    rows: list[list[str]] = []
    for name, ceiling in runs.items():
        measured = runs.get(name.removesuffix(_CEILING))
        if name.endswith(_CEILING) and measured is not None:
            rows.append([name.removesuffix(_CEILING), *_against(measured, ceiling)])
    if rows:
        heads = ["", "ceiling sagas/s", "reached", "ceiling p50 ms", "p50 in ceilings"]
        heads += ["ceiling CPU ms per saga", "CPU in ceilings"]
        yield _table(
            "Compared with the ceiling: the same messages and writes without an engine", heads, rows
        )


def _against(measured: Report, ceiling: Report) -> Iterator[str]:
    yield _number(ceiling["sagasPerSecond"])
    yield f"{measured['sagasPerSecond'] / ceiling['sagasPerSecond']:.0%}"
    for figure in ("p50Ms", "cpuMsPerSaga"):
        yield _number(ceiling[figure])
        yield f"{measured[figure] / ceiling[figure]:.1f}"


def _peers(runs: Report) -> Iterator[str]:
    pairs = {
        mode: (runs[f"{mode}, 1000 in flight"]["sagasPerSecond"], runs[f"{mode}, alone"]["p50Ms"])
        for mode in MODES
        if f"{mode}, 1000 in flight" in runs and f"{mode}, alone" in runs
    }
    if pairs:
        rows = [
            [
                peer,
                _number(sagas),
                *(f"{own / sagas:.1f}" for own, _ in pairs.values()),
                _number(alone),
                *(f"{alone / own:.1f}" for _, own in pairs.values()),
            ]
            for peer, (sagas, alone) in PEERS.items()
        ]
        times = [f"× {mode}" for mode in pairs]
        heads = ["", "sagas/s", *times, "p50 ms alone", *times]
        yield _table("Compared with others: × is how many times as fast Conveyor is", heads, rows)


def _kills(runs: Report) -> Iterator[str]:
    rows = [
        [mode, *_cells(runs[f"{mode}, killed"], _KILLED)]
        for mode in MODES
        if f"{mode}, killed" in runs
    ]
    if rows:
        yield _table("Killed while workflows were open", ["", *_KILLED], rows)


def _growth(runs: Report) -> Iterator[str]:
    grown = {mode: runs[f"{mode}, growth"] for mode in MODES if f"{mode}, growth" in runs}
    if grown:
        rows = [
            [mode, *_cells(size, _GROWN)] for mode, run in grown.items() for size in run["growth"]
        ]
        notes = [
            f"- {mode}: {_taken(run)} Yardstick: {_number(run['yardstickMs'])} ms."
            for mode, run in grown.items()
        ]
        yield _table("With more and more stored workflows", ["", *_GROWN], rows, notes)


def _cells(figures: Report, columns: Columns) -> list[str]:
    return [
        _number(figures[column] if isinstance(column, str) else column(figures))
        for column in columns.values()
    ]


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:,.3g}"


def _table(
    title: str | None,
    heads: Sequence[str],
    rows: Iterable[Sequence[str]],
    notes: Sequence[str] = (),
) -> str:
    rule = ["---", *["---:"] * (len(heads) - 1)]
    table = [f"| {' | '.join(cells)} |" for cells in (heads, rule, *rows)]
    parts = ([f"**{title}**"] if title else [], notes, table)
    return "\n\n".join("\n".join(part) for part in parts if part)


def svg(report: Report, growth: Report | None) -> str:
    """Sagas per second with ceilings and peers, and how they change with what is stored."""
    runs = report["runs"]
    rates: list[Bar] = []
    for mode in MODES:
        for kind in (_CEILING, ""):
            run = runs.get(f"{mode}, 1000 in flight{kind}")
            if run is not None:
                style = "ceiling" if kind else "own"
                rates.append(Bar(f"{mode}{kind}", run["sagasPerSecond"], style))
    rates += [Bar(peer, sagas, "peer") for peer, (sagas, _) in PEERS.items()]
    parts = [bars("Sagas per second, 1,000 in flight", rates)]
    if growth is not None:
        courses = [
            Line(mode, [(each["stored"], each["sagasPerSecond"]) for each in grown["growth"]])
            for mode in MODES
            if (grown := growth["runs"].get(f"{mode}, growth")) is not None
        ]
        parts.append(lines("Sagas per second by workflows stored", courses))
    return stacked(parts)


def kept() -> tuple[Report, Report | None]:
    """Baseline and growth."""
    growth = json.loads(GROWTH.read_text()) if GROWTH.exists() else None
    return json.loads(BASELINE.read_text()), growth


def pages(baseline: Report, growth: Report | None) -> dict[Path, str]:
    """What each page and the plot have to contain."""
    figures = markdown(baseline)
    if growth is not None:
        figures += "\n" + markdown(growth)
    return {
        PAGE: _page_with(PAGE.read_text(), figures),
        README: _page_with(README.read_text(), in_short(baseline) + "\n"),
        PLOT: svg(baseline, growth),
    }


def _page_with(text: str, figures: str) -> str:
    """The page with new figures between its marks."""
    before, _, rest = text.partition(MARKS[0])
    _, _, after = rest.partition(MARKS[1])
    return f"{before}{MARKS[0]}\n{figures}\n{MARKS[1]}{after}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("report", type=Path, nargs="?", default=HERE / "report.json")
    parser.add_argument("--docs", action="store_true", help="write the pages and the plot")
    given = parser.parse_args()
    if given.docs:
        for page, text in pages(*kept()).items():
            page.write_text(text)
        return 0
    print(markdown(json.loads(given.report.read_text())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
