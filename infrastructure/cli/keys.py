"""`conveyor keys`: the API keys in the file of the service (CONTRACT 7)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from application.access import SERVICE_LABEL, Role
from infrastructure.cli.failures import Exit, fail
from infrastructure.cli.options import Form, Output
from infrastructure.cli.output import note, write, write_json, write_table

if TYPE_CHECKING:
    from adapters.identity.api_keys import ApiKey

R = TypeVar("R")

app = typer.Typer(no_args_is_help=True, help="Make, list and revoke API keys.")

File = Annotated[
    Path | None,
    typer.Option(help="The file of keys. Default: CONVEYOR_AUTH__API_KEYS_FILE."),
]
KeyId = Annotated[str, typer.Argument(metavar="KEY", help="The part of the key before the dot.")]


@app.command()
def create(
    actor: Annotated[str, typer.Option(help="Who uses it; the name in events.")],
    role: Annotated[Role, typer.Option(help="What it may do.")],
    label: Annotated[
        list[str] | None,
        typer.Option(
            help="Of the role service: service:NAME, once for each. Of others: it sees only what carries this."
        ),
    ] = None,
    tenant: Annotated[
        str | None, typer.Option(help="It sees workflows of this tenant only. Default: all.")
    ] = None,
    file: File = None,
    output: Output = Form.TABLE,
) -> None:
    """Make a key and print it. It is shown this once: the file keeps its hash."""
    from adapters.identity import api_keys  # noqa: PLC0415 - client commands need no file

    place = _place(file)
    key, secret = api_keys.new_key(actor, role.value, label or (), tenant)
    if not actor.strip() or not actor.isprintable():
        fail("--actor: give a name", Exit.USAGE)
    if (fault := key.fault()) is not None:
        fail(f"--role {role.value}: {fault}", Exit.USAGE)

    def add() -> None:
        with api_keys.changing(place):
            api_keys.create(place)
            api_keys.write(place, [*api_keys.read(place), key])

    _tried(add)
    note(
        f"added to {place}; the service reads it within 5 s. This is the only time that the key is shown."
    )
    write(output, {"key": secret, "id": key.id}, {"key": secret})


@app.command("list")
def list_keys(file: File = None, output: Output = Form.TABLE) -> None:
    """Show the keys without their secrets."""
    from adapters.identity import api_keys  # noqa: PLC0415 - as above

    place = _place(file)
    keys = _tried(lambda: api_keys.read(place))
    shown = [
        {
            "id": key.id,
            "actor": key.actor,
            "role": key.role,
            "tenant": key.tenant,
            "labels": [name for name in key.labels if not name.startswith(SERVICE_LABEL)],
            "services": _services(key),
        }
        for key in keys
    ]
    if output is Form.JSON:
        write_json({"items": shown})
        return
    rows = [(k.id, k.actor, k.role, k.tenant, ", ".join(k.labels)) for k in keys]
    write_table(("KEY", "ACTOR", "ROLE", "TENANT", "FOR"), rows, folded={"FOR"}, spare=("FOR",))


@app.command()
def revoke(key: KeyId, file: File = None) -> None:
    """Remove a key. The service refuses it within 5 s."""
    from adapters.identity import api_keys  # noqa: PLC0415 - as above

    place = _place(file)

    def remove() -> bool:
        with api_keys.changing(place):
            keys = api_keys.read(place)
            left = [each for each in keys if each.id != key]
            if len(left) < len(keys):
                api_keys.write(place, left)
            return len(left) < len(keys)

    _require(_tried(remove), key, place)
    note(f"revoked {key}")


@app.command()
def rotate(key: KeyId, file: File = None, output: Output = Form.TABLE) -> None:
    """Replace a key by a new one of the same actor and role, and print that."""
    from adapters.identity import api_keys  # noqa: PLC0415 - as above

    place = _place(file)

    def replace() -> tuple[ApiKey, str] | None:
        with api_keys.changing(place):
            keys = api_keys.read(place)
            old = next((each for each in keys if each.id == key), None)
            if old is None:
                return None
            made = api_keys.new_key(old.actor, old.role, old.labels, old.tenant)
            api_keys.write(place, [made[0] if each is old else each for each in keys])
            return made

    replaced = _tried(replace)
    _require(replaced is not None, key, place)
    assert replaced is not None
    new, secret = replaced
    note(f"{key} is replaced by {new.id}; the service reads it within 5 s")
    write(output, {"key": secret, "id": new.id}, {"key": secret})


def _services(key: ApiKey) -> list[str]:
    return sorted(name.removeprefix(SERVICE_LABEL) for name in key.labels)


def _place(given: Path | None) -> Path:
    """Ends the command where no file is named."""
    if given is not None:
        return given
    from infrastructure.settings import load_settings  # noqa: PLC0415 - as above

    named = load_settings().auth.api_keys_file
    if named is None:
        fail("name the file with --file, or set CONVEYOR_AUTH__API_KEYS_FILE", Exit.USAGE)
    return named


def _require(is_known: bool, key: str, place: Path) -> None:
    if not is_known:
        fail(f"there is no key {key} in {place}; `conveyor keys list` shows them", Exit.NOT_FOUND)


def _tried(call: Callable[[], R]) -> R:
    from adapters.identity.api_keys import KeyFileError  # noqa: PLC0415 - as above

    try:
        return call()
    except KeyFileError as fault:
        fail(str(fault), Exit.USAGE)
