"""The version of Conveyor, as health, metrics and `conveyor --version` report it."""

from __future__ import annotations

VERSION = "0.1.0"
