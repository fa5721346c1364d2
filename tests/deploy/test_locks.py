"""Each pinned set is complete: pip installs it with --no-deps, so nothing else would bring what it lacks."""

from __future__ import annotations

from importlib.metadata import version

import pytest
from packaging.requirements import Requirement

from tests.deploy.locks import (
    HERE,
    applies,
    dependencies,
    group,
    offences,
    on_python,
    pins,
    version_of,
)

#: The first and a late release of each Python that Conveyor supports; Debian 12 has 3.11.2.
PYTHONS = ["3.11.2", "3.11.14", "3.12.12", "3.13.5", "3.13.11"]


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize(("lock", "groups"), [("run.txt", ["build"]), ("dev.txt", ["dev"])])
def test_a_lock_is_complete(lock: str, groups: list[str], python: str) -> None:
    """Every requirement of every pinned distribution, with extras, is pinned in the same file."""
    roots = [each for name in groups for each in group(name)]
    roots += dependencies("pyproject.toml")

    assert list(offences(pins(lock), roots, on_python(python))) == []


def test_what_is_installed_is_what_is_pinned() -> None:
    """The requirements that these tests read are those of the pinned versions."""
    lock = pins("dev.txt")

    here = {name: pin for name, pin in lock.items() if applies(pin, HERE)}

    assert {name: version(name) for name in here} == {
        name: version_of(pin) for name, pin in here.items()
    }


def test_the_fuzzer_is_pinned() -> None:
    """Only `make fuzz` installs it, on top of the rest; pip checks there that it needs nothing else."""
    lock = pins("fuzz.txt")

    assert lock.keys() == {each.name for each in group("fuzz")}
    assert all(each.specifier.contains(version_of(lock[each.name])) for each in group("fuzz"))


def test_the_smaller_lock_is_a_part_of_the_larger() -> None:
    """What `make test` installs on top of `make run` replaces nothing."""
    run, dev = pins("run.txt"), pins("dev.txt")

    assert {name: dev.get(name) for name in run} == run


@pytest.mark.parametrize("python", PYTHONS)
def test_the_lock_of_the_site_adds_to_that_of_the_tests(python: str) -> None:
    """`make docs` installs it on top of the rest: it is complete, and replaces nothing."""
    docs, dev = pins("docs.txt"), pins("dev.txt")

    assert list(offences(docs, group("docs"), on_python(python))) == []
    shared = docs.keys() & dev.keys()
    assert {name: version_of(docs[name]) for name in shared} == {
        name: version_of(dev[name]) for name in shared
    }


def test_an_incomplete_lock_is_found() -> None:
    """What only an extra requires, what has another version, and what is pinned for another Python."""
    lock = pins("dev.txt")
    roots = [Requirement("redis[hiredis]"), Requirement("orjson>=3.10")]
    del lock["hiredis"]
    lock["orjson"] = Requirement("orjson==3.9.0")
    lock["redis"] = Requirement(f"{lock['redis']}; python_version < '3.12'")

    assert sorted(offences(lock, roots, on_python("3.13.5"))) == [
        "pyproject.toml requires orjson>=3.10, but 3.9.0 is pinned",
        "pyproject.toml requires redis[hiredis], which is not pinned",
    ]
    [missing] = [each for each in offences(lock, roots, on_python("3.11.2")) if "hiredis" in each]
    assert missing.startswith("redis requires hiredis")
