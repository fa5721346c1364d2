"""API keys: who a request is from, and what becomes of a changed or faulty file."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from threading import Thread

import pytest

from adapters.identity.api_keys import ApiKeys, KeyFileError, changing, new_key, read, write
from application.access import Action, NotAuthenticated, Role


class Time:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


def file_with(folder: Path, *roles: str, labels: tuple[str, ...] = ()) -> tuple[Path, list[str]]:
    """A file of keys with these roles, and the keys."""
    made = [new_key(f"{role}-1", role, labels) for role in roles]
    file = folder / "keys"
    write(file, [key for key, _ in made])
    return file, [secret for _, secret in made]


@pytest.mark.parametrize("name", ["x-api-key", "authorization"])
def test_a_key_is_its_owner(tmp_path: Path, name: str) -> None:
    """By either header, with the role of the key."""
    file, [key] = file_with(tmp_path, "operator")
    value = key if name == "x-api-key" else f"bearer {key}"

    caller = ApiKeys(file).identify({name: value})

    assert (caller.actor, caller.roles) == ("operator-1", {Role.OPERATOR})
    assert key not in file.read_text()


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Basic YTpi"},
        {"authorization": "Bearer "},
        {"authorization": "Bearer x"},
        {"x-api-key": "."},
        {"x-api-key": "000000000000.x"},
        {"x-api-key": "\udcff.\udcff"},
    ],
)
def test_no_login(tmp_path: Path, headers: dict[str, str]) -> None:
    """Nothing, something else, and a key that is none."""
    file, _ = file_with(tmp_path, "admin")
    with pytest.raises(NotAuthenticated):
        ApiKeys(file).identify(headers)


def test_a_secret_of_another_key(tmp_path: Path) -> None:
    """Both parts have to be of one key."""
    file, [first, second] = file_with(tmp_path, "viewer", "admin")
    mixed = f"{second.partition('.')[0]}.{first.partition('.')[2]}"
    with pytest.raises(NotAuthenticated):
        ApiKeys(file).identify({"x-api-key": mixed})


def test_a_worker_works_for_its_services(tmp_path: Path) -> None:
    """And does nothing else."""
    file, [key] = file_with(tmp_path, "service", labels=("service:stock",))
    caller = ApiKeys(file).identify({"x-api-key": key})

    assert caller.may_work_for("stock")
    assert not caller.may_work_for("money")
    assert {action for action in Action if caller.may(action)} == {Action.WORK, Action.IDENTIFY}


def test_a_changed_file(tmp_path: Path, time: Time) -> None:
    """A revoked key is refused, a new one accepted, a second later."""
    file, [old] = file_with(tmp_path, "admin")
    keys = ApiKeys(file, time)
    _, [new] = file_with(tmp_path, "viewer")
    assert keys.identify({"x-api-key": old}).actor == "admin-1"

    time.now += 1
    assert keys.identify({"x-api-key": new}).actor == "viewer-1"
    with pytest.raises(NotAuthenticated):
        keys.identify({"x-api-key": old})


@pytest.mark.parametrize("text", ["{", '{"id": 5}', None])
def test_a_file_that_is_spoilt_later(tmp_path: Path, time: Time, text: str | None) -> None:
    """The keys that were read stay valid: nobody is locked out in the middle of the night."""
    file, [key] = file_with(tmp_path, "admin")
    keys = ApiKeys(file, time)
    if text is None:
        file.unlink()
    else:
        file.write_text(text)

    time.now += 2
    assert keys.identify({"x-api-key": key}).actor == "admin-1"


def test_a_faulty_file(tmp_path: Path) -> None:
    """At the start it is refused, with the line."""
    file, _ = file_with(tmp_path, "admin")
    file.write_text(file.read_text() + "\nnothing\n")
    with pytest.raises(KeyFileError, match="keys, line 3"):
        ApiKeys(file)


@pytest.mark.parametrize(
    "change",
    [
        {"tenant": ""},
        {"labels": ["channel"]},
        {"labels": [":web"]},
        {"labels": ["channel:web", "channel:shop"]},
        {"role": "service", "labels": ["service:stock"], "tenant": "acme"},
        {"role": "service", "labels": ["service:stock", "channel:web"]},
        {"rights": ["payloads"]},
        {"role": "owner"},
        {"role": "service"},
        {"sha256": "12"},
    ],
)
def test_a_key_that_cannot_be_used(tmp_path: Path, change: dict[str, object]) -> None:
    """A restriction that is not supported must not be ignored: such a key opens nothing."""
    file, [key] = file_with(tmp_path, "admin")
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}) + "\n")
    with pytest.raises(NotAuthenticated):
        ApiKeys(file).identify({"x-api-key": key})


def test_a_key_for_some_workflows(tmp_path: Path) -> None:
    """Its tenant and labels restrict its owner."""
    file = tmp_path / "keys"
    made, key = new_key("anna", "operator", ["carrier:DHL", "site:north:2"], "acme")
    write(file, [made])

    caller = ApiKeys(file).identify({"x-api-key": key})

    assert caller.tenant == "acme"
    assert caller.sees("acme", {"carrier": "DHL", "site": "north:2", "channel": "web"})
    assert not caller.sees("other", {"carrier": "DHL", "site": "north:2"})
    assert not caller.sees("acme", {"carrier": "DHL"})
    assert not caller.sees("acme", {"carrier": "UPS", "site": "north:2"})
    assert not caller.may_work_for("stock")


def test_changes_at_the_same_time(tmp_path: Path) -> None:
    """Of two commands none loses what the other wrote."""
    file = tmp_path / "keys"
    write(file, [])

    def add() -> None:
        for _ in range(10):
            with changing(file):
                write(file, [*read(file), new_key("ada", "admin", ())[0]])

    threads = [Thread(target=add) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(read(file)) == 30


def test_the_file_is_made_for_its_owner(tmp_path: Path) -> None:
    """Missing: empty, so that nobody is let in; nobody else can read it."""
    file = tmp_path / "keys"
    with pytest.raises(NotAuthenticated):
        ApiKeys(file).identify({"x-api-key": "a.b"})
    assert stat.S_IMODE(file.stat().st_mode) == 0o600

    write(file, [new_key("ada", "admin", ())[0]])
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [key.actor for key in read(file)] == ["ada"]
    assert [each.name for each in tmp_path.iterdir()] == ["keys"]


def test_a_place_that_cannot_be(tmp_path: Path) -> None:
    """The message names it."""
    with pytest.raises(KeyFileError, match="nowhere"):
        ApiKeys(tmp_path / "nowhere" / "keys")
