"""The test kit: an engine, participants and time in the hands of a test."""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from conveyor import types
from conveyor.participant import Participant
from conveyor.testing.case import Case
from conveyor.testing.engine import shared_engine
from conveyor.testing.errors import EngineError, KitError
from conveyor.testing.explore import Act, Check, Explorer, Reset, line
from conveyor.testing.faults import Faults
from conveyor.testing.run import Run
from conveyor.testing.services import Asked, Service
from conveyor.testing.world import Definition, World
from conveyor.worker import Worker

if TYPE_CHECKING:
    from conveyor.testing.blocking import BlockingConveyor

Method = TypeVar("Method", bound=Callable[..., Coroutine[Any, Any, Any]])


def _while_open(method: Method) -> Method:
    """Refuse the call itself: a coroutine that nobody awaits would let a test pass that did nothing."""

    @wraps(method)
    def call(self: Conveyor, *args: Any, **options: Any) -> Coroutine[Any, Any, Any]:
        self._require_open()  # pyright: ignore[reportPrivateUsage] - a part of the class
        return method(self, *args, **options)

    return cast("Method", call)


class Conveyor:
    """A fresh engine for a test; use it with `async with`, or with `with` in a plain test.

    `participants` (or workers) run in the test's own process, `definitions` are paths, texts or dicts. Virtual time
    begins now, and passes only in `run` and `advance`; `starts_at` is another beginning. `seed` is that of the
    engine's own random numbers.
    """

    def __init__(
        self,
        *participants: Participant | Worker,
        definitions: Definition | Sequence[Definition] = (),
        seed: int | None = None,
        starts_at: datetime | None = None,
    ) -> None:
        """Raises ValueError if two participants serve one service."""
        flat = [p for each in participants for p in _participants_of(each)]
        if flat:
            Worker(*flat)  # raises what is wrong with them together
        self._participants = flat
        if isinstance(definitions, str | Path | Mapping):
            definitions = [definitions]
        self._definitions = definitions
        self._seed = seed or 0
        self._starts_at = starts_at or datetime.now(UTC).replace(microsecond=0)
        self._services: dict[str, Service] = {}
        self._opened: Case | None = None
        self._runs: dict[str, Run] = {}
        #: What was read last, for assertions after the end.
        self._last_looks: dict[str, tuple[dict[str, Any], list[dict[str, Any]]]] = {}
        #: What the test did to the workflows, which `explore` does again.
        self._acts: list[Act] = []
        self._awaits = "await "
        self._exceptions: Sequence[BaseException] = ()

    async def __aenter__(self) -> Self:
        """Raises WrongDefinition, EngineError."""
        world = World(shared_engine(), self._definitions, self._starts_at, self._seed)
        self._opened = self._case_on(world, Faults(), self._note)
        self._exceptions = self._opened.exceptions
        return self

    async def __aexit__(self, *_: object) -> None:
        case = self._case
        try:
            await case.close()
        finally:
            self._opened = None
            # An engine that has ended was reported where it was asked.
            with suppress(EngineError):
                self._last_looks = {id: case.world.look(id) for id in self._runs}
                case.world.close()

    def __enter__(self) -> BlockingConveyor:
        """For a plain test. Raises KitError in an async one, WrongDefinition, EngineError."""
        from conveyor.testing.blocking import BlockingConveyor  # noqa: PLC0415 - it is made of this class

        self._blocking = BlockingConveyor(self)
        self._awaits = ""
        return self._blocking

    def __exit__(self, *_: object) -> None:
        self._blocking.close()

    # -- workflows -------------------------------------------------------------------------------

    @_while_open
    async def run(
        self, /, definition: str, input: Mapping[str, Any] | None = None, **options: Any
    ) -> Run:
        """Start a workflow and let time pass until it has ended or nothing is due.

        `options` are further fields of a start, such as `id` or `version`. Raises Refused, Unserved, NeverEnding,
        and what a handler asserts.
        """

        return self._handle(await self._do(_run(definition, input, options)))

    @_while_open
    async def start(
        self, /, definition: str, input: Mapping[str, Any] | None = None, **options: Any
    ) -> Run:
        """As `run`, up to the first standstill: time does not pass."""
        return self._handle(
            await self._do(lambda case: case.start(definition, input or {}, options))
        )

    @_while_open
    async def advance(self, /, **time: float) -> None:
        """Let time pass, with everything that is due meanwhile: `advance(hours=3)`, as of `timedelta`."""
        seconds = timedelta(**time).total_seconds()
        await self._do(lambda case: case.advance(seconds))

    @_while_open
    async def signal(
        self, workflow_id: str, name: str, payload: Mapping[str, Any] | None = None
    ) -> None:
        """Send a signal to a workflow."""
        await self._control(
            types.SIGNAL, workflow_id, {"name": name, "payload": dict(payload or {})}
        )

    @_while_open
    async def explore(
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
        """Run the workflow with seeded faults, again and again; without `definition`, what this test did so far.

        Processes of participants die before or after an effect, requests come twice, late or in another order,
        handlers are slow or lose their hold, steps fail. Each run has a fresh engine and fresh key records. `reset`
        puts the test's own world back to its beginning, `check` looks at it after each run and asserts. `faults`
        are the numbers of those that may strike.

        Raises SagaFault for an effect that was done twice, an undo that is missing, a run that does not end, or an
        assertion of `check` or of a handler. Its message ends with the line that repeats it.
        """
        acts = list(self._acts) if definition is None else [_run(definition, input, {})]
        if not acts:
            raise KitError(
                "there is nothing to explore: name a definition, or run a workflow before"
            )
        world = World(shared_engine(), self._definitions, self._starts_at, self._seed)

        def new_case(struck: Faults) -> Case:
            world.renew()
            return self._case_on(world, struck, lambda _service, _asked: None)

        def repeat(number: int, numbers: tuple[int, ...]) -> str:
            options = {"check": check, "reset": reset}
            return self._awaits + line(definition, input, number, numbers, options)

        explorer = Explorer(new_case, self._participants, acts, check, reset, repeat)
        try:
            await explorer.explore(seed, runs, faults)
        finally:
            with suppress(EngineError):
                world.close()

    # -- services --------------------------------------------------------------------------------

    def service(self, name: str) -> Service:
        """The service: its requests so far, and stubs for its operations."""
        return self._services.setdefault(name, Service(name))

    # -- looking ---------------------------------------------------------------------------------

    @property
    def now(self) -> datetime:
        """The virtual time."""
        return self._case.world.time

    @property
    def exceptions(self) -> Sequence[BaseException]:
        """What handlers raised besides `StepError`, in order: each failed its step with the code INTERNAL."""
        return self._exceptions

    def _case_on(self, world: World, faults: Faults, asked: Callable[[str, Asked], None]) -> Case:
        return Case(world, self._participants, self.service, asked, faults)

    def _require_open(self) -> Case:
        if self._opened is None:
            raise KitError(
                "this Conveyor is not open: write `with Conveyor(...) as c:` and use c, or in an async test"
                " `async with`"
            )
        return self._opened

    @property
    def _case(self) -> Case:
        return self._require_open()

    async def _do(self, act: Act) -> Any:
        done = await act(self._case)
        self._acts.append(act)
        return done

    async def _control(self, command: str, workflow_id: str, data: Mapping[str, Any]) -> None:
        await self._do(lambda case: case.control(command, workflow_id, data))

    def _handle(self, workflow_id: str) -> Run:
        def look() -> tuple[dict[str, Any], list[dict[str, Any]]]:
            if self._opened is None and workflow_id in self._last_looks:
                return self._last_looks[workflow_id]
            return self._case.world.look(workflow_id)

        run = Run(workflow_id, look, self._control)
        self._runs[workflow_id] = run
        return run

    def _note(self, service: str, asked: Asked) -> None:
        self.service(service).requests.append(asked)


def _run(definition: str, input: Mapping[str, Any] | None, options: Mapping[str, Any]) -> Act:
    """Starts a workflow and waits for its end; gives its id."""

    async def act(case: Case) -> str:
        workflow_id = await case.start(definition, input or {}, options)
        await case.finish(workflow_id)
        return workflow_id

    return act


def _participants_of(given: Participant | Worker) -> Sequence[Participant]:
    return given.participants if isinstance(given, Worker) else (given,)
