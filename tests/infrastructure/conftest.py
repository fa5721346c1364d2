"""One embedded server for all tests of the command line; their workflows have ids of their own."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from tests.infrastructure.commands import CONVEYOR, ENVIRONMENT, free_port, wait_until_ready


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`conveyor dev` without orders; its URL."""
    folder = tmp_path_factory.mktemp("dev")
    port = free_port()
    arguments = ["dev", "--port", str(port), "--orders-per-second", "0", "--db", "conveyor.db"]
    url = f"http://127.0.0.1:{port}"
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*CONVEYOR, *arguments], env=ENVIRONMENT, cwd=folder, stdout=log, stderr=log
        )
        try:
            wait_until_ready(url, process)
            yield url
        finally:
            process.terminate()
            status = process.wait(30)
    assert status == 0, (folder / "log").read_text()
