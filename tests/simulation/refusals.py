"""Topics that refuse the engines' messages in every attempt, until somebody permits them again (ADR 24)."""

from __future__ import annotations

from functools import partial

from conveyor import topics

from tests.simulation.chances import Kind
from tests.simulation.faults import Network

#: Of how many seeds a topic refuses messages; of these, how many have one that does so in the healed world.
_SHARE = 0.3
_LASTING = 0.5
#: What engines write to: all but the replies.
_TOPICS = (
    topics.EVENTS,
    topics.DEAD_LETTER,
    topics.COMMANDS,
    *(topics.step_requests(service) for service in ("stock", "robots", "money", "parcels")),
)


class Refusals:
    """Those of one run."""

    def __init__(self, network: Network, seconds: float) -> None:
        self._network = network
        self._seconds = seconds
        self._dice = network.chances.stream("refusals")
        #: Refuses while everything else is healed, for so long after what has to go on went on.
        self.lasting: str | None = None
        self.lasting_seconds = 0.0

    def schedule(self) -> None:
        """Lay out which topics refuse, and when."""
        dice, strikes = self._dice, self._network.chances.strikes
        if dice.random() >= _SHARE:
            return
        for _ in range(dice.choice((1, 2, 3))):
            topic, begin = dice.choice(_TOPICS), dice.uniform(0.0, self._seconds)
            lasts = dice.choice((0.5, 4.0, 12.0))
            if strikes(Kind.TOPIC_REFUSES, 1.0):
                self._network.later(begin, partial(self._begin, topic))
                self._network.later(begin + lasts, partial(self.end, topic))
        topic, seconds = dice.choice(_TOPICS), dice.choice((0.0, 40.0))
        if dice.random() < _LASTING and strikes(Kind.TOPIC_REFUSES, 1.0):
            self.lasting, self.lasting_seconds = topic, seconds

    def outlast(self) -> None:
        """Everything else is healed."""
        if self.lasting is not None:
            self._begin(self.lasting)

    def _begin(self, topic: str) -> None:
        self._network.trace.note("world", f"{topic} refuses every message")
        self._network.weather.refusing.add(topic)

    def end(self, topic: str) -> None:
        """It takes messages again."""
        self._network.trace.note("world", f"{topic} takes messages again")
        self._network.weather.refusing.discard(topic)
