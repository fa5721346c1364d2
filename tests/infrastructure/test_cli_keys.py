"""`conveyor keys`: made once, listed without secrets, replaced and removed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from adapters.identity.api_keys import ApiKeys
from application.access import NotAuthenticated
from tests.infrastructure.commands import conveyor, told

NOWHERE = "http://127.0.0.1:1"


def test_a_key_from_its_making_to_its_end(tmp_path: Path) -> None:
    """What is printed opens the service, until it is replaced or revoked."""
    file = ("--file", str(tmp_path / "keys"))
    made = told(NOWHERE, "keys", "create", "--actor", "ada", "--role", "admin", *file)
    worker = ("--label", "service:stock", "--label", "service:money")
    told(NOWHERE, "keys", "create", "--actor", "robot", "--role", "service", *worker, *file)

    listed = told(NOWHERE, "keys", "list", *file)["items"]
    assert [(k["actor"], k["role"], k["services"]) for k in listed] == [
        ("ada", "admin", []),
        ("robot", "service", ["money", "stock"]),
    ]
    assert made["key"].partition(".")[2] not in json.dumps(listed)
    assert ApiKeys(tmp_path / "keys").identify({"x-api-key": made["key"]}).actor == "ada"

    other = told(NOWHERE, "keys", "rotate", made["id"], *file)
    keys = ApiKeys(tmp_path / "keys")
    assert keys.identify({"x-api-key": other["key"]}).actor == "ada"
    with pytest.raises(NotAuthenticated):
        keys.identify({"x-api-key": made["key"]})

    assert conveyor(NOWHERE, "keys", "revoke", other["id"], *file).exit_code == 0
    assert [k["actor"] for k in told(NOWHERE, "keys", "list", *file)["items"]] == ["robot"]


def test_a_key_of_a_tenant(tmp_path: Path) -> None:
    """Its tenant and labels are shown, and stay when it is rotated."""
    file = ("--file", str(tmp_path / "keys"))
    scope = ("--tenant", "acme", "--label", "carrier:DHL")
    made = told(NOWHERE, "keys", "create", "--actor", "anna", "--role", "operator", *scope, *file)
    told(NOWHERE, "keys", "rotate", made["id"], *file)

    [listed] = told(NOWHERE, "keys", "list", *file)["items"]
    assert (listed["tenant"], listed["labels"]) == ("acme", ["carrier:DHL"])
    table = conveyor(NOWHERE, "keys", "list", *file).stdout
    assert "acme" in table
    assert "carrier:DHL" in table


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("create", "--actor", "", "--role", "admin"), 2, "give a name"),
        (("create", "--actor", "ada", "--role", "owner"), 2, "--role"),
        (("create", "--actor", "ada", "--role", "service"), 2, "needs labels service:NAME"),
        (
            ("create", "--actor", "ada", "--role", "admin", "--label", "channel"),
            2,
            "a label is name:value",
        ),
        (
            ("create", "--actor", "ada", "--role", "admin", "--tenant", ""),
            2,
            "tenant is empty",
        ),
        (("revoke", "nobody"), 4, "there is no key nobody"),
        (("rotate", "nobody"), 4, "there is no key nobody"),
    ],
)
def test_wrong_keys(tmp_path: Path, arguments: tuple[str, ...], code: int, says: str) -> None:
    """One sentence, and the file is as it was."""
    file = tmp_path / "keys"
    told(NOWHERE, "keys", "create", "--actor", "ada", "--role", "admin", "--file", str(file))
    before = file.read_bytes()

    refused = conveyor(NOWHERE, "keys", *arguments, "--file", str(file))

    assert refused.exit_code == code
    assert says in refused.stderr
    assert file.read_bytes() == before


def test_no_file_is_named() -> None:
    """The sentence names both places."""
    refused = conveyor(NOWHERE, "keys", "list")
    assert refused.exit_code == 2
    assert "--file" in refused.stderr
    assert "CONVEYOR_AUTH__API_KEYS_FILE" in refused.stderr
