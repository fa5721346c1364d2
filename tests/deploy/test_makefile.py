"""What a newcomer types first: `make`, `make run`."""

from __future__ import annotations

import re
import socket
import subprocess

import pytest

from tests.architecture.repository import ROOT


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", "--no-print-directory", *arguments],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def commands(target: str) -> str:
    """What `make` would do for a target in a new clone."""
    done = make("--dry-run", "--always-make", target)
    assert done.returncode == 0, done.stderr
    return done.stdout.replace("\\\n", "")


def test_help_has_no_variable_in_it() -> None:
    """`make` shows texts for people, one for every target."""
    shown = make().stdout

    assert "$" not in shown
    assert re.findall(r"^  make ([a-z-]+)", shown, re.MULTILINE)[:3] == ["help", "setup", "run"]


@pytest.mark.parametrize(
    ("target", "locks"),
    [
        ("run", ["run"]),
        ("test", ["run", "dev", "docs"]),
        ("docs", ["run", "dev", "docs"]),
        ("fuzz", ["run", "dev", "fuzz"]),
    ],
)
def test_a_target_installs_what_it_needs(target: str, locks: list[str]) -> None:
    """Each lock as a whole, by its hashes and without a look outside it; then pip checks the result."""
    lines = commands(target).splitlines()
    installing = [line for line in lines if "-r requirements/" in line]

    assert [re.findall(r"requirements/(\w+)\.txt", line) for line in installing] == [
        [lock] for lock in locks
    ]
    assert all(" --require-hashes --no-deps " in line for line in installing)
    assert sum("pip" in line and " check " in line for line in lines) == len(locks)


def test_the_image_installs_the_same_set_the_same_way() -> None:
    """The image has the versions of `make run`, and pip has checked them."""
    image = (ROOT / "deploy" / "Dockerfile").read_text()

    [installing] = [
        line for line in image.splitlines() if "requirements/run.txt" in line and "pip" in line
    ]
    assert " --require-hashes --no-deps " in installing
    assert "pip check" in image


def test_every_file_of_the_image_reaches_the_build() -> None:
    """What the image copies is in the repository, and its .dockerignore lets it through."""
    image = (ROOT / "deploy" / "Dockerfile").read_text()
    ignore = (ROOT / "deploy" / "Dockerfile.dockerignore").read_text().splitlines()
    copied = [
        source
        for line in image.splitlines()
        if line.startswith("COPY ") and "--from" not in line
        for source in line.split()[1:-1]
    ]

    assert copied
    assert [source for source in copied if not (ROOT / source).exists()] == []
    assert [source for source in copied if f"!{source}" not in ignore] == []


def test_a_taken_port_is_answered_with_what_to_type() -> None:
    """`make run` on a port that another program has names the command for another port."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = make("--assume-old=.venv/.installed-run", "run", f"PORT={port}")

    assert done.returncode != 0
    assert f"Port {port} is taken. Choose another: make run PORT={port + 1}" in done.stderr
    assert "Traceback" not in done.stderr
