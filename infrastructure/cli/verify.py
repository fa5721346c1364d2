"""`conveyor verify`."""
# ruff: noqa: PLC0415 - as the other commands that need the servers' libraries

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from infrastructure.cli.failures import Exit
from infrastructure.cli.options import Form, Output
from infrastructure.cli.output import note, write_fields, write_json, write_table
from infrastructure.cli.servers import run_to_end, server_settings

if TYPE_CHECKING:
    from application.verification.findings import Kind, Report


def verify(
    db: Annotated[
        Path | None, typer.Option(help="A file of `conveyor dev` instead of Kafka and MongoDB.")
    ] = None,
    settle: Annotated[
        float,
        typer.Option(min=0, max=86_400, help="Seconds to wait for projections that are behind."),
    ] = 0.0,
    output: Output = Form.TABLE,
) -> None:
    """Look for gaps, orphans and differences between log, projections and published events.

    Only reads, on live stores too. Exits with 0 if nothing is wrong, 1 if something is, 3 if a
    server is away.
    """
    wait = timedelta(seconds=settle)
    if db is None:
        settings = server_settings(sys.stderr)
        from infrastructure.verification import verify_production

        report: Report = run_to_end(verify_production(settings, wait))
    else:
        from infrastructure.verification import verify_embedded

        report = run_to_end(verify_embedded(db, wait))
    if output is Form.JSON:
        write_json(_document(report))
    else:
        _write_table(report)
    if not report.is_clean:
        raise typer.Exit(Exit.REFUSED)


def _document(report: Report) -> dict[str, Any]:
    return {
        "clean": report.is_clean,
        "checked": _checked(report),
        "counts": {str(kind): count for kind, count in sorted(report.counts.items())},
        "findings": [
            {
                "workflowId": finding.workflow_id,
                "kind": str(finding.kind),
                "damage": finding.kind.is_damage,
                "detail": finding.detail,
                "advice": finding.kind.advice,
            }
            for finding in report.findings
        ],
    }


def _checked(report: Report) -> dict[str, int]:
    return {
        "instances": report.instances,
        "commits": report.commits,
        "events": report.events,
        "projections": report.projections,
        "publishedRecords": report.published,
        "behind": report.behind,
        "unpublishedYet": report.unpublished_yet,
        "notCheckable": report.not_checkable,
    }


def _write_table(report: Report) -> None:
    write_fields(_checked(report))
    if report.findings:
        rows = [(each.workflow_id, each.kind, each.detail) for each in report.findings]
        write_table(("WORKFLOW", "FINDING", "WHAT"), rows, folded={"WHAT"})
        kinds: list[Kind] = sorted(report.counts)
        write_table(
            ("FINDING", "COUNT", "WHAT TO DO"),
            [(kind, report.counts[kind], kind.advice) for kind in kinds],
            folded={"WHAT TO DO"},
        )
    not_shown = report.counts.total() - len(report.findings)
    if not_shown:
        note(f"{not_shown} more were counted")
    note("nothing is wrong" if report.is_clean else "something is wrong")
