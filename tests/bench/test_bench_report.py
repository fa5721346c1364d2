"""The reports of `make bench`: tables, plot, ratios, and that the page shows the figures that are kept."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from bench import compare, report, run
from tests.waiting import end_of, wait_until

BENCH = Path(__file__).parents[2] / "bench"
DEADLINE_SECONDS = 60.0


def measured(**other: Any) -> dict[str, Any]:
    figures = {
        "workflows": 4000,
        "sagasPerSecond": 1000.0,
        "p50Ms": 100.0,
        "p99Ms": 200.0,
        "cpuMsPerSaga": 1.0,
        "rssMiB": 150.0,
        "flushesPerSaga": None,
        "processes": [
            {"name": "participant", "cpuSeconds": 3.0},
            {"name": "engine", "cpuSeconds": 1.0},
        ],
        "yardstickMs": 25.0,
    }
    return figures | other


KILLED = {
    "openInstances": 10_000,
    "secondsToFirstDecision": 2.0,
    "secondsToAllCompleted": 9.0,
    "rssMiBBefore": 100.0,
    "rssMiBOpen": 220.0,
    "yardstickMs": 25.0,
}
GROWN = [
    {"stored": 10_000, "sagasPerSecond": 900.0, "p50AloneMs": 4.0, "rssMiB": 150.0},
    {"stored": 1_000_000, "sagasPerSecond": 850.0, "p50AloneMs": 4.5, "rssMiB": 155.0},
]
MACHINE = {
    "cpus": 2,
    "cpu": "A CPU",
    "memoryGiB": 8,
    "system": "Linux",
    "python": "3.11",
    "loadAverage": 0.2,
}


TAKEN = {"at": "2026-01-02T03:04:05+00:00", "machine": MACHINE}


def document(**runs: Any) -> dict[str, Any]:
    named = {name.replace("__", ", ").replace("_", " "): run for name, run in runs.items()}
    return {**TAKEN, "runs": named}


def growth(**figures: Any) -> dict[str, Any]:
    """One mode's run, with its own time, machine and yardstick."""
    stored = [{**each, "storedMiB": None} for each in GROWN]
    return {**TAKEN, "growth": stored, "exitCode": 0, "yardstickMs": 25.0, **figures}


def test_tables() -> None:
    """Every sort of run has its table; the ceiling's and the others' are ratios."""
    text = report.markdown(
        document(
            embedded__1000_in_flight=measured(),
            embedded__1000_in_flight__ceiling=measured(sagasPerSecond=4000.0, cpuMsPerSaga=0.25),
            embedded__alone=measured(p50Ms=5.5),
            kafka__killed=KILLED,
            embedded__growth=growth(),
        )
    )

    assert "Taken 2026-01-02 03:04 UTC on 2 cores (A CPU), 8 GiB, Linux, Python 3.11;" in text
    assert "| embedded, 1000 in flight | 1,000 | 100 | 200 | 1 | 0.25 | 150 | - |" in text
    assert "| embedded, 1000 in flight | 4,000 | 25% | 100 | 1.0 | 0.25 | 4.0 |" in text
    assert "| Restate | 620 | 1.6 | 11 | 2.0 |" in text
    assert "| kafka | 10,000 | 2 | 9 | 220 | 120 |" in text
    assert "| embedded | 1,000,000 | 850 | 4.5 | 155 | - |" in text


def test_each_run_of_growth_is_told_with_its_day() -> None:
    """Two runs in one table have two dates, loads and yardsticks."""
    later = {"at": "2026-02-03T04:05:06+00:00", "machine": {**MACHINE, "loadAverage": 1.5}}
    runs = {"embedded, growth": growth(), "kafka, growth": growth(**later, yardstickMs=47.6)}

    first, second = report.markdown({"runs": runs}).splitlines()[2:4]

    assert "embedded: Taken 2026-01-02 03:04 UTC" in first
    assert "load average before: 0.2. Yardstick: 25 ms." in first
    assert "kafka: Taken 2026-02-03 04:05 UTC" in second
    assert "load average before: 1.5, so other work" in second
    assert "Yardstick: 47.6 ms." in second


def test_plot() -> None:
    """The plot is an SVG with a bar for every rate and a line for every mode's growth."""
    baseline = document(
        embedded__1000_in_flight=measured(), embedded__1000_in_flight__ceiling=measured()
    )

    picture = ET.fromstring(report.svg(baseline, document(embedded__growth={"growth": GROWN})))  # noqa: S314 - our own

    space = "{http://www.w3.org/2000/svg}"
    background = 1
    bars = 2 + len(report.PEERS)
    assert len(picture.findall(f".//{space}rect")) == background + bars
    assert len(picture.findall(f".//{space}polyline")) == 1


def test_ratios_do_not_depend_on_the_machine() -> None:
    """A machine half as fast gives the same ratios, and more of the ceiling gives a lower one."""
    quick = {
        "kafka__alone": measured(),
        "kafka__alone__ceiling": measured(sagasPerSecond=2000.0),
        "kafka__killed": KILLED,
    }
    slow = {
        "kafka__alone": measured(
            sagasPerSecond=500.0,
            p50Ms=200.0,
            p99Ms=400.0,
            cpuMsPerSaga=2.0,
            processes=[{"name": "engine", "cpuSeconds": 2.0}],
            yardstickMs=50.0,
        ),
        "kafka__alone__ceiling": measured(sagasPerSecond=1000.0),
        "kafka__killed": {**KILLED, "secondsToAllCompleted": 18.0, "yardstickMs": 50.0},
    }

    ratios = compare.ratios(document(**quick))
    slower = compare.ratios(document(**slow))

    assert ratios["kafka, alone", "ceiling per engine"] == 2.0
    assert ratios["kafka, alone", "p99"] == 8.0
    assert ratios["kafka, alone", "engine CPU per saga"] == 0.01
    assert {key: value for key, value in slower.items() if "ceiling" not in key[0]} == {
        key: value for key, value in ratios.items() if "ceiling" not in key[0]
    }


