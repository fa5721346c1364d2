"""Events about the load of the whole system."""

from __future__ import annotations

from collections.abc import Mapping

from domain.aggregate.event import DomainEvent


class SystemLoadRebalanced(DomainEvent):
    """An event of the aggregate `system`, not of a workflow."""

    TYPE = "orchestration.system.load.rebalanced"
    NAME = "SystemLoadRebalancedEvent"
    trigger: str
    before: Mapping[str, float]
    target_loads: Mapping[str, float]
    moved: int
