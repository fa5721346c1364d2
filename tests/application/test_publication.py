"""The publication under way, and what waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from conveyor.messages import Message, Record

from application.engine.publication import Publication
from application.ports import Unavailable


class SlowBroker:
    """Acknowledges when it is told to, or fails."""

    def __init__(self) -> None:
        self.called: list[Sequence[Message | Record]] = []
        self._answers: asyncio.Queue[asyncio.Future[None]] = asyncio.Queue()

    async def publish(self, messages: Sequence[Message | Record]) -> None:
        self.called.append(messages)
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._answers.put_nowait(answer)
        await answer

    async def next_answer(self) -> asyncio.Future[None]:
        """What the next call of `publish` waits for."""
        async with asyncio.timeout(30):
            return await self._answers.get()


def message(name: str) -> Message:
    return Message(topic="t", key="k", type="x", source="/s", id=name, data=b"{}")


async def test_the_next_is_not_sent_before_the_last_is_acknowledged() -> None:
    """Deciding goes on while a publication is under way; a second one waits for it."""
    broker = SlowBroker()
    publication = Publication(broker)
    published: list[str] = []
    first, second = [message("1")], [message("2")]

    await publication.begin(first, lambda: published.append("1"))
    waiting = asyncio.ensure_future(publication.begin(second, lambda: published.append("2")))
    answer = await broker.next_answer()

    assert broker.called == [first]
    assert not waiting.done()
    answer.set_result(None)
    await waiting
    answer = await broker.next_answer()
    assert broker.called == [first, second]
    assert published == ["1"]
    answer.set_result(None)
    await publication.finish()
    assert published == ["1", "2"]


async def test_nothing_is_sent_after_a_failure_until_it_is_abandoned() -> None:
    """A gap must not be followed by what came behind it (PROTOCOL rule 7)."""
    broker = SlowBroker()
    publication = Publication(broker)
    published: list[str] = []

    await publication.begin([message("1")], lambda: published.append("1"))
    (await broker.next_answer()).set_exception(Unavailable("kafka", "gone"))

    with pytest.raises(Unavailable):
        await publication.begin([message("2")], lambda: published.append("2"))
    with pytest.raises(Unavailable):
        await publication.finish()
    assert len(broker.called) == 1
    assert published == []

    await publication.abandon()
    await publication.begin([message("3")], lambda: published.append("3"))
    (await broker.next_answer()).set_result(None)
    await publication.finish()
    assert published == ["3"]


async def test_who_only_waits_leaves_the_failure_to_the_next() -> None:
    """A partition is lost: messages of those that are kept may be among what did not get out."""
    broker = SlowBroker()
    publication = Publication(broker)

    await publication.begin([message("1")], lambda: None)
    (await broker.next_answer()).set_exception(Unavailable("kafka", "gone"))
    await publication.settle()

    with pytest.raises(Unavailable):
        await publication.finish()


async def test_who_waits_for_the_last_does_not_ask_for_the_next() -> None:
    """While one waits, another begins the next publication."""
    broker = SlowBroker()
    publication = Publication(broker)

    await publication.begin([message("1")], lambda: None)
    next_one = asyncio.ensure_future(publication.begin([message("2")], lambda: None))
    waiting = asyncio.ensure_future(publication.finish())
    (await broker.next_answer()).set_result(None)
    await next_one
    await waiting

    assert broker.called == [[message("1")], [message("2")]]
    (await broker.next_answer()).set_result(None)
    await publication.finish()


async def test_two_that_come_at_once_are_sent_one_after_the_other() -> None:
    """The halves of a batch end at about the same time."""
    broker = SlowBroker()
    publication = Publication(broker)
    published: list[str] = []

    both = asyncio.gather(
        publication.begin([message("1")], lambda: published.append("1")),
        publication.begin([message("2")], lambda: published.append("2")),
    )
    answer = await broker.next_answer()

    assert len(broker.called) == 1
    answer.set_result(None)
    await both
    (await broker.next_answer()).set_result(None)
    await publication.finish()
    assert published == ["1", "2"]
