"""A report against the baseline, as ratios: figures in units of what the machine did just before.

`python bench/compare.py [REPORT]` exits with 1 if something is worse than the baseline by more than
the tolerance; `--write` makes the report the new baseline.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
BASELINE = HERE / "baseline.json"
#: Two runs on the same quiet machine differ by less.
TOLERANCE = 1.25


def ratios(run: dict[str, Any]) -> dict[str, float]:
    """The figures of one run in yardsticks, all so that less is better."""
    yardstick = run["yardstickMs"]
    return {
        "time per saga": 1000 / run["sagasPerSecond"] / yardstick,
        "p50": run["p50Ms"] / yardstick,
        "CPU per saga": run["cpuMsPerSaga"] / yardstick,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("report", type=Path, nargs="?", default=HERE / "report.json")
    parser.add_argument("--write", action="store_true", help="make this report the baseline")
    given = parser.parse_args()
    runs = json.loads(given.report.read_text())["runs"]
    now = {name: ratios(run) for name, run in runs.items()}
    if given.write:
        rounded = {name: {k: round(v, 5) for k, v in each.items()} for name, each in now.items()}
        BASELINE.write_text(json.dumps(rounded, indent=1) + "\n")
        return 0
    if not BASELINE.exists():
        raise SystemExit("no baseline yet: `make bench` on a quiet machine, then this with --write")
    baseline = json.loads(BASELINE.read_text())
    worst = 0.0
    for name in sorted(now.keys() & baseline.keys()):
        for figure, ratio in now[name].items():
            change = ratio / baseline[name][figure]
            worst = max(worst, change)
            mark = "  <- worse" if change > TOLERANCE else ""
            print(f"{name:<26}{figure:<16}{change:>8.2f} x baseline{mark}")
    return 1 if worst > TOLERANCE else 0


if __name__ == "__main__":
    sys.exit(main())
