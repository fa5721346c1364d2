"""`make bench`: every recipe in turn, a table, and `bench/report.json`.

`python bench/run.py --mode embedded|kafka` runs the recipes of one mode, `--output` writes elsewhere.
The Kafka mode uses the servers of CONVEYOR_KAFKA__BOOTSTRAP_SERVERS and its like if they are set, else
it starts Kafka, the MongoDB stand-in and Redis for the time of the run.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from yardstick import yardstick_ms

from infrastructure.services import start_kafka, start_mongo, start_redis

HERE = Path(__file__).parent
CONVEYOR = Path(sys.executable).with_name("conveyor")
MODES = ("embedded", "kafka")
#: A broker that has just started is compiling itself: what runs first is not reported.
BROKER_WARM_UP = 12_000


@dataclass(frozen=True, slots=True)
class Recipe:
    """One measurement."""

    name: str
    workflows: int
    in_flight: int
    more: tuple[str, ...] = ()


RECIPES = (
    Recipe("1000 in flight", 4000, 1000, ("--flushes",)),
    Recipe("50 in flight", 4000, 50),
    Recipe("alone", 200, 1),
    Recipe("compensating", 4000, 1000, ("--compensate-share", "0.1")),
)

_COLUMNS = ("sagasPerSecond", "p50Ms", "p99Ms", "cpuMsPerSaga", "rssMiB", "flushesPerSaga")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mode", choices=(*MODES, "both"), default="both")
    parser.add_argument("--output", type=Path, default=HERE / "report.json")
    given = parser.parse_args()
    modes = MODES if given.mode == "both" else (given.mode,)
    report: dict[str, Any] = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {
            "cpus": os.cpu_count(),
            "system": platform.platform(),
            "python": platform.python_version(),
        },
        "runs": {},
    }
    for mode in modes:
        report["runs"].update(run_mode(mode))
    given.output.write_text(json.dumps(report, indent=1) + "\n")
    print_table(report["runs"])
    failed = [name for name, run in report["runs"].items() if run["exitCode"]]
    for name in failed:
        print(f"{name}: not every workflow ended as it should")
    return 1 if failed else 0


def run_mode(mode: str) -> dict[str, Any]:
    with ExitStack() as stack:
        env = dict(os.environ)
        if mode == "kafka":
            if "CONVEYOR_KAFKA__BOOTSTRAP_SERVERS" not in env:
                env |= start_servers(stack)
            measure(mode, Recipe("broker warm-up", BROKER_WARM_UP, 1000), env)
        return {f"{mode}, {recipe.name}": measure(mode, recipe, env) for recipe in RECIPES}


def start_servers(stack: ExitStack) -> dict[str, str]:
    print("Starting Kafka, MongoDB and Redis ...", file=sys.stderr)
    kafka, mongo, redis = (
        stack.enter_context(start()) for start in (start_kafka, start_mongo, start_redis)
    )
    return {
        "CONVEYOR_KAFKA__BOOTSTRAP_SERVERS": kafka.address,
        "CONVEYOR_MONGODB__URI": mongo.address,
        "CONVEYOR_REDIS__URL": redis.address,
    }


def measure(mode: str, recipe: Recipe, env: dict[str, str]) -> dict[str, Any]:
    """The report of one `conveyor bench`, with its exit code and the machine's speed just before."""
    print(f"{mode}, {recipe.name} ...", file=sys.stderr)
    speed = yardstick_ms()
    done = subprocess.run(
        [
            *[CONVEYOR, "bench", "--mode", mode],
            *["--workflows", str(recipe.workflows), "--in-flight", str(recipe.in_flight)],
            *recipe.more,
        ],
        env=env,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if not done.stdout:
        raise SystemExit(f"{mode}, {recipe.name}: no report; exit code {done.returncode}")
    return {**json.loads(done.stdout), "exitCode": done.returncode, "yardstickMs": round(speed, 2)}


def print_table(runs: dict[str, Any]) -> None:
    print_row("", _COLUMNS)
    for name, run in runs.items():
        print_row(name, ["-" if run[column] is None else f"{run[column]:,}" for column in _COLUMNS])


def print_row(name: str, cells: Sequence[str]) -> None:
    print(f"{name:<26}" + "".join(f"{cell:>16}" for cell in cells))


if __name__ == "__main__":
    sys.exit(main())
