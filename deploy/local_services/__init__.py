"""Kafka, a MongoDB and Redis for trying and testing, without Docker or with it."""

from deploy.local_services.kafka import start_kafka
from deploy.local_services.mongodb import start_mongo
from deploy.local_services.process import LocalService, RunningService, ServiceError
from deploy.local_services.redis_server import start_redis

__all__ = [
    "LocalService",
    "RunningService",
    "ServiceError",
    "start_kafka",
    "start_mongo",
    "start_redis",
]
