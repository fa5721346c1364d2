"""A whole service, one without participants, and one without an engine."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.adapters.rest.service import Service, serving


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    async with serving(tmp_path / "conveyor.db") as service:
        yield service


@pytest.fixture
async def unattended(tmp_path: Path) -> AsyncIterator[Service]:
    """Nobody performs steps: workflows stay where they are."""
    async with serving(tmp_path / "conveyor.db", with_warehouse=False) as service:
        yield service


@pytest.fixture
async def undecided(tmp_path: Path) -> AsyncIterator[Service]:
    """No engine: commands stay undecided."""
    async with serving(tmp_path / "conveyor.db", with_engine=False) as service:
        yield service
