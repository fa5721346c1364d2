"""Orders that are sent while things break, and what may become of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from tests.acceptance.courses import Courses
from tests.acceptance.programs import Program, until
from tests.acceptance.sites import START, Site, start_data
from tests.faults.moments import pass_by

COMPENSATE = "orchestration.workflow.compensate"
COMPLETED = "COMPLETED"
COMPENSATED = "COMPENSATED"
#: What document stores handle in a way of their own, also when an engine loads it again.
AWKWARD = {"$ref": "no reference", "at": 2**40, "with.dots": [None, 0.5]}


@dataclass(frozen=True, slots=True)
class Order:
    """A saga to start, and how it ends unless a time-out made it go back."""

    id: str
    simulate: dict[str, Any]
    end: str


def orders(rng: Random, prefix: str, count: int) -> list[Order]:
    """Two of ten fail for good and are undone, two more succeed at a second attempt or late."""
    return [_order(rng, f"{prefix}-{number}", number % 10) for number in range(count)]


def _order(rng: Random, order_id: str, lot: int) -> Order:
    latency = {"latencyMs": rng.randrange(100)}
    match lot:
        case 0:
            return Order(order_id, {**latency, "failStep": "pick-items"}, COMPENSATED)
        case 5:
            return Order(order_id, {**latency, "failStep": "assign-robot"}, COMPENSATED)
        case 3:
            return Order(
                order_id, {"failStep": "charge-payment", "retryable": True, "times": 1}, COMPLETED
            )
        case 7:
            late = {"failStep": "pack-items", "times": 0, "latencyMs": rng.randrange(500, 2000)}
            return Order(order_id, late, COMPLETED)
        case _:
            return Order(order_id, latency, COMPLETED)


class Load:
    """Orders on the command topic of one site, in waves, and the events that tell of them."""

    def __init__(
        self, site: Site, courses: Courses, rng: Random, last_words: Callable[[], str]
    ) -> None:
        """`last_words` tells what the processes of the site have to say when sagas do not end."""
        self._site = site
        self._courses = courses
        self._rng = rng
        self._last_words = last_words
        self._waves = 0
        self.orders: list[Order] = []

    @property
    def ids(self) -> Sequence[str]:
        return [order.id for order in self.orders]

    def send(self, count: int, *, flush: bool = True) -> None:
        """One more wave; without `flush` it may still be on its way."""
        self._waves += 1
        wave = orders(self._rng, f"w{self._waves}", count)
        for order in wave:
            data = {**start_data(order.id, order.simulate), "metadata": AWKWARD}
            self._site.command(order.id, START, data)
        self.orders += wave
        if flush:
            self._site.flush()

    def until_a_random_moment(self, events: int, programs: Sequence[Program] = ()) -> None:
        """Until a number of events drawn from 1 to `events` has come, or all sagas have ended."""
        wanted = len(self._courses.records) + self._rng.randint(1, events)

        def look() -> bool:
            self._courses.read()
            return len(self._courses.records) >= wanted or self.have_ended()

        until(f"{wanted} events", look, 60, programs)

    def watch(self, seconds: float) -> None:
        """Follow the events for a while, for a fault whose only measure is its length."""
        pass_by(seconds, self._courses.read)

    def have_ended(self) -> bool:
        return self._courses.ended(self.ids) == len(self.ids)

    def are_undoing(self) -> bool:
        """Some sagas are on their way back."""
        self._courses.read()
        return any("compensation.started" in self._courses.types(each) for each in self.ids)

    def stuck(self) -> list[str]:
        """Sagas that have ended with an undo that failed in all its attempts."""
        self._courses.read()
        return [each for each in self.ids if self._undos_of(each)[-1:] == [False]]

    def _compensate_again(self, stuck: Sequence[str], seconds: float) -> None:
        before = {each: len(self._undos_of(each)) for each in stuck}
        for each in stuck:
            self._site.command(each, COMPENSATE, {"reason": "its participant is back"})
        self._site.flush()

        def have_ended() -> bool:
            self._courses.read()
            return all(len(self._undos_of(each)) > before[each] for each in stuck)

        until(f"{len(stuck)} undos tried again", have_ended, seconds)

    def _undos_of(self, workflow_id: str) -> list[bool]:
        """How each of its compensations has ended."""
        ends = self._courses.of_type(workflow_id, "compensation.completed")
        return [end["success"] for end in ends]

    def until_ended(self, seconds: float = 120.0, programs: Sequence[Program] = ()) -> None:
        """Read until every saga has ended."""
        self._site.flush()
        try:
            self._courses.until_ended(self.ids, seconds, programs)
        except AssertionError as failed:
            failed.add_note(self._last_words())
            raise

    def until_ended_with_an_operator(self, seconds: float) -> None:
        """The same, where participants were away so long that undos used up their attempts: they are tried again."""
        self.until_ended(seconds)
        while stuck := self.stuck():
            self._compensate_again(stuck, seconds)
