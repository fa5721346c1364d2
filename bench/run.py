"""`make bench`: every recipe in turn, `bench/report.json`, and its tables as Markdown next to it.

`--growth` is `make bench-growth`, where a mode's figures stay until that mode is measured again.
`--mode embedded|kafka` runs the recipes of one mode, `--output` writes elsewhere. The Kafka mode uses
the servers of CONVEYOR_KAFKA__BOOTSTRAP_SERVERS and its like if they are set, else it starts Kafka, the
MongoDB stand-in and Redis for the time of the run.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.recipes.children import dying_with_its_parent
from bench.report import markdown
from bench.yardstick import yardstick_ms
from deploy.local_services import start_kafka, start_mongo, start_redis

HERE = Path(__file__).parent
CONVEYOR = Path(sys.executable).with_name("conveyor")
MODES = ("embedded", "kafka")
#: What one may do with the figures, the last line of the output.
INTO_DOCS = "Into the docs: .venv/bin/python -m bench.report --docs"
COMPARE = (
    "Compare with the baseline: make bench-compare."
    " Make it the baseline: .venv/bin/python -m bench.compare --write."
)


@dataclass(frozen=True, slots=True)
class Recipe:
    """One measurement: options of `conveyor bench`."""

    name: str
    options: tuple[str, ...]


def _load(workflows: int, in_flight: int, *more: str) -> tuple[str, ...]:
    return ("--workflows", str(workflows), "--in-flight", str(in_flight), *more)


_CEILING = ("--recipe", "ceiling")
#: A broker that has just started is compiling itself: what runs first is not reported.
BROKER_WARM_UP = Recipe("broker warm-up", _load(18_000, 1000))
RECIPES = (
    Recipe("1000 in flight", _load(4000, 1000, "--flushes")),
    Recipe("1000 in flight, ceiling", _load(4000, 1000, "--flushes", *_CEILING)),
    Recipe("50 in flight", _load(4000, 50)),
    Recipe("50 in flight, ceiling", _load(4000, 50, *_CEILING)),
    Recipe("alone", _load(200, 1)),
    Recipe("alone, ceiling", _load(200, 1, *_CEILING)),
    Recipe("compensating", _load(4000, 1000, "--compensate-share", "0.1")),
)


_WORKERS = ("--recipe", "workers")
EMBEDDED_ONLY = (
    Recipe("a worker, 1000 in flight", _load(2000, 1000, *_WORKERS)),
    Recipe("a worker, alone", _load(200, 1, *_WORKERS)),
)


def killed(open_workflows: int) -> Recipe:
    return Recipe("killed", ("--recipe", "recovery", "--workflows", str(open_workflows)))


def growing(sizes: str) -> Recipe:
    return Recipe("growth", ("--recipe", "growth", "--sizes", sizes))


def main() -> int:
    given = arguments()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    modes = MODES if given.mode == "both" else (given.mode,)
    try:
        report = measure_growth(given, modes) if given.growth else measure_all(given, modes)
    except KeyboardInterrupt:
        return 130
    given.output.write_text(json.dumps(report, indent=1) + "\n")
    tables = markdown(report)
    given.output.with_suffix(".md").write_text(tables)
    print(tables)
    failed = [name for name, run in report["runs"].items() if run["exitCode"]]
    for name in failed:
        print(f"{name}: not every workflow ended as it should")
    print(INTO_DOCS if given.growth else f"{COMPARE} {INTO_DOCS}")
    return 1 if failed else 0


def measure_all(given: argparse.Namespace, modes: Iterable[str]) -> dict[str, Any]:
    report = taken()
    runs: dict[str, Any] = {}
    for mode in modes:
        more = EMBEDDED_ONLY if mode == "embedded" else ()
        runs |= run_mode(mode, [*RECIPES, *more, killed(given.open)])
    return {**report, "runs": runs}


def measure_growth(given: argparse.Namespace, modes: Iterable[str]) -> dict[str, Any]:
    """Each run has its own time and machine; those of other modes are kept."""
    sizes = {"embedded": given.sizes, "kafka": given.kafka_sizes}
    runs: dict[str, Any] = {}
    if given.output.exists():
        runs = json.loads(given.output.read_text())["runs"]
    for mode in modes:
        when = taken()
        measured = run_mode(mode, [growing(sizes[mode])])
        runs |= {name: {**when, **run} for name, run in measured.items()}
    return {"runs": runs}


def taken() -> dict[str, Any]:
    """What a report says about a run; taken before it, since the run itself is load."""
    return {"at": datetime.now(UTC).isoformat(timespec="seconds"), "machine": machine()}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mode", choices=(*MODES, "both"), default="both")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--open", type=int, default=10_000, help="open workflows at the kill")
    parser.add_argument("--growth", action="store_true", help="only growth, which takes long")
    parser.add_argument("--sizes", default="10000,20000,100000,200000,1000000", help="embedded")
    parser.add_argument("--kafka-sizes", default="10000,20000,100000,200000")
    given = parser.parse_args()
    if given.output is None:
        given.output = HERE / ("growth.json" if given.growth else "report.json")
    return given


def machine() -> dict[str, Any]:
    cpu = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return {
        "cpus": os.cpu_count(),
        "cpu": cpu[0] if cpu else platform.machine(),
        "memoryGiB": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30),
        "system": platform.platform(),
        "python": platform.python_version(),
        "loadAverage": round(os.getloadavg()[0], 1),
    }


def run_mode(mode: str, recipes: Iterable[Recipe]) -> dict[str, dict[str, Any]]:
    with ExitStack() as stack:
        env = dict(os.environ)
        if mode == "kafka":
            if "CONVEYOR_KAFKA__BOOTSTRAP_SERVERS" not in env:
                env |= start_servers(stack)
            measure(mode, BROKER_WARM_UP, env)
        return {f"{mode}, {recipe.name}": measure(mode, recipe, env) for recipe in recipes}


def start_servers(stack: ExitStack) -> dict[str, str]:
    print("Starting Kafka, MongoDB and Redis ...", file=sys.stderr)
    starts = (start_kafka, start_mongo, start_redis)
    kafka, mongo, redis = (stack.enter_context(start()) for start in starts)
    return {
        "CONVEYOR_KAFKA__BOOTSTRAP_SERVERS": kafka.address,
        "CONVEYOR_MONGODB__URI": mongo.address,
        "CONVEYOR_REDIS__URL": redis.address,
    }


def measure(mode: str, recipe: Recipe, env: Mapping[str, str]) -> dict[str, Any]:
    """The report of one `conveyor bench`, with its exit code and the machine's speed just before."""
    print(f"{mode}, {recipe.name} ...", file=sys.stderr)
    speed = yardstick_ms()
    exit_code, output = run([str(CONVEYOR), "bench", "--mode", mode, *recipe.options], env)
    if not output:
        raise SystemExit(f"{mode}, {recipe.name}: no report; exit code {exit_code}")
    return {**json.loads(output), "exitCode": exit_code, "yardstickMs": round(speed, 2)}


def run(command: list[str], env: Mapping[str, str]) -> tuple[int, str]:
    """Exit code and stdout; interrupted, the command cleans up before this one goes on to."""
    with subprocess.Popen(
        [*dying_with_its_parent(), *command],
        env=env,
        stdout=subprocess.PIPE,
        text=True,
        # Ctrl-C is for this process, which stops the command once.
        start_new_session=True,
    ) as process:
        try:
            output, _ = process.communicate()
        except KeyboardInterrupt:
            process.send_signal(signal.SIGINT)
            process.wait()
            raise
        return process.returncode, output


if __name__ == "__main__":
    sys.exit(main())
