"""What the REST API stands on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from application.definitions.registry import DefinitionRegistry
from application.gateway import CommandGateway
from application.ports import Document, WorkflowDefinitionRepository
from application.queries import WorkflowReader


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    """The use cases behind the routes. `gateway.run` must be running while requests are served."""

    reader: WorkflowReader
    gateway: CommandGateway
    registry: DefinitionRegistry
    #: The documents as registered.
    definitions: WorkflowDefinitionRepository
    #: Creates the request topic of a service, if need be.
    ensure_request_topic: Callable[[str], Awaitable[None]]
    #: The health document of CONTRACT 6.
    health: Callable[[], Awaitable[Document]]
    is_ready: Callable[[], Awaitable[bool]]
    #: The metrics in Prometheus' text format.
    metrics: Callable[[], bytes]
    version: str
