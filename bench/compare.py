"""A report against the baseline, as ratios: figures in units of what the machine did in the same run.

`python -m bench.compare [REPORT]` exits with 1 if something is worse than the baseline by more than
the tolerance, or if a recipe or figure of the baseline is missing; `--write` makes the report the new
baseline (then `python -m bench.report --docs`).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bench.figures import engine_cpu_ms_per_saga, mib_of_open

HERE = Path(__file__).parent
BASELINE = HERE / "baseline.json"
#: Tolerance: two runs on the same quiet machine differ by less.
TOLERANCE = 1.25
#: One pause of the machine decides a p99.
TOLERANCES = {"p99": 2.0}
_CEILING = ", ceiling"

Ratios = dict[tuple[str, str], float]


def ratios(report: Mapping[str, Any]) -> Ratios:
    """(recipe, figure) -> ratio. Lower is always better."""
    runs = report["runs"]
    found: Ratios = {}
    for name, run in runs.items():
        for figure, ratio in _of_run(run):
            found[name, figure] = ratio
        ceiling = runs.get(name + _CEILING)
        if ceiling is not None:
            slower = ceiling["sagasPerSecond"] / run["sagasPerSecond"]
            found[name, "ceiling per engine"] = slower
    return found


def _of_run(run: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    yardstick = run["yardstickMs"]
    if "sagasPerSecond" in run:
        yield "time per saga", 1000 / run["sagasPerSecond"] / yardstick
        yield "p50", run["p50Ms"] / yardstick
        yield "p99", run["p99Ms"] / yardstick
        yield "CPU per saga", run["cpuMsPerSaga"] / yardstick
        yield "engine CPU per saga", engine_cpu_ms_per_saga(run) / yardstick
    if "openInstances" in run:
        yield "time to all completed", run["secondsToAllCompleted"] / yardstick
        yield "memory per open", mib_of_open(run) / run["openInstances"]


def compared(now: Ratios, baseline: Ratios) -> Iterator[tuple[str, bool]]:
    """A line for each figure, and whether it exceeds the tolerance."""
    for key in sorted(now.keys() | baseline.keys()):
        name = f"{key[0]:<34}{key[1]:<24}"
        if key not in now:
            yield f"{name} missing from the report", True
        elif key not in baseline:
            yield f"{name} new: the baseline does not have it", False
        else:
            change = now[key] / baseline[key]
            is_worse = change > TOLERANCES.get(key[1], TOLERANCE)
            mark = "  <- worse" if is_worse else ""
            yield f"{name}{change:>8.2f} x baseline{mark}", is_worse


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("report", type=Path, nargs="?", default=HERE / "report.json")
    parser.add_argument("--write", action="store_true", help="make this report the baseline")
    given = parser.parse_args()
    if not given.report.exists():
        raise SystemExit(f"no {given.report}: `make bench` writes one")
    if given.write:
        BASELINE.write_text(given.report.read_text())
        return 0
    if not BASELINE.exists():
        raise SystemExit("no baseline yet: `make bench` on a quiet machine, then this with --write")
    now = ratios(json.loads(given.report.read_text()))
    baseline = ratios(json.loads(BASELINE.read_text()))
    offences = 0
    for line, is_offence in compared(now, baseline):
        print(line)
        offences += is_offence
    return 1 if offences else 0


if __name__ == "__main__":
    sys.exit(main())
