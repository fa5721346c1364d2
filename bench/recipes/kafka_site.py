"""Topics, groups, database and Redis keys of one run: nobody else's, and removed in the end."""
# The client's admin package has half-typed signatures and does not mark what it exports.
# pyright: reportPrivateImportUsage=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from pymongo import MongoClient
from pymongo.errors import PyMongoError
from redis import Redis
from redis.exceptions import RedisError

from infrastructure.settings import PREFIX, LogSection, Settings
from infrastructure.wiring import kafka_settings

_TIMEOUT_SECONDS = 15.0
_RETRY_SECONDS = 0.2
#: How often in a row a database must be seen to be gone.
_SEEN_GONE = 4
_KEYS_AT_ONCE = 5000
#: A member that was killed is in its group until the session time-out.
_PASSING = (KafkaError.NON_EMPTY_GROUP, KafkaError.REBALANCE_IN_PROGRESS)
_GONE = (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.GROUP_ID_NOT_FOUND)


class KafkaSite:
    """The place of one run on the servers of the settings."""

    def __init__(self, settings: Settings) -> None:
        run = uuid.uuid4().hex[:8]
        #: Begins every workflow id, hence every key in Redis.
        self.id_prefix = f"b{run}-"
        self._topic_prefix = f"bench-{run}."
        self._database = f"conveyor_bench_{run}"
        self.settings = settings.model_copy(
            update={
                "kafka": settings.kafka.model_copy(update={"topic_prefix": self._topic_prefix}),
                "mongodb": settings.mongodb.model_copy(update={"database": self._database}),
                "log": LogSection(level="WARNING"),
            }
        )

    @property
    def environment(self) -> dict[str, str]:
        """The same settings for a child process, over those that it inherits."""
        return {
            f"{PREFIX}KAFKA__TOPIC_PREFIX": self._topic_prefix,
            f"{PREFIX}MONGODB__DATABASE": self._database,
            f"{PREFIX}LOG__LEVEL": "WARNING",
        }

    def remove(self) -> list[str]:
        """Remove all of it. Returns a sentence for each part that could not be removed."""
        parts: dict[str, Callable[[], None]] = {
            f"consumer groups {self._topic_prefix}*": self._remove_groups,
            f"topics {self._topic_prefix}*": self._remove_topics,
            f"database {self._database}": self._remove_database,
            f"Redis keys workflow:*:{self.id_prefix}*": self._remove_keys,
        }
        left: list[str] = []
        for part, remove in parts.items():
            try:
                remove()
            except (KafkaException, PyMongoError, RedisError) as error:
                left.append(f"{part} could not be removed: {error}")
        return left

    def _admin(self) -> AdminClient:
        # Its log is off, as everything that matters comes as an error.
        return AdminClient({**kafka_settings(self.settings).client(), "log_level": 0})

    def _remove_groups(self) -> None:
        admin = self._admin()

        def remaining() -> list[str]:
            listed = admin.list_consumer_groups(request_timeout=_TIMEOUT_SECONDS).result()
            return [each.group_id for each in listed.valid if self._is_ours(each.group_id)]

        _until_none(remaining, admin.delete_consumer_groups)

    def _remove_topics(self) -> None:
        admin = self._admin()

        def remaining() -> list[str]:
            return [
                name
                for name in admin.list_topics(timeout=_TIMEOUT_SECONDS).topics
                if self._is_ours(name)
            ]

        _until_none(remaining, admin.delete_topics)

    def _is_ours(self, name: str) -> bool:
        return name.startswith(self._topic_prefix)

    def _remove_database(self) -> None:
        with MongoClient[dict[str, Any]](
            self.settings.mongodb.uri, serverSelectionTimeoutMS=int(_TIMEOUT_SECONDS * 1000)
        ) as client:
            # A write that was under way when the run was interrupted may land after the first drop.
            gone = 0
            while gone < _SEEN_GONE:
                if self._database in client.list_database_names():
                    client.drop_database(self._database)
                    gone = 0
                else:
                    gone += 1
                    time.sleep(_RETRY_SECONDS)

    def _remove_keys(self) -> None:
        section = self.settings.redis
        if not section.enabled:
            return
        # The participant knows the URL only, so its keys may be in the URL's own database.
        for database in {section.database, 0}:
            with Redis.from_url(section.url, db=database) as client:
                keys: Iterator[bytes] = client.scan_iter(
                    f"workflow:*:{self.id_prefix}*", count=_KEYS_AT_ONCE
                )
                while some := list(islice(keys, _KEYS_AT_ONCE)):
                    client.unlink(*some)


def _until_none(
    remaining: Callable[[], list[str]], delete: Callable[[list[str]], dict[str, Any]]
) -> None:
    """Delete what remains until nothing does. Raises KafkaException."""
    deadline = time.monotonic() + _TIMEOUT_SECONDS
    while names := remaining():
        for answer in delete(names).values():
            try:
                answer.result()
            except KafkaException as error:
                code = error.args[0].code()
                if code not in _GONE and (code not in _PASSING or time.monotonic() > deadline):
                    raise
        if time.monotonic() > deadline:
            raise KafkaException(KafkaError(KafkaError.REQUEST_TIMED_OUT))
        time.sleep(_RETRY_SECONDS)
