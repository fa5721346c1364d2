"""The command `conveyor`, and in a wheel the folder of everything that it runs.

The service's packages are called `domain`, `application`, `adapters` and `infrastructure`, as a user's own
may be. So a wheel installs none of them at the top level: they stand in this folder, and only the process of
the command has it on its path.
"""

from __future__ import annotations

import sys
from pathlib import Path

__all__ = ["main"]


def main() -> None:
    """Run the command line; the service's packages hide others of the same name."""
    folder = Path(__file__).parent
    # A wheel has the packages in this folder, a checkout has them next to it.
    home = folder if (folder / "infrastructure").is_dir() else folder.parent
    sys.path.insert(0, str(home))
    from infrastructure.cli import main as run  # noqa: PLC0415 - found from here on

    run()
