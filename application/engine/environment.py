"""The environment of the processor and its parts: ports, settings and health."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from application.ports import (
    Clock,
    Definitions,
    EventLog,
    HotState,
    Inbox,
    Projections,
    PublishEventPort,
    Telemetry,
    TopicRepair,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessorSettings:
    #: Messages taken at once.
    batch_size: int = 1000
    #: How far projections and committed offsets may lag behind.
    projection_interval: timedelta = timedelta(milliseconds=450)
    #: How far ahead timers are read from the projection.
    timers_ahead: timedelta = timedelta(seconds=30)
    #: A due timer is sent again after this time, until it is applied.
    timer_resend: timedelta = timedelta(seconds=5)
    #: Instances kept in memory, besides those with a timer that is due soon.
    cached_instances: int = 20_000
    #: The first wait after a server did not answer. It doubles, up to 16 times this value.
    retry_wait_seconds: float = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Everything that the processor talks to."""

    inbox: Inbox
    publisher: PublishEventPort
    event_log: EventLog
    projections: Projections
    hot_state: HotState | None
    definitions: Definitions
    telemetry: Telemetry
    clock: Clock
    #: None in the embedded mode, where no topic refuses messages.
    topic_repair: TopicRepair | None = None


@dataclass(slots=True)
class Health:
    """The engine's part of the health document."""

    running: bool = False
    #: component -> what is wrong with it now
    troubles: dict[str, str] = field(default_factory=dict[str, str])
    #: topic -> why nothing is written to it now, and what to do; all other topics continue
    held_topics: dict[str, str] = field(default_factory=dict[str, str])
