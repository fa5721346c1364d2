"""The pinned sets in requirements/, and what they have to satisfy."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, distribution
from typing import Any

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.architecture.repository import ROOT

#: The two distributions of this repository, which no lock pins.
OURS = {"conveyor-orchestrator": "pyproject.toml", "conveyor-sdk": "sdk/pyproject.toml"}

Environment = Mapping[str, str]
HERE: Environment = {name: str(value) for name, value in default_environment().items()}


def pins(lock: str) -> dict[str, Requirement]:
    """Name -> the pinned requirement, with its marker."""
    text = (ROOT / "requirements" / lock).read_text()
    found = [Requirement(line) for line in re.findall(r"^([a-z0-9].*?) \\$", text, re.MULTILINE)]
    by_name = {str(canonicalize_name(pin.name)): pin for pin in found}
    assert len(by_name) == len(found), f"{lock} pins a name twice, which these tests do not read"
    return by_name


def group(name: str) -> list[Requirement]:
    """The requirements of a dependency group of pyproject.toml, with the groups that it includes."""
    entries: list[Any] = _project("pyproject.toml")["dependency-groups"][name]
    return [
        requirement
        for entry in entries
        for requirement in (
            group(entry["include-group"]) if isinstance(entry, dict) else [Requirement(entry)]
        )
    ]


def dependencies(file: str) -> list[Requirement]:
    """The dependencies that a pyproject.toml of this repository declares."""
    return [Requirement(each) for each in _project(file)["project"]["dependencies"]]


def _project(file: str) -> dict[str, Any]:
    return tomllib.loads((ROOT / file).read_text())


def on_python(version: str) -> Environment:
    """Markers as they are here with this Python, for example 3.11.2."""
    return {
        **HERE,
        "implementation_version": version,
        "python_full_version": version,
        "python_version": version.rpartition(".")[0],
    }


def applies(requirement: Requirement, environment: Environment, extra: str = "") -> bool:
    return requirement.marker is None or requirement.marker.evaluate(
        {**environment, "extra": extra}
    )


def offences(
    lock: Mapping[str, Requirement], roots: list[Requirement], environment: Environment
) -> Iterator[str]:
    """Every requirement, however deep and with its extras, that the lock does not meet."""
    open_ = [("pyproject.toml", root) for root in roots]
    seen: set[tuple[str, str]] = set()
    while open_:
        wanted_by, requirement = open_.pop()
        name = canonicalize_name(requirement.name)
        if name not in OURS:
            pin = lock.get(name)
            if pin is None or not applies(pin, environment):
                yield f"{wanted_by} requires {requirement}, which is not pinned"
                continue
            if not requirement.specifier.contains(version_of(pin), prereleases=True):
                yield f"{wanted_by} requires {requirement}, but {version_of(pin)} is pinned"
        for extra in {"", *requirement.extras}:
            if (name, extra) not in seen:
                seen.add((name, extra))
                open_ += [
                    (name, need) for need in needs(name, lock) if applies(need, environment, extra)
                ]


def version_of(pin: Requirement) -> str:
    [exact] = pin.specifier
    return exact.version


def needs(name: str, lock: Mapping[str, Requirement]) -> list[Requirement]:
    """What the installed distribution declares; of ours, what the checkout declares."""
    if name in OURS:
        return dependencies(OURS[name])
    try:
        installed = distribution(name)
    except PackageNotFoundError:
        # A pin for another Python is installed there, and its needs are seen by the tests there.
        assert not applies(lock[name], HERE), f"{name} is not installed: make setup"
        return []
    return [Requirement(each) for each in installed.requires or ()]
