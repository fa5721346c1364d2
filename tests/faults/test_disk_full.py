"""The embedded mode runs out of disk, and gets space again."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import subprocess
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from random import Random
from typing import Any

import httpx
import pytest

from tests.acceptance.programs import Program, until
from tests.faults.customers import Customers
from tests.faults.embedded import dev, expect_no_violations, left_by_a_death, until_ended
from tests.faults.load import orders
from tests.faults.tally import Fault, Tally

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

ORDERS = 300
#: What is left on the disk when it begins to be full.
LEFT_BYTES = 200 * 1024
DISK_BYTES = 64 * 1024 * 1024

#: Takes the space away from a process on a file, and gives it back.
Full = Callable[[Program, Path], AbstractContextManager[None]]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own in memory; only a system that lets this process mount can show it."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, check=False).returncode != 0:
        pytest.skip("no right to mount: ENOSPC was not shown by this run, a size limit was")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def limited(program: Program, file: Path) -> Generator[None]:
    """No file of the process grows further: EFBIG for every write beyond."""
    pid = program.process.pid
    sizes = [each.stat().st_size for each in file.parent.glob(f"{file.name}*")]
    unlimited = resource.RLIM_INFINITY
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (max(sizes) + LEFT_BYTES, unlimited))
    try:
        yield
    finally:
        if program.process.poll() is None:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (unlimited, unlimited))


@contextmanager
def filled(program: Program, file: Path) -> Generator[None]:
    """Something else takes the rest of the disk: ENOSPC."""
    filler = file.with_name("filler")
    with filler.open("wb") as other:
        _take_what_is_free(other.fileno(), file.parent)
    try:
        yield
    finally:
        filler.unlink()


def _take_what_is_free(descriptor: int, folder: Path) -> None:
    """All but a little; the service writes meanwhile, so that what is free may be less when it is taken."""
    left = LEFT_BYTES
    while True:
        try:
            os.posix_fallocate(descriptor, 0, shutil.disk_usage(folder).free - left)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            left += LEFT_BYTES
        else:
            return


def test_a_size_limit_is_reached(tmp_path: Path, rng: Random, tally: Tally) -> None:
    """At the limit nothing is half-written and health says why; without it the same process goes on."""
    tally.add(Fault.DISK, "size limit")
    _expect_recovery(tmp_path, tmp_path / "conveyor.db", limited, rng, tally)


def test_a_disk_is_full(disk: Path, tmp_path: Path, rng: Random, tally: Tally) -> None:
    """The same on a disk that something else has filled."""
    tally.add(Fault.DISK, "full")
    _expect_recovery(tmp_path, disk / "conveyor.db", filled, rng, tally)


def test_killed_while_the_disk_is_full(
    disk: Path, tmp_path: Path, rng: Random, tally: Tally
) -> None:
    """What a process leaves that dies on a full disk is whole, and goes on when there is space."""
    file = disk / "conveyor.db"
    customers = Customers(orders(rng, "order", ORDERS))
    with dev(tmp_path, file) as (program, url), customers.ordering(url):
        customers.until_a_random_moment(rng.randint, ORDERS // 3)
        with filled(program, file):
            _until_told(url, program)
            tally.add(Fault.DISK, "full")
            tally.add(Fault.KILL, "embedded")
            program.kill()
    found = left_by_a_death(file, tmp_path / "copy", customers)
    tally.violations += len(found)
    assert found == []
    with dev(tmp_path, file) as (program, url), customers.ordering(url):
        until_ended(url, customers)
        assert program.stop() == 0

    expect_no_violations(file, tmp_path / "copy", customers, tally)


def _expect_recovery(
    folder: Path,
    file: Path,
    full: Full,
    rng: Random,
    tally: Tally,
) -> None:
    customers = Customers(orders(rng, "order", ORDERS))
    with dev(folder, file, CONVEYOR_LOG__LEVEL="WARNING") as (program, url):
        with customers.ordering(url):
            customers.until_a_random_moment(rng.randint, ORDERS // 3)
            with full(program, file):
                told = _until_told(url, program)
                _until_all_are_refused(customers)
            until("health is well again", lambda: _status(url) == "UP", 60, [program])
            until_ended(url, customers)
        assert program.stop() == 0

    assert "SQLite" in str(told["components"])
    assert '"component": "eventStore"' in program.log
    assert "Traceback" not in program.log
    assert customers.refused.keys() <= {202, 503}
    expect_no_violations(file, folder / "copy", customers, tally)


def _until_told(url: str, program: Program) -> dict[str, Any]:
    """The health document, once it says DOWN."""

    def look() -> dict[str, Any] | None:
        document: dict[str, Any] = httpx.get(f"{url}/health/workflow", timeout=10).json()
        return document if document["status"] == "DOWN" else None

    return until("health tells that the disk is full", look, 60, [program])


def _until_all_are_refused(customers: Customers) -> None:
    """The last bytes may still hold an order or two after a larger write was refused; then ten in a row are refused."""
    answered, refused = -1, 0

    def look() -> bool:
        nonlocal answered, refused
        if len(customers.answered) != answered:
            answered, refused = len(customers.answered), customers.refused.total()
        return customers.refused.total() >= refused + 10

    until("customers are refused", look)


def _status(url: str) -> str:
    status: str = httpx.get(f"{url}/health/workflow", timeout=10).json()["status"]
    return status
