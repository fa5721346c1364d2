"""Checks settings that only the drivers of Kafka, MongoDB and Redis can validate, before anything is started."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from adapters.kafka.errors import error_of
from adapters.mongodb.connection import connect
from adapters.redis.connection import connect as connect_redis
from infrastructure.settings import Settings, SettingsError
from infrastructure.wiring import kafka_settings


def require_usable(settings: Settings) -> None:
    """Raises SettingsError with a sentence for every setting that a driver refuses. Contacts no server."""
    sentences = list(_refusals(settings))
    if sentences:
        raise SettingsError("\n".join(sentences))


def _refusals(settings: Settings) -> Iterator[str]:
    clients: dict[str, Callable[[], object]] = {
        "CONVEYOR_KAFKA__*": lambda: AdminClient(
            {**kafka_settings(settings).client(), "log_level": 0}
        ),
        "CONVEYOR_MONGODB__*": lambda: connect(settings.mongodb.uri)[settings.mongodb.database],
    }
    if settings.redis.enabled:
        clients["CONVEYOR_REDIS__URL"] = lambda: _redis_connection(settings.redis.address)
    for setting, make in clients.items():
        try:
            make()
        except KafkaException as fault:
            yield f"{setting}: {error_of(fault).str()}"
        except Exception as fault:  # noqa: BLE001 - drivers raise ValueError, TypeError, OSError and errors of their own
            yield f"{setting}: {fault}"


def _redis_connection(url: str) -> object:
    """The client takes options that its connections refuse."""
    return connect_redis(url).connection_pool.make_connection()
