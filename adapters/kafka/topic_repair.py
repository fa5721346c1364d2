"""Repairs topics that refuse messages: configures them as `conveyor init` does, then tries again."""

from __future__ import annotations

from conveyor.messages import Message, Record

from adapters.kafka.errors import TopicMismatchError
from adapters.kafka.publisher import KafkaPublisher
from adapters.kafka.settings import KafkaSettings
from adapters.kafka.topics import restore_topic
from application.ports import Unavailable


class KafkaTopicRepair:
    """`TopicRepair` on Kafka. It keeps no connection between two attempts."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings

    async def try_again(self, topic: str, sample: Message | Record) -> None:
        failure: Exception | None = None
        try:
            await restore_topic(self._settings, topic)
        except (Unavailable, TopicMismatchError) as error:
            # The topic may be fine: permission to write does not include permission to change it.
            failure = error
        publisher = KafkaPublisher(self._settings)
        try:
            await publisher.publish([sample])
        except Unavailable as refused:
            if failure is None:
                raise
            raise Unavailable("kafka", f"{refused.detail}; not repaired: {failure}") from refused
        finally:
            await publisher.close()
