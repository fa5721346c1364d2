"""Kafka, a MongoDB and Redis for trying and testing, without Docker or with it."""

from infrastructure.services.kafka import start_kafka
from infrastructure.services.mongodb import start_mongo
from infrastructure.services.process import LocalService, RunningService, ServiceError
from infrastructure.services.redis_server import start_redis

__all__ = [
    "LocalService",
    "RunningService",
    "ServiceError",
    "start_kafka",
    "start_mongo",
    "start_redis",
]
