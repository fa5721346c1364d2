"""`python -m tests.fuzz`: property tests on fresh inputs, then every target for some time, led by coverage.

Whatever fails is told with the line that repeats it.
"""

from __future__ import annotations

import argparse
import random
import re
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".cache" / "fuzz"
NAMES = ("cloudevent", "definition", "mapping", "rest")

_INPUT_BYTES_MAX = 16_384
#: Wall time, for what never ends; what an input may cost is `targets.CPU_SECONDS_MAX`.
_INPUT_SECONDS_MAX = 60
_MEMORY_MIB_MAX = 2_048
_EXECUTIONS = re.compile(r"stat::number_of_executed_units:\s+(\d+)")
_COVERAGE = re.compile(r"cov: (\d+)")
_ARTIFACT = re.compile(r"Test unit written to (\S.*)")
_SEED_BITS = 32
_TAIL_LINES = 60


def main() -> int:
    options = _options()
    if options.replay is not None:
        return subprocess.run(
            _child(options.target[0], str(options.replay)), check=False
        ).returncode
    targets = options.target or NAMES
    share = max(1, options.seconds // len(targets))
    passed = [_fuzz(name, share) for name in targets]
    if options.target is None:
        seed = options.seed if options.seed is not None else random.getrandbits(_SEED_BITS)
        passed.append(_properties(seed))
    return 0 if all(passed) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="for all targets together")
    parser.add_argument(
        "--target", action="append", choices=NAMES, help="default: all, and the property tests"
    )
    parser.add_argument("--seed", type=int, help="of the property tests; default: a new one")
    parser.add_argument("--replay", type=Path, help="an input that failed; with one --target")
    options = parser.parse_args()
    if options.replay is not None and len(options.target or ()) != 1:
        parser.error("--replay needs one --target")
    return options


def _properties(seed: int) -> bool:
    """Every property test of the repository, on inputs that the seed makes."""
    command = ["-m", "pytest", "-m", "hypothesis", "--hypothesis-profile=fresh"]
    command.append(f"--hypothesis-seed={seed}")
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    lines = done.stdout.splitlines() or ["no answer"]
    _write(f"property tests: {lines[-1].strip('= ')}, seed {seed}")
    if done.returncode:
        _write(done.stdout + done.stderr)
        _write(f"again: {_python()} {' '.join(command)}")
    return done.returncode == 0


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
        _write(again(name, text))
    return status == 0


def again(name: str, log: str) -> str:
    """The line that repeats what a target's log ends with."""
    artifacts = _ARTIFACT.findall(log)
    if not artifacts:
        return f"no input was kept: {name} did not fail over one"
    file = Path(artifacts[-1])
    if file.is_relative_to(ROOT):
        file = file.relative_to(ROOT)
    return f"again: {_python()} -m tests.fuzz --target {name} --replay {shlex.quote(str(file))}"


def _python() -> str:
    """As one would call it from the repository's folder."""
    executable = Path(sys.executable)
    return str(executable.relative_to(ROOT) if executable.is_relative_to(ROOT) else executable)


def _write(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
