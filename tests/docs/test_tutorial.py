"""The tutorial and the how-tos with commands run as written, from an empty folder."""

from __future__ import annotations

import sys
import uuid
from pathlib import Path

import pytest

from tests.docs.pages import saved_files
from tests.docs.reader import Reader
from tests.docs.tutorial import EMBEDDED, OVER_KAFKA

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

PROGRAMS = Path(sys.executable).parent


def test_the_tutorial(tmp_path: Path) -> None:
    """Its files are saved, and every command does what the text says."""
    with Reader(tmp_path, PROGRAMS, {}) as reader:
        for each in EMBEDDED:
            reader.check_page(each)


def test_the_first_workflow_and_its_next_version(tmp_path: Path) -> None:
    """Two files, one terminal; then a change of both."""
    with Reader(tmp_path, PROGRAMS, {}) as reader:
        reader.check_page("docs/howto/first-workflow.md")
        reader.check_page("docs/howto/version-a-definition.md")


def test_a_worker_in_shell(tmp_path: Path) -> None:
    """Thirty lines with curl serve a step of the order fulfilment, and undo it."""
    with Reader(tmp_path, PROGRAMS, {}) as reader:
        reader.check_page("docs/howto/any-language.md")
        reader.shell(
            'conveyor workflow compensate order-1\nuntil [ -z "$(ls packed)" ]; do sleep 0.1; done'
        )

    assert len((tmp_path / "packer.sh").read_text().splitlines()) <= 30


@pytest.mark.kafka
def test_the_tutorial_over_kafka(
    tmp_path: Path, kafka_bootstrap: str, mongo_uri: str, redis_url: str
) -> None:
    """The same files, on real servers."""
    name = f"tutorial-{uuid.uuid4().hex[:8]}"
    servers = {
        "CONVEYOR_KAFKA__BOOTSTRAP_SERVERS": kafka_bootstrap,
        "CONVEYOR_KAFKA__TOPIC_PREFIX": f"{name}.",
        "CONVEYOR_MONGODB__URI": mongo_uri,
        "CONVEYOR_MONGODB__DATABASE": name,
        "CONVEYOR_REDIS__URL": redis_url,
    }
    with Reader(tmp_path, PROGRAMS, servers) as reader:
        for each in EMBEDDED:
            reader.save(saved_files(each))
        reader.check_page(OVER_KAFKA)
