"""A participant as the test has it: its handlers observed, and stubs in front of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import replace
from typing import Any

from conveyor.errors import StepError
from conveyor.handlers import Handler, StepContext
from conveyor.keys import UNDO_SUFFIX
from conveyor.participant import Operation, Participant
from conveyor.testing.errors import Unserved
from conveyor.testing.services import Rule, Service

#: How long an attempt of an operation takes, and the rule for its outcome.
Take = Callable[[Service, str], tuple[float, Rule | None]]
#: Waits on virtual time, while the step with this key does.
SleepFor = Callable[[float, str], Coroutine[Any, Any, None]]


class Served(Participant):
    """Has the operations of a participant, or of a service that only stubs stand for."""

    def __init__(
        self,
        name: str,
        services: Iterable[Service],
        participant: Participant | None,
        take: Take,
        sleep: SleepFor,
        raised: Callable[[BaseException], None],
    ) -> None:
        super().__init__(name)
        self._services = {service.name: service for service in services}
        self._participant = participant
        self._take = take
        self._sleep = sleep
        self._raised = raised

    @property
    def services(self) -> tuple[str, ...]:
        return tuple(self._services)

    @property
    def operations(self) -> list[str]:
        """The operations of its participant."""
        mine = self._participant
        return (
            [] if mine is None else sorted({name for _, name in (*mine.steps, *mine.compensations)})
        )

    def find_step(self, service: str, operation: str) -> Operation | None:
        mine = self._participant
        given = None if mine is None else mine.find_step(service, operation)
        return self._observed(service, operation, given)

    def find_compensation(self, service: str, operation: str) -> Operation | None:
        mine = self._participant
        given = None if mine is None else mine.find_compensation(service, operation)
        return self._observed(service, operation, given)

    def _observed(self, service: str, operation: str, given: Operation | None) -> Operation | None:
        stubs = self._services[service]
        if given is None and not any(rule.operation == operation for rule in stubs.rules):
            return None
        handler = _Observed(self, stubs, operation, None if given is None else given.handler)
        standing = given or Operation(handler, "run")
        return replace(standing, handler=handler)

    def handle(
        self,
        service: Service,
        operation: str,
        handler: Handler | None,
        data: dict[str, Any],
        context: StepContext,
    ) -> Any:
        """The result of an attempt, perhaps awaitable. Raises what the attempt failed with."""
        seconds, rule = self._take(service, operation)
        if seconds:
            return self._late(seconds, rule, handler, data, context)
        try:
            result = self._outcome(rule, handler, data, context)
        except BaseException as error:
            self._note(error)
            raise
        return self._awaited(result) if hasattr(result, "__await__") else result

    async def _late(
        self,
        seconds: float,
        rule: Rule | None,
        handler: Handler | None,
        data: dict[str, Any],
        context: StepContext,
    ) -> Any:
        await self._sleep(seconds, context.idempotency_key.removesuffix(UNDO_SUFFIX))
        try:
            result = self._outcome(rule, handler, data, context)
            return await result if hasattr(result, "__await__") else result
        except BaseException as error:
            self._note(error)
            raise

    async def _awaited(self, result: Awaitable[Any]) -> Any:
        try:
            return await result
        except BaseException as error:
            self._note(error)
            raise

    def _outcome(
        self,
        rule: Rule | None,
        handler: Handler | None,
        data: dict[str, Any],
        context: StepContext,
    ) -> Any:
        if rule is not None and rule.failure is not None:
            raise type(rule.failure)(rule.failure.code, rule.failure.message)
        if rule is not None:
            return rule.output(data) if callable(rule.output) else rule.output
        if handler is None:
            raise Unserved(
                "its stub fails a number of times, and nothing says what follows: add .answers(...)"
            )
        return handler.call(data, context if handler.takes_context else None)

    def _note(self, error: BaseException) -> None:
        if not isinstance(error, StepError | asyncio.CancelledError):
            self._raised(error)


class _Observed(Handler):
    """Stands where the handler of an operation stands."""

    def __init__(
        self, served: Served, service: Service, operation: str, handler: Handler | None
    ) -> None:
        self._served = served
        self._service = service
        self._operation = operation
        self._handler = handler
        self.is_async = handler is not None and handler.is_async
        self.takes_context = True

    def call(self, data: dict[str, Any], context: StepContext | None) -> Any:
        assert context is not None
        return self._served.handle(self._service, self._operation, self._handler, data, context)
