"""A saga whose handlers kill a process with SIGKILL at one exact point, once."""

from __future__ import annotations

import itertools
import sqlite3
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

STEPS = ("book", "reserve", "charge", "pack", "ship")
#: Of the workflow whose last step is refused: what is undone, in this order.
UNDONE = ("undo-pack", "undo-charge", "undo-reserve", "undo-book")
MOMENTS = ("before", "after", "returned")

#: The effect of a key is a row, written once.
APP = '''
import asyncio, os, signal, sqlite3, sys, threading
from pathlib import Path

from conveyor import Participant, Worker
from conveyor.errors import TerminalError
from conveyor.handlers import StepContext
from conveyor.http_transport import HttpTransport

shop = Participant("shop")
HERE = Path(__file__).parent
(HERE / "worker.pid").write_text(str(os.getpid()))


def database() -> sqlite3.Connection:
    found = sqlite3.connect(HERE / "effects.db", timeout=30)
    found.execute("CREATE TABLE IF NOT EXISTS effects (key TEXT PRIMARY KEY, number INTEGER)")
    return found


def kill(data: dict, operation: str, moment: str) -> None:
    """The process whose id stands in a file, if this is the point."""
    if data.get("point") != f"{operation} {moment}":
        return
    try:
        (HERE / f"killed-{data['name']}").touch(exist_ok=False)
    except FileExistsError:
        return
    os.kill(int((HERE / data["victim"]).read_text()), signal.SIGKILL)


def act(operation: str):
    def handle(data: dict, context: StepContext) -> dict:
        kill(data, operation, "before")
        if operation == "ship" and data.get("refused"):
            raise TerminalError("REFUSED", "not today")
        with database() as db:
            number = db.execute("SELECT count(*) FROM effects").fetchone()[0]
            db.execute(
                "INSERT OR IGNORE INTO effects VALUES (?, ?)", [context.idempotency_key, number]
            )
        kill(data, operation, "after")
        # While its answer is on the way.
        threading.Timer(0.003, kill, [data, operation, "returned"]).start()
        return data

    return handle


def undo(operation: str):
    handle = act(f"undo-{operation}")

    def compensate(data: dict, context: StepContext) -> None:
        handle(context.step_output, context)

    return compensate


for each in ("book", "reserve", "charge", "pack", "ship"):
    step = shop.step("shop-service", each)(act(each))
    step.compensation(f"undo-{each}")(undo(each))

worker = Worker(shop)

if __name__ == "__main__":

    def connect(_: Participant):
        # The shortest lease, so that what a killed worker had is given out soon.
        transport = HttpTransport(sys.argv[1], worker_id=str(os.getpid()), lease_seconds=5)
        return transport, transport.key_store

    async def main() -> None:
        await worker.run(connect, asyncio.Event())

    asyncio.run(main())
'''


def _definition() -> str:
    """Each step's input is the output of the one before."""
    lines = ["name: order", "version: 1", "type: ORDER", "steps:"]
    given = "input"
    for step in STEPS:
        lines += [
            f"  - id: {step}",
            "    service: shop-service",
            f"    operation: {step}",
            "    timeoutMs: 120000",
            f"    input: {given}",
            f"    compensation: {{operation: undo-{step}}}",
        ]
        given = f"steps.{step}.output"
    return "\n".join(lines)


class Point(NamedTuple):
    """Where a process dies."""

    operation: str
    moment: str

    @property
    def name(self) -> str:
        return f"{self.operation}-{self.moment}"

    def input(self, victim: str) -> dict[str, object]:
        """Of the workflow in which it happens; `victim` is the file with the process's id."""
        return {
            "name": self.name,
            "victim": victim,
            "point": f"{self.operation} {self.moment}",
            "refused": self.is_undone,
        }

    @property
    def is_undone(self) -> bool:
        return self.operation.startswith("undo-")

    @property
    def end(self) -> str:
        return "COMPENSATED" if self.is_undone else "COMPLETED"


#: Every point of a saga and of its way back.
POINTS = tuple(
    Point(operation, moment) for operation, moment in itertools.product((*STEPS, *UNDONE), MOMENTS)
)


def write_project(folder: Path) -> None:
    (folder / "app.py").write_text(APP)
    (folder / "definitions").mkdir()
    (folder / "definitions" / "order.yaml").write_text(_definition())


def effects(folder: Path) -> list[str]:
    """The keys of all effects, in their order."""
    with sqlite3.connect(folder / "effects.db") as database:
        rows = database.execute("SELECT key FROM effects ORDER BY rowid").fetchall()
    return [key for (key,) in rows]


def expect_one_effect_each(folder: Path, points: Sequence[Point]) -> None:
    """Each step was done once, and undone once, backwards, where the last one was refused."""
    done = effects(folder)
    assert max(Counter(done).values()) == 1
    for point in points:
        mine = [key for key in done if key.startswith(f"{point.name}/")]
        steps = [key for key in mine if not key.endswith("/undo")]
        undos = [key for key in mine if key.endswith("/undo")]
        wanted = STEPS[:-1] if point.is_undone else STEPS
        assert steps == [f"{point.name}/{step}/1" for step in wanted]
        assert undos == ([f"{step}/undo" for step in reversed(steps)] if point.is_undone else [])
        assert (folder / f"killed-{point.name}").exists(), f"nothing was killed at {point.name}"
