"""`conveyor config`: the settings that a server started here would have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import typer

from infrastructure.cli.options import Form, Output
from infrastructure.cli.output import write, write_json, write_table

if TYPE_CHECKING:
    from infrastructure.settings import Settings

app = typer.Typer(no_args_is_help=True, help="Show and check the settings that are in force here.")


@app.command()
def show(output: Output = Form.TABLE) -> None:
    """Every setting, secrets masked."""
    shown = _settings().masked()
    if output is Form.JSON:
        write_json(shown)
    else:
        write_table(("SETTING", "VALUE"), list(_flat("CONVEYOR", shown)), folded={"VALUE"})


@app.command()
def check(output: Output = Form.TABLE) -> None:
    """Report faults of the settings, and settings that have no effect yet."""
    settings = _settings()
    from infrastructure.drivers import require_usable  # noqa: PLC0415 - so do the drivers

    require_usable(settings)
    idle = settings.without_effect()
    document = {"valid": True, "profile": settings.profile, "withoutEffect": idle}
    write(output, document, {"settings": "valid", "without effect yet": ", ".join(idle)})


def _settings() -> Settings:
    """Raises SettingsError."""
    from infrastructure.settings import load_settings  # noqa: PLC0415 - client commands need none

    return load_settings()


def _flat(prefix: str, section: dict[str, Any], joint: str = "_") -> Iterator[tuple[str, Any]]:
    for name, value in section.items():
        variable = f"{prefix}{joint}{name.upper()}"
        if isinstance(value, dict):
            yield from _flat(variable, value, "__")  # pyright: ignore[reportUnknownArgumentType]
        else:
            yield variable, value
