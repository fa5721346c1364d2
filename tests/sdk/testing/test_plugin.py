"""The fixture `conveyor`, in tests of a user's own project."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.sdk.testing.hotel import DEFINITION

STUBS = """
    c.service("hotel").answers("reserve", {"room": 7}).answers("confirm")
    c.service("payment").answers("charge", {"payment": "p"})
"""
PLAIN = f"""
def test_a_booking(conveyor):
    with conveyor(definitions=["definitions/trip.yaml"]) as c:
        book(c)
        run = c.run("hotel-booking", {{"guest": "Ada", "nights": 1}})
        assert run.output == {{"room": 7, "payment": "p"}}

def book(c):{STUBS}
"""
ASYNC = PLAIN.replace("def test", "{marks}async def test").replace("with conv", "async with conv")
ASYNC = ASYNC.replace("c.run(", "await c.run(")


def run_pytest(folder: Path, test: str, *options: str) -> subprocess.CompletedProcess[str]:
    """In a project with nothing but a test and a definition."""
    (folder / "definitions").mkdir()
    (folder / "definitions" / "trip.yaml").write_text(DEFINITION)
    (folder / "pytest.ini").write_text("[pytest]\nasyncio_default_fixture_loop_scope = function\n")
    (folder / "test_booking.py").write_text(test)
    plugins = ["-p", "conveyor.pytest_plugin", "-p", "no:conveyor", *options]
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", *plugins, "test_booking.py"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_a_plain_test_needs_no_other_plugin(tmp_path: Path) -> None:
    """Definitions are found from the root folder."""
    done = run_pytest(
        tmp_path, PLAIN, "-p", "no:asyncio", "-W", "ignore::pytest.PytestConfigWarning"
    )

    assert "1 passed" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("mode", "marks"),
    [("auto", ""), ("strict", "import pytest\n@pytest.mark.asyncio\n")],
)
def test_async_tests(tmp_path: Path, mode: str, marks: str) -> None:
    """In both modes of pytest-asyncio."""
    done = run_pytest(tmp_path, ASYNC.replace("{marks}", marks), f"--asyncio-mode={mode}")

    assert "1 passed" in done.stdout, done.stdout + done.stderr


def test_a_failed_assertion_shows_why(tmp_path: Path) -> None:
    """The handle is printed with the failures of its steps."""
    test = PLAIN.replace(
        '.answers("charge", {"payment": "p"})', '.fails("charge", code="DECLINED")'
    )
    test = test.replace('.answers("confirm")', '.answers("release").answers("is-free")')

    done = run_pytest(tmp_path, test.replace("run.output", "run.status"))

    assert "1 failed" in done.stdout
    assert "<Run hotel-booking-1 COMPENSATED; charge FAILED, DECLINED" in done.stdout
