"""Where the inbox begins after `conveyor init`, on stores that are empty or not."""

from __future__ import annotations

from conveyor import topics

from adapters.memory.projections import MemoryProjections
from application.ports import InboxStart
from domain.aggregate.position import TopicPartition
from infrastructure.initialise import _write_layout

IDS = {topics.COMMANDS: "id-1", topics.REPLIES: "id-2"}
KEPT_FROM = {TopicPartition(topics.COMMANDS, 0): 5, TopicPartition(topics.REPLIES, 0): 0}


async def test_an_empty_store_begins_with_the_oldest_message_kept() -> None:
    """What was deleted before is not waited for; a new topic begins at 0."""
    projections = MemoryProjections()

    await _write_layout(projections, IDS, 1, KEPT_FROM)

    assert set(await projections.starts()) == {
        InboxStart(topics.COMMANDS, 0, "id-1", 5),
        InboxStart(topics.REPLIES, 0, "id-2", 0),
    }


async def test_repeating_it_passes_over_no_message() -> None:
    """A stored start whose next message was deleted stays, so that the engine goes on raising the alarm;
    one of a topic that was recreated gives way."""
    projections = MemoryProjections()
    await projections.save_starts(
        [
            InboxStart(topics.COMMANDS, 0, "id-1", 3),
            InboxStart(topics.REPLIES, 0, "the old one", 9),
        ]
    )

    layout = await _write_layout(projections, IDS, 1, KEPT_FROM)
    assert await _write_layout(projections, IDS, 1, KEPT_FROM) == layout

    assert set(await projections.starts()) == {
        InboxStart(topics.COMMANDS, 0, "id-1", 3),
        InboxStart(topics.REPLIES, 0, "id-2", 0),
    }
