"""The errors of every port that reaches a server."""

from __future__ import annotations


class Unavailable(Exception):
    """A server does not answer, or refused for a temporary reason. A write may or may not have happened."""

    def __init__(self, component: str, detail: str) -> None:
        super().__init__(f"{component}: {detail}")
        #: `kafka`, `eventStore` or `redis`, as in the health document.
        self.component = component
        self.detail = detail


class Refused(Unavailable):
    """A topic cannot accept a message: it is missing or forbidden, or its limits are too low.

    Other topics are not affected. An operator has to change the topic or the permissions first.
    """

    def __init__(self, component: str, topic: str, detail: str) -> None:
        super().__init__(component, f"{topic}: {detail}")
        #: The topic's name, without the installation's prefix.
        self.topic = topic
        #: Why the server refuses.
        self.reason = detail
