"""The version of Conveyor, as health, metrics and `conveyor --version` report it."""

from __future__ import annotations

from importlib.metadata import version

#: Of this installation; the number itself is in the SDK, see `conveyor.__version__`.
VERSION = version("conveyor-orchestrator")
