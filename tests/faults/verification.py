"""`conveyor verify` as a second opinion: written apart from the checks of this folder."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from tests.acceptance.programs import run

#: What a dead process has not projected yet, the next one does.
LEFT_TO_PROJECT = frozenset({"missing", "behind"})


def findings(
    folder: Path,
    settings: Mapping[str, str] | None = None,
    file: Path | None = None,
    apart_from: Collection[str] = (),
) -> list[str]:
    """What the command finds wrong in the stores of the settings, or in an embedded file."""
    where = () if file is None else ("--db", str(file))
    settle = "0" if apart_from else "10"
    done = run("verify", *where, "--settle", settle, "-o", "json", folder=folder, settings=settings)
    assert done.returncode in (0, 1), done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    assert report["clean"] is (done.returncode == 0)
    return [
        f"conveyor verify: {each['workflowId']}: {each['kind']}: {each['detail']}"
        for each in report["findings"]
        if each["damage"] and each["kind"] not in apart_from
    ]