@pytest.mark.parametrize(
    "page", ["docs/maintainers/performance.md", "README.md", "docs/maintainers/performance.svg"]
)
def test_pages_show_what_is_kept(page: str) -> None:
    """Tables and plot are those of the kept reports: bench/report.py --docs."""
    file = BENCH.parent / page

    pages = report.pages(*report.kept())

    assert file.read_text() == pages[file]


def test_compare_tells_what_is_worse(tmp_path: Path) -> None:
    """Against the baseline a report that is the same passes, and one twice as slow does not."""
    baseline = json.loads((BENCH / "baseline.json").read_text())
    slower = json.loads((BENCH / "baseline.json").read_text())
    for measurement in slower["runs"].values():
        if "p50Ms" in measurement:
            measurement["p50Ms"] *= 2
    same = compared(tmp_path, baseline)
    worse = compared(tmp_path, slower)

    assert same.returncode == 0, same.stdout
    assert worse.returncode == 1
    assert "<- worse" in worse.stdout


def test_compare_looks_at_p99_and_engine_cpu() -> None:
    """A tail that is twice as long and an engine that takes more are worse, with the rest as it was."""
    baseline = compare.ratios(document(kafka__alone=measured()))
    engine = [{"name": "engine", "cpuSeconds": 1.5}]
    now = compare.ratios(document(kafka__alone=measured(p99Ms=401.0, processes=engine)))

    worse = [line for line, is_offence in compare.compared(now, baseline) if is_offence]

    assert [line.split(maxsplit=2)[2].partition("  ")[0] for line in worse] == [
        "engine CPU per saga",
        "p99",
    ]


def test_compare_misses_nothing(tmp_path: Path) -> None:
    """A recipe that the report lacks fails and is told; an empty report fails too; a new recipe is told."""
    baseline = json.loads((BENCH / "baseline.json").read_text())
    runs = {name: run for name, run in baseline["runs"].items() if name != "kafka, killed"}
    another = {"kafka, 7 in flight": baseline["runs"]["kafka, alone"]}

    less = compared(tmp_path, {**baseline, "runs": runs})
    nothing = compared(tmp_path, {**baseline, "runs": {}})
    more = compared(tmp_path, {**baseline, "runs": baseline["runs"] | another})

    assert less.returncode == 1
    missing = [line for line in less.stdout.splitlines() if "missing from the report" in line]
    assert len(missing) == 2
    assert all(line.startswith("kafka, killed") for line in missing)
    assert nothing.returncode == 1
    assert more.returncode == 0
    assert "new: the baseline does not have it" in more.stdout


def compared(folder: Path, report: Any) -> subprocess.CompletedProcess[str]:
    file = folder / "report.json"
    file.write_text(json.dumps(report))
    command = [sys.executable, "-m", "bench.compare", file]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_growth_of_one_mode_keeps_the_other(tmp_path: Path) -> None:
    """A mode's run is written with its own day beside the other mode's, as JSON and as Markdown."""
    output = tmp_path / "growth.json"
    before = {"runs": {name: growth(mode=name) for name in ("embedded, growth", "kafka, growth")}}
    output.write_text(json.dumps(before))
    command = [sys.executable, "-m", "bench.run", "--growth", "--mode", "embedded"]

    done = subprocess.run(
        [*command, "--sizes", "2300", "--output", output],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    runs = json.loads(output.read_text())["runs"]
    assert runs["kafka, growth"] == before["runs"]["kafka, growth"]
    assert [each["stored"] for each in runs["embedded, growth"]["growth"]] == [2300]
    assert runs["embedded, growth"]["at"] > TAKEN["at"]
    tables = output.with_suffix(".md").read_text()
    assert tables in done.stdout
    assert "| embedded | 2,300 |" in tables
    assert done.stdout.splitlines()[-1].endswith("-m bench.report --docs")


def test_what_to_do_with_figures_can_be_done() -> None:
    """The last line of `make bench` names a target and modules that exist, with options they have."""
    line = f"{run.COMPARE} {run.INTO_DOCS}"

    assert "\nbench-compare: " in (BENCH.parent / "Makefile").read_text()
    named = re.findall(r"-m (bench\.\w+) (--\w+)", line)
    assert named == [("bench.compare", "--write"), ("bench.report", "--docs")]
    for module, option in named:
        command = [sys.executable, "-m", module, "--help"]
        usage = subprocess.run(command, capture_output=True, text=True, check=True)
        assert option in usage.stdout


def test_interrupted(tmp_path: Path) -> None:
    """Ctrl-C in the midst of `make bench` removes what the run under way has made; there is no report."""
    output = tmp_path / "report.json"
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    command = [sys.executable, "-m", "bench.run", "--mode", "embedded", "--output", output]
    with subprocess.Popen(command, env={**os.environ, "TMPDIR": str(scratch)}) as process:
        try:
            wait_until(
                "the run has begun",
                lambda: list(scratch.glob("*/bench.db")),
                DEADLINE_SECONDS,
                lambda: end_of(process),
            )

            process.send_signal(signal.SIGINT)

            assert process.wait(DEADLINE_SECONDS) == 130
        finally:
            process.kill()
    assert not output.exists()
    assert list(scratch.iterdir()) == []
