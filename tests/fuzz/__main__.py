"""`python -m tests.fuzz`: fuzz every target for some time, led by coverage, or replay one input."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".cache" / "fuzz"
NAMES = ("cloudevent", "definition", "mapping", "rest")

_INPUT_BYTES_MAX = 16_384
_INPUT_SECONDS_MAX = 60
_MEMORY_MIB_MAX = 2_048
_EXECUTIONS = re.compile(r"stat::number_of_executed_units:\s+(\d+)")
_COVERAGE = re.compile(r"cov: (\d+)")
_TAIL_LINES = 60


def main() -> int:
    options = _options()
    if options.replay is not None:
        return subprocess.run(
            _child(options.target[0], str(options.replay)), check=False
        ).returncode
    share = max(1, options.seconds // len(options.target))
    failed = [name for name in options.target if not _fuzz(name, share)]
    return 1 if failed else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="for all targets together")
    parser.add_argument("--target", action="append", choices=NAMES, help="default: all")
    parser.add_argument("--replay", type=Path, help="an input that failed; with one --target")
    options = parser.parse_args()
    options.target = options.target or list(NAMES)
    if options.replay is not None and len(options.target) != 1:
        parser.error("--replay needs one --target")
    return options


def _child(name: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "tests.fuzz.child", name, *arguments]


def _fuzz(name: str, seconds: int) -> bool:
    """One target; what it learns stays in its corpus for the next time."""
    corpus = FOLDER / name
    corpus.mkdir(parents=True, exist_ok=True)
    arguments = (
        str(corpus),
        f"-max_total_time={seconds}",
        f"-artifact_prefix={FOLDER / name}-",
        f"-max_len={_INPUT_BYTES_MAX}",
        f"-timeout={_INPUT_SECONDS_MAX}",
        f"-rss_limit_mb={_MEMORY_MIB_MAX}",
        "-print_final_stats=1",
    )
    log = FOLDER / f"{name}.log"
    with log.open("wb") as output:
        status = subprocess.run(
            _child(name, *arguments), stdout=output, stderr=subprocess.STDOUT, check=False
        ).returncode
    text = log.read_text(errors="replace")
    executions = _EXECUTIONS.findall(text) or ["?"]
    coverage = _COVERAGE.findall(text) or ["?"]
    _write(f"{name}: {executions[-1]} inputs, coverage {coverage[-1]}, exit code {status}")
    if status:
        _write("\n".join(text.splitlines()[-_TAIL_LINES:]))
        _write(f"replay: {Path(sys.executable).name} -m tests.fuzz --target {name} --replay <file>")
    return status == 0


def _write(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
