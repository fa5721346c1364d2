"""One production site at work, shared by the tests that disturb nobody: name workflows apart."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.sites import RunningSite, running_site


@pytest.fixture(scope="session")
def site(
    kafka_bootstrap: str, mongo_uri: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningSite]:
    """Engine, API and warehouse on real servers."""
    folder: Path = tmp_path_factory.mktemp("site")
    with running_site(kafka_bootstrap, mongo_uri, redis_url, folder) as site:
        yield site
