"""The errors of every port that reaches a server."""

from __future__ import annotations


class Unavailable(Exception):
    """A server does not answer or refused for a passing reason; what was being written may or may not be there."""

    def __init__(self, component: str, detail: str) -> None:
        super().__init__(f"{component}: {detail}")
        #: `kafka`, `eventStore` or `redis`, as in the health document.
        self.component = component
        self.detail = detail


class Refused(Unavailable):
    """A topic takes a message in no attempt: it is missing, forbidden, or its limits are too low.

    Other topics are not affected. Somebody has to change the topic or the permissions first.
    """

    def __init__(self, component: str, topic: str, detail: str) -> None:
        super().__init__(component, f"{topic}: {detail}")
        #: Its name without the installation's prefix.
        self.topic = topic
        #: Why the server refuses.
        self.reason = detail
