"""Registering definitions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from application.access import Caller
from application.definitions import (
    DefinitionConflict,
    DefinitionRegistry,
    InvalidDefinition,
    compile_definition,
    services_of,
)
from application.ports import Document
from application.use_cases.refusal import Refused, refused_for
from domain.aggregate.rejection import RejectionCode
from domain.definition.faults import Fault
from domain.values import Value


class Registered(Value):
    """A definition that can be started."""

    name: str
    version: int
    #: False if it was already registered with the same content.
    is_new: bool


class RegisterDefinition:
    """Proves a definition safe, creates its request topics, and stores it."""

    def __init__(
        self,
        registry: DefinitionRegistry,
        ensure_request_topic: Callable[[str], Awaitable[None]],
    ) -> None:
        self._registry = registry
        self._ensure_request_topic = ensure_request_topic

    async def __call__(self, _caller: Caller, document: Document) -> Registered:
        """Raises Refused with every fault, Unavailable."""
        try:
            definition = compile_definition(document)
            # Topics first: once the definition is registered, its steps may be requested.
            for service in sorted(services_of(definition)):
                await self._ensure_request_topic(service)
            result = await self._registry.register(document)
        except InvalidDefinition as invalid:
            raise refused_for([fault_document(fault) for fault in invalid.faults]) from invalid
        except RecursionError as fault:
            raise refused_for([{"path": "", "message": "is nested too deeply"}]) from fault
        except DefinitionConflict as conflict:
            raise Refused(RejectionCode.DEFINITION_EXISTS, str(conflict)) from conflict
        return Registered(
            name=definition.name, version=definition.version, is_new=result == "created"
        )


def fault_document(fault: Fault) -> dict[str, str]:
    """A fault as one of the `errors` of a problem."""
    document = {"path": fault.path, "message": fault.message, "rule": fault.rule.value}
    if fault.step is not None:
        document["step"] = fault.step
    return document
