"""The command `conveyor`: clients of the API, and the servers themselves."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from infrastructure.cli import config, definitions, keys, servers, verify, workflow
from infrastructure.cli.failures import Exit
from infrastructure.cli.output import note
from infrastructure.version import VERSION

__all__ = ["app", "main"]

#: What `conveyor bench` runs: a folder of the checkout, which no wheel has.
_BENCH = Path(__file__).parents[2] / "bench"
#: Settings of the command line itself, which `.env` may hold as it holds those of the service.
_OWN_SETTINGS = ("CONVEYOR_URL", "CONVEYOR_API_KEY", "NO_COLOR")

app = typer.Typer(
    name="conveyor",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"conveyor {VERSION}")
        raise typer.Exit


@app.callback()
def conveyor(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Durable workflows of long-running business processes."""


app.add_typer(workflow.app, name="workflow")
app.add_typer(definitions.app, name="definitions")
app.add_typer(config.app, name="config")
app.add_typer(keys.app, name="keys")
app.command()(servers.dev)
app.command()(servers.serve)
app.command("test-engine", hidden=True)(servers.test_engine)
app.command()(servers.init)
app.command()(servers.warehouse)
app.command()(verify.verify)


@app.command(
    context_settings={
        "allow_extra_args": True,
        "ignore_unknown_options": True,
        "help_option_names": [],
    }
)
def bench(context: typer.Context) -> None:
    """Measure Conveyor on this machine, from a checkout; `bench --help` lists the options."""
    if not _BENCH.is_dir():
        note("The bench is part of a checkout of Conveyor and is not installed here.")
        raise typer.Exit(Exit.USAGE)
    # The only command that needs the servers' libraries before its options are known.
    from bench.recipes.command import bench as measure  # noqa: PLC0415

    names = {"help_option_names": ["--help", "-h"]}
    measuring = typer.Typer(add_completion=False, context_settings=names)
    measuring.command()(measure)
    measuring(context.args, prog_name="conveyor bench")


def main() -> None:
    """The entry point; wrong settings end any command with a sentence for each of them."""
    _read_own_settings()
    if any(not _is_text(argument) for argument in sys.argv):
        note("the arguments are not UTF-8")
        raise SystemExit(Exit.USAGE)
    if os.environ.get("NO_COLOR"):
        from typer import rich_utils  # noqa: PLC0415 - costs time that most commands do not need

        rich_utils.COLOR_SYSTEM = None
    try:
        app()
    except Exception as error:  # SettingsError, whose module is only imported once something failed
        from infrastructure.settings import SettingsError  # noqa: PLC0415 - clients need no settings

        if not isinstance(error, SettingsError):
            raise
        note(str(error))
        raise SystemExit(Exit.USAGE) from None


def _read_own_settings() -> None:
    if not Path(".env").is_file():
        return
    from dotenv import dotenv_values  # noqa: PLC0415 - only where there is such a file

    try:
        values = dotenv_values(".env")
    except (OSError, UnicodeDecodeError) as fault:
        note(f".env cannot be read: {fault}")
        raise SystemExit(Exit.USAGE) from None
    for name in _OWN_SETTINGS:
        value = values.get(name)
        if value is not None:
            os.environ.setdefault(name, value)


def _is_text(argument: str) -> bool:
    return not any("\udc80" <= character <= "\udcff" for character in argument)
