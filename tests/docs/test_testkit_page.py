"""The page about tests: its tests pass for the tutorial's booking, and what is planted there is found."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import saved_files, snippets

pytestmark = pytest.mark.e2e

_REPEAT = re.compile(r"Repeat it: (c\.explore\(.*\))$", re.MULTILINE)
#: What becomes of the tutorial's functions.
_BOOK = 'ledger.add(context.idempotency_key, "room")'
_CHARGE = 'ledger.add(context.idempotency_key, "payment")'
_RECEIPT = 'f"R-{context.workflow_id}"'


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The tutorial's files, and the tests of the page."""
    for name, text in saved_files("docs/tutorial/saga.md").items():
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        # These tests are not about the disk.
        file.write_text(
            text.replace("return db", 'db.execute("PRAGMA synchronous = OFF")\n    return db')
        )
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\nasyncio_default_fixture_loop_scope = function\n"
    )
    (tmp_path / "test_booking.py").write_text("\n".join(snippets("docs/howto/test.md", "testkit")))
    return tmp_path


def run_tests(project: Path, *options: str) -> str:
    """What pytest prints."""
    plugin = ["-p", "conveyor.pytest_plugin", "-p", "no:conveyor", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", "-q", *plugin, *options]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def plant(project: Path, old: str, new: str) -> None:
    app = project / "hotel" / "app.py"
    text = app.read_text()
    assert old in text
    app.write_text(text.replace(old, new))
    tests = project / "test_booking.py"
    tests.write_text(tests.read_text().replace("runs=50", "runs=500"))


def check_repetition(project: Path, printed: str) -> None:
    """The printed line, pasted in place of the call, finds the same."""
    [line] = {match[1] for match in _REPEAT.finditer(printed)}
    tests = project / "test_booking.py"
    tests.write_text(re.sub(r"c\.explore\(.*\)", lambda _: line, tests.read_text()))

    again = run_tests(project, "-k", "faults")

    assert finding(again) == finding(printed)


def finding(printed: str) -> list[str]:
    """The lines of the report."""
    return [
        line for line in printed.splitlines() if line.startswith("E  ") and "SagaFault" not in line
    ]


def test_the_tests_of_the_page(project: Path) -> None:
    """All pass."""
    printed = run_tests(project)

    assert "6 passed" in printed, printed


def test_a_planted_double_effect_in_the_tutorial(project: Path) -> None:
    """A payment without its key, with a receipt of its own each time."""
    plant(project, _CHARGE, 'ledger.add(str(count := len(ledger.rows())), "payment")')
    plant(project, _RECEIPT, 'f"R-{count}"')
    with (project / "hotel" / "ledger.py").open("a") as ledger:
        ledger.write("\n\ndef rows():\n    with closing(connect()) as db:\n")
        ledger.write('        return db.execute("SELECT * FROM ledger").fetchall()\n')

    printed = run_tests(project, "-k", "faults")

    assert (
        "payment-service.charge did its effect twice for key hotel-booking-1/payment/1" in printed
    )
    check_repetition(project, printed)


def test_a_planted_missing_undo_in_the_tutorial(project: Path) -> None:
    """A room whose repetition is refused, as by a unique index."""
    refuse = 'raise TerminalError("EXISTS", "there is such a booking")'
    plant(project, _BOOK, f"if not ledger.is_new(context.idempotency_key): {refuse}\n    {_BOOK}")
    with (project / "hotel" / "ledger.py").open("a") as ledger:
        ledger.write("\n\ndef is_new(key):\n    with closing(connect()) as db:\n")
        ledger.write(
            '        return not db.execute("SELECT 1 FROM ledger WHERE key = ?", (key,)).fetchone()\n'
        )

    printed = run_tests(project, "-k", "faults")

    assert "hotel-service.book-room was performed for key hotel-booking-1/room/1" in printed
    assert "never undone" in printed
    check_repetition(project, printed)
