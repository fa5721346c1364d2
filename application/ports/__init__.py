"""The ports of the application: one Protocol per role, implemented in `adapters/`.

There are few errors. An adapter turns what its driver raises into `Unavailable` (try again later; the outcome of a
write is unknown), or lets a bug be a bug. A lost race is a return value, never an exception.
"""

from application.ports.coordination import Lease, Locks
from application.ports.definitions import (
    DefinitionOf,
    Definitions,
    FindDefinition,
    LookUpDefinition,
    WorkflowDefinitionRepository,
)
from application.ports.document import Document
from application.ports.inbox import (
    Assigned,
    Inbox,
    InboxListener,
    InboxTrimmer,
    LaneState,
    Received,
    Trimmed,
)
from application.ports.log import (
    INTERNAL_PREFIX,
    Commit,
    Entry,
    EventHead,
    EventLog,
    RecordedEvent,
    commit_id,
)
from application.ports.queries import (
    ANY_INCIDENT,
    NOT_LISTED,
    Page,
    WorkflowFilter,
    WorkflowQueries,
)
from application.ports.states import (
    HotState,
    InboxLayout,
    InboxStart,
    Mark,
    Projections,
    SetupError,
)
from application.ports.telemetry import Clock, Telemetry
from application.ports.topics import (
    EventFeed,
    PublishEventPort,
    ReadServices,
    RequestReaders,
    TopicRepair,
)
from application.ports.unavailable import Refused, Unavailable
from application.ports.verification import (
    Published,
    PublishedEvents,
    PublishedRange,
    StoredCommit,
    StoreScan,
)

__all__ = [
    "ANY_INCIDENT",
    "INTERNAL_PREFIX",
    "NOT_LISTED",
    "Assigned",
    "Clock",
    "Commit",
    "DefinitionOf",
    "Definitions",
    "Document",
    "Entry",
    "EventFeed",
    "EventHead",
    "EventLog",
    "FindDefinition",
    "HotState",
    "Inbox",
    "InboxLayout",
    "InboxListener",
    "InboxStart",
    "InboxTrimmer",
    "LaneState",
    "Lease",
    "Locks",
    "LookUpDefinition",
    "Mark",
    "Page",
    "Projections",
    "PublishEventPort",
    "Published",
    "PublishedEvents",
    "PublishedRange",
    "ReadServices",
    "Received",
    "RecordedEvent",
    "Refused",
    "RequestReaders",
    "SetupError",
    "StoreScan",
    "StoredCommit",
    "Telemetry",
    "TopicRepair",
    "Trimmed",
    "Unavailable",
    "WorkflowDefinitionRepository",
    "WorkflowFilter",
    "WorkflowQueries",
    "commit_id",
]
