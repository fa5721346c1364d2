"""What holds when the process is killed, the disk is full, or a second process comes."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conveyor.topics import EVENTS

from adapters.sqlite.event_log import EngineSession, SqliteEventLog
from adapters.sqlite.file import FileInUseError
from adapters.sqlite.projections import SqliteProjections
from adapters.sqlite.publisher import SqliteEnginePublisher, SqlitePublisher
from adapters.sqlite.store import SqliteStore
from application.ports import SetupError, Unavailable
from tests.contracts.publisher_contract import event
from tests.contracts.samples import commit, workflow

_ROOT = Path(__file__).parents[3]
_DEADLINE_SECONDS = 30.0

#: Publishes batches of three commits and six messages for ever, and prints how many are done.
_ENGINE = """
import asyncio, sys
from pathlib import Path
from adapters.sqlite.event_log import EngineSession, SqliteEventLog
from adapters.sqlite.publisher import SqliteEnginePublisher
from adapters.sqlite.store import SqliteStore
from tests.contracts.publisher_contract import event
from tests.contracts.samples import commit

async def main():
    session = EngineSession(SqliteStore(Path(sys.argv[1])))
    log, publisher = SqliteEventLog(session), SqliteEnginePublisher(session)
    for batch in range(1_000_000):
        await log.append([commit(f"wf-{batch}-{n}", 1) for n in range(3)])
        await publisher.publish([event(6 * batch + n, key="wf") for n in range(6)])
        print(batch + 1, flush=True)

asyncio.run(main())
"""


async def start(script: str, *arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        script,
        *arguments,
        env={**os.environ, "PYTHONPATH": f"{_ROOT}:{_ROOT / 'sdk'}"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


@pytest.mark.parametrize("batches", [1, 20, 150])
async def test_a_killed_process_leaves_whole_batches(path: Path, batches: int) -> None:
    """After kill -9 every acknowledged batch is there, and no batch in part."""
    engine = await start(_ENGINE, str(path))
    assert engine.stdout is not None
    done = 0
    async with asyncio.timeout(_DEADLINE_SECONDS):
        while done < batches:
            done = int(await engine.stdout.readline())
        engine.send_signal(signal.SIGKILL)
        done = max([done, *map(int, (await engine.stdout.read()).split())])
        await engine.wait()

    store = SqliteStore(path)
    consumer = store.consumer({store.topics[EVENTS]: 0})
    records = await consumer.take(1_000_000, 0)
    messages = sum(len(batch.records) for _, found in records for batch in found)
    commits = (await store.query("SELECT count(*) FROM commits", ()))[0][0]
    await store.close()

    assert messages % 6 == 0
    assert commits == messages // 6 * 3
    assert done <= messages // 6 <= done + 1


async def test_a_second_process_is_refused(path: Path, store: SqliteStore) -> None:
    """It ends with a message that names the file, the holder and what to do."""
    second = await start(_ENGINE, str(path))

    async with asyncio.timeout(_DEADLINE_SECONDS):
        _, errors = await second.communicate()

    assert second.returncode == 1
    assert f"{path} is in use by the Conveyor process {os.getpid()}" in errors.decode()
    assert "--db FILE" in errors.decode()


@pytest.mark.parametrize("link", [os.symlink, os.link])
async def test_another_name_is_the_same_file(
    link: Callable[[Path, Path], None], path: Path, store: SqliteStore
) -> None:
    """A second process on a symbolic or hard link is refused, and the first one goes on writing."""
    other = path.with_name("other.db")
    link(path, other)
    second = await start(_ENGINE, str(other))

    async with asyncio.timeout(_DEADLINE_SECONDS):
        _, errors = await second.communicate()

    assert second.returncode == 1
    assert f"{other} is in use by the Conveyor process {os.getpid()}" in errors.decode()
    await store.topic("another")


async def test_a_second_store_of_the_same_process_is_refused(
    path: Path, store: SqliteStore
) -> None:
    """The file has one writer, wherever the second would be; SQLite keeps its locks on it."""
    held = _locks_on(path)

    with pytest.raises(FileInUseError, match="in use"):
        SqliteStore(path)

    assert held
    assert _locks_on(path) == held


def _locks_on(path: Path) -> list[str]:
    inode = f":{path.stat().st_ino}"
    lines = Path("/proc/locks").read_text().splitlines()
    return sorted(" ".join(line.split()[1:]) for line in lines if line.split()[5].endswith(inode))


async def test_a_file_of_another_version_is_refused(path: Path) -> None:
    """Neither misread nor changed: the message says which Conveyor is wanted."""
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()

    for _ in range(2):
        with pytest.raises(SetupError, match="schema version 99") as refused:
            SqliteStore(path)

        # As long as the traceback is there, nothing but a `close` has closed the file.
        assert refused.tb
        assert not _is_open(path)


def _is_open(path: Path) -> bool:
    """Whether this process has the database file open."""
    links = Path("/proc/self/fd").iterdir()
    return any(link.samefile(path) for link in links if link.exists())


async def test_a_full_disk_is_answered(path: Path) -> None:
    """What does not fit is refused as a whole, what was there stays, and reading goes on."""
    store = SqliteStore(path, max_pages=200)
    session = EngineSession(store)
    log, publisher = SqliteEventLog(session), SqliteEnginePublisher(session)
    written: list[str] = []

    async def fill() -> None:
        while True:
            workflow_id = f"wf-{len(written)}"
            await log.append([commit(workflow_id, 1, events=20)])
            await publisher.publish([event(len(written))])
            written.append(workflow_id)

    with pytest.raises(Unavailable, match="full"):
        await fill()

    assert written
    assert store.topics[EVENTS].end == len(written)
    refused = f"wf-{len(written)}"
    assert await log.confirm_absent([*written, refused]) == {refused}
    await store.close()


async def test_a_full_disk_refuses_only_what_does_not_fit(path: Path) -> None:
    """A small group goes through beside one that is too large for the rest of the disk."""
    store = SqliteStore(path, max_pages=200)
    await store.topic(EVENTS)

    outcomes = await asyncio.gather(
        SqliteProjections(store).save([workflow("big", labels={"x": "y" * 1_000_000})]),
        SqlitePublisher(store).publish([event(1)]),
        return_exceptions=True,
    )

    assert isinstance(outcomes[0], Unavailable)
    assert outcomes[1] is None
    assert store.topics[EVENTS].end == 1
    await store.close()
