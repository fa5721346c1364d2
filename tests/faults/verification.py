"""`conveyor verify` as a second opinion: written apart from the checks of this folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.acceptance.programs import run


def findings(
    folder: Path, settings: Mapping[str, str] | None = None, file: Path | None = None
) -> list[str]:
    """What the command finds wrong in the stores of the settings, or in an embedded file."""
    where = () if file is None else ("--db", str(file))
    done = run("verify", *where, "--settle", "10", "-o", "json", folder=folder, settings=settings)
    assert done.returncode in (0, 1), done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    assert report["clean"] is (done.returncode == 0)
    return [
        f"conveyor verify: {each['workflowId']}: {each['kind']}: {each['detail']}"
        for each in report["findings"]
        if each["damage"]
    ]
