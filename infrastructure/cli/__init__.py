"""The command `conveyor`: clients of the API, and the servers themselves."""

from __future__ import annotations

import typer

from infrastructure.cli import config, definitions, servers, verify, workflow
from infrastructure.cli.failures import Exit

__all__ = ["app", "main"]

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
    """Measure Conveyor on this machine; `bench --help` tells more."""
    # The only command that needs the whole of it before its options are known.
    from infrastructure.cli.bench import bench as measure  # noqa: PLC0415

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
