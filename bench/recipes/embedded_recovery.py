"""Recovery of the embedded mode: one process opens workflows and is killed, a second one goes on.

The second one's start, from nothing to the open file, is within the times of the report.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from application.ports import Document
from bench.recipes.children import dying_with_its_parent
from bench.recipes.embedded_site import folder_on_disk
from bench.recipes.errors import BenchError
from bench.recipes.options import Options
from bench.recipes.recovery import Recovery

_LIVES = "bench.recipes.embedded_lives"


def recover_embedded(workflows: int, options: Options) -> tuple[Document, bool]:
    """Memory of open workflows, and the time after kill -9. Raises BenchError."""
    with folder_on_disk() as folder:
        first, killed_at = _live("first", folder / "bench.db", workflows)
        options.progress(workflows, workflows)
        second, _ = _live("second", folder / "bench.db", workflows)
    recovery = Recovery(
        mode="embedded",
        open_instances=workflows,
        rss_mib_before=first["rssMiBBefore"],
        rss_mib_open=first["rssMiBOpen"],
        first_decision=second["firstDecisionAt"] - killed_at,
        all_completed=second["allCompletedAt"] - killed_at,
    )
    return recovery.report(), second["wrong"] == 0


def _live(life: str, file: Path, workflows: int) -> tuple[Any, float]:
    """The line that the process printed, and when it was killed after that."""
    command = [sys.executable, "-m", _LIVES, life, str(file), str(workflows)]
    with subprocess.Popen(
        [*dying_with_its_parent(), *command], stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
        finally:
            process.kill()
            killed_at = time.perf_counter()
    if not line:
        raise BenchError(f"the engine's {life} life ended without a report")
    return json.loads(line), killed_at
