"""The same kit for plain tests: `with` instead of `async with`, and no `await`."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from datetime import datetime
from typing import Any

from conveyor.facade import Facade, Method, awaited
from conveyor.testing.conveyor import Conveyor
from conveyor.testing.errors import KitError
from conveyor.testing.run import Run, RunView
from conveyor.testing.services import Service


class BlockingRun(RunView, Facade[Run, asyncio.Runner]):
    """As `Run`; each command returns at the next standstill."""

    def __init__(self, loop: asyncio.Runner, run: Run) -> None:
        RunView.__init__(self, run.id, run.look)
        Facade.__init__(self, loop, run)  # pyright: ignore[reportUnknownMemberType]

    signal = Method(Run.signal, awaited)
    pause = Method(Run.pause, awaited)
    resume = Method(Run.resume, awaited)
    cancel = Method(Run.cancel, awaited)
    retry = Method(Run.retry, awaited)
    compensate = Method(Run.compensate, awaited)


def _begun(loop: asyncio.Runner, call: Coroutine[Any, Any, Run]) -> BlockingRun:
    return BlockingRun(loop, loop.run(call))


class BlockingConveyor(Facade[Conveyor, asyncio.Runner]):
    """What `with Conveyor(...) as c` gives: each call returns when it is done. Handlers run on a loop of its own."""

    def __init__(self, conveyor: Conveyor) -> None:
        """Opens it. Raises KitError within a running event loop, WrongDefinition, EngineError."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            pass
        else:
            raise KitError(
                "this test is async: use `async with Conveyor(...)`, and await its calls"
            )
        super().__init__(asyncio.Runner(), conveyor)
        try:
            self.loop.run(conveyor.__aenter__())
        except BaseException:
            self.loop.close()
            raise

    def close(self) -> None:
        try:
            self.loop.run(self.asynchronous.__aexit__(None, None, None))
        finally:
            self.loop.close()

    run = Method(Conveyor.run, _begun)
    start = Method(Conveyor.start, _begun)
    advance = Method(Conveyor.advance, awaited)
    signal = Method(Conveyor.signal, awaited)
    explore = Method(Conveyor.explore, awaited)

    def service(self, name: str) -> Service:
        """As `Conveyor.service`."""
        return self.asynchronous.service(name)

    @property
    def now(self) -> datetime:
        """As `Conveyor.now`."""
        return self.asynchronous.now

    @property
    def exceptions(self) -> Sequence[BaseException]:
        """As `Conveyor.exceptions`."""
        return self.asynchronous.exceptions
