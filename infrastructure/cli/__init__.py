"""The command `conveyor`: clients of the API, and the servers themselves."""

from __future__ import annotations

from pathlib import Path

import typer

from infrastructure.cli import config, definitions, servers, verify, workflow
from infrastructure.cli.failures import Exit

__all__ = ["app", "main"]

#: What `conveyor bench` runs: a folder of the checkout, which no wheel has.
_BENCH = Path(__file__).parents[2] / "bench"

app = typer.Typer(
    name="conveyor",
    help="Durable workflows of long-running business processes.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(workflow.app, name="workflow")
app.add_typer(definitions.app, name="definitions")
app.add_typer(config.app, name="config")
app.command()(servers.dev)
app.command()(servers.serve)
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
        typer.echo(
            "The bench is part of a checkout of Conveyor and is not installed here.", err=True
        )
        raise typer.Exit(Exit.USAGE)
    # The only command that needs the whole of it before its options are known.
    from bench.recipes.command import bench as measure  # noqa: PLC0415

    measuring = typer.Typer(add_completion=False)
    measuring.command()(measure)
    measuring(context.args, prog_name="conveyor bench")


def main() -> None:
    """The entry point; wrong settings end any command with a sentence for each of them."""
    try:
        app()
    except Exception as error:
        from infrastructure.settings import SettingsError  # noqa: PLC0415 - clients need no settings

        if not isinstance(error, SettingsError):
            raise
        typer.echo(str(error), err=True)
        raise SystemExit(Exit.USAGE) from None
