"""Checks for the health document whether a broker responds."""

from __future__ import annotations

import asyncio

from adapters.kafka.cluster import Cluster
from adapters.kafka.settings import KafkaSettings
from application.ports import Unavailable

_TIMEOUT_SECONDS = 2.0


class KafkaProbe:
    """Keeps its own client, so that a check is one small request."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._cluster = Cluster(settings)

    async def problem(self) -> str | None:
        """None if a broker answers within two seconds, else why not."""
        try:
            await asyncio.to_thread(self._cluster.brokers, _TIMEOUT_SECONDS)
        except Unavailable as error:
            return error.detail
        return None
