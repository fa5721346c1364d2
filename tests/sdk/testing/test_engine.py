"""The engine's process: found, shared by the tests of a session, and gone with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conveyor.testing import Conveyor, EngineError
from conveyor.testing import engine as process

from tests.sdk.testing.hotel import DEFINITION, Town
from tests.waiting import wait_until

TRIP = {"guest": "Ada", "nights": 2}

PROGRAM = """
import sys
from conveyor.testing import Conveyor
from conveyor.testing.engine import shared_engine

with Conveyor(definitions=[]):
    print(shared_engine().pid, flush=True)
    sys.stdin.read()
"""


def is_running(pid: int) -> bool:
    """A process that nobody has waited for is not."""
    try:
        return ") Z" not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


async def test_a_killed_engine_is_named_and_the_next_test_has_another() -> None:
    """The sentence says what happened; nothing is left of it."""
    async with Conveyor(*Town().participants, definitions=[DEFINITION]) as c:
        killed = process.shared_engine().pid
        os.kill(killed, signal.SIGKILL)

        with pytest.raises(EngineError, match=r"has ended \(exit code -9\)"):
            await c.run("hotel-booking", TRIP)

    async with Conveyor(*Town().participants, definitions=[DEFINITION]) as c:
        assert (await c.run("hotel-booking", TRIP)).status == "COMPLETED"
        assert process.shared_engine().pid != killed


async def test_an_engine_that_fails_shows_its_words() -> None:
    """Its traceback is part of the error."""
    async with Conveyor():
        with pytest.raises(EngineError, match=r"(?s)exit code 1.*Traceback"):
            process.shared_engine().call("nonsense", world=1)


async def test_an_interrupted_command_ends_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its response would be taken for that of the next command."""

    def interrupted(_: object) -> bytes:
        raise KeyboardInterrupt

    async with Conveyor():
        engine = process.shared_engine()
        with monkeypatch.context() as patch:
            patch.setattr(type(engine), "_receive", interrupted)
            with pytest.raises(KeyboardInterrupt):
                engine.call("close", world=1)

    assert process.shared_engine() is not engine


def test_the_engine_ends_with_its_tests_also_when_they_are_killed() -> None:
    """Each process of tests has its own, as with xdist; the end of its input ends it."""
    programs = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for _ in range(2)
    ]
    engines = [int(each.stdout.readline()) for each in programs if each.stdout is not None]
    assert len(set(engines)) == 2

    programs[0].kill()
    programs[0].communicate()
    programs[1].communicate()

    for engine in engines:
        wait_until("its engine has ended", lambda engine=engine: not is_running(engine))
    assert programs[1].returncode == 0


def test_without_the_service_a_sentence_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nothing next to Python, nothing on PATH, no variable."""
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv(process.VARIABLE, raising=False)

    with pytest.raises(EngineError, match="install conveyor-orchestrator"):
        process.Engine()


def test_a_variable_names_the_program(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It goes before the others, and a wrong one is reported."""
    monkeypatch.setenv(process.VARIABLE, str(tmp_path / "none"))

    with pytest.raises(EngineError, match="does not start"):
        process.Engine()
