"""The same kit for plain tests: `with` instead of `async with`, and no `await`."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Coroutine, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from conveyor.testing.errors import KitError
from conveyor.testing.explore import Check, Reset
from conveyor.testing.run import Run, RunView
from conveyor.testing.services import Service

if TYPE_CHECKING:
    from conveyor.testing.conveyor import Conveyor

T = TypeVar("T")


class BlockingConveyor:
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
        self._conveyor = conveyor
        self._runner = asyncio.Runner()
        try:
            self._do(conveyor.__aenter__())
        except BaseException:
            self._runner.close()
            raise

    def close(self) -> None:
        try:
            self._do(self._conveyor.__aexit__(None, None, None))
        finally:
            self._runner.close()

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(work)

    def run(
        self, definition: str, input: Mapping[str, Any] | None = None, **options: Any
    ) -> BlockingRun:
        """As `Conveyor.run`."""
        return BlockingRun(self._do(self._conveyor.run(definition, input, **options)), self._runner)

    def start(
        self, definition: str, input: Mapping[str, Any] | None = None, **options: Any
    ) -> BlockingRun:
        """As `Conveyor.start`."""
        return BlockingRun(
            self._do(self._conveyor.start(definition, input, **options)), self._runner
        )

    def advance(self, **time: float) -> None:
        """As `Conveyor.advance`."""
        self._do(self._conveyor.advance(**time))

    def signal(self, workflow_id: str, name: str, payload: Mapping[str, Any] | None = None) -> None:
        """As `Conveyor.signal`."""
        self._do(self._conveyor.signal(workflow_id, name, payload))

    def explore(
        self,
        definition: str | None = None,
        input: Mapping[str, Any] | None = None,
        *,
        runs: int = 200,
        check: Check | None = None,
        reset: Reset | None = None,
        seed: int = 0,
        faults: Collection[int] | None = None,
    ) -> None:
        """As `Conveyor.explore`."""
        self._do(
            self._conveyor.explore(
                definition, input, runs=runs, check=check, reset=reset, seed=seed, faults=faults
            )
        )

    def service(self, name: str) -> Service:
        """As `Conveyor.service`."""
        return self._conveyor.service(name)

    @property
    def now(self) -> datetime:
        """As `Conveyor.now`."""
        return self._conveyor.now

    @property
    def exceptions(self) -> Sequence[BaseException]:
        """As `Conveyor.exceptions`."""
        return self._conveyor.exceptions


class BlockingRun(RunView):
    """As `Run`; each command returns at the next standstill."""

    def __init__(self, run: Run, runner: asyncio.Runner) -> None:
        super().__init__(run.id, run.look)
        self._run = run
        self._runner = runner

    def signal(self, name: str, payload: Mapping[str, Any] | None = None) -> None:
        """As `Run.signal`."""
        self._runner.run(self._run.signal(name, payload))

    def pause(self) -> None:
        """As `Run.pause`."""
        self._runner.run(self._run.pause())

    def resume(self) -> None:
        """As `Run.resume`."""
        self._runner.run(self._run.resume())

    def cancel(self, *, compensate: bool | None = None) -> None:
        """As `Run.cancel`."""
        self._runner.run(self._run.cancel(compensate=compensate))

    def retry(self) -> None:
        """As `Run.retry`."""
        self._runner.run(self._run.retry())

    def compensate(self) -> None:
        """As `Run.compensate`."""
        self._runner.run(self._run.compensate())
