"""The application as the REST API uses it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from starlette.datastructures import Headers

from adapters.rest.hosts import Hosts
from adapters.rest.rate import RateLimit
from application.access import LOCAL_ACTOR, Caller, Role
from application.ports import Document, WorkflowDefinitionRepository
from application.queries import WorkflowReader
from application.use_cases.control import ControlWorkflow
from application.use_cases.definitions import RegisterDefinition
from application.use_cases.preview import PreviewCommand
from application.use_cases.start import StartWorkflow
from application.workers.desk import WorkerDesk


class Monitor(Protocol):
    """The health and metrics of the process."""

    #: Of the service.
    version: str

    async def document(self) -> Document:
        """The health document of CONTRACT 6."""
        ...

    async def is_ready(self) -> bool: ...

    async def warnings(self, services: Collection[str]) -> Sequence[str]:
        """A sentence for each of these services that nobody has ever read, as far as that is known at once."""
        ...

    def metrics(self) -> bytes:
        """In Prometheus' text format."""
        ...


def local_caller(_headers: Headers) -> Caller:
    """Without a login, every caller is the administrator."""
    return Caller(actor=LOCAL_ACTOR, roles=frozenset({Role.ADMIN}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    """The use cases behind the routes. Their gateway must be running while requests are served."""

    reader: WorkflowReader
    start: StartWorkflow
    control: ControlWorkflow
    preview: PreviewCommand
    register: RegisterDefinition
    #: The documents as registered.
    definitions: WorkflowDefinitionRepository
    monitor: Monitor
    workers: WorkerDesk
    hosts: Hosts = field(default_factory=Hosts)
    #: The sender of a request with these headers. Raises NotAuthenticated.
    identify: Callable[[Headers], Caller] = local_caller
    rate: RateLimit = field(default_factory=lambda: RateLimit(0))
    #: The process that responds.
    site_name: str | None = None
