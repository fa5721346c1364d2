"""The one error of every port that reaches a server."""

from __future__ import annotations


class Unavailable(Exception):
    """A server does not answer or refused for a passing reason; what was being written may or may not be there."""

    def __init__(self, component: str, detail: str) -> None:
        super().__init__(f"{component}: {detail}")
        #: `kafka`, `eventStore` or `redis`, as in the health document.
        self.component = component
        self.detail = detail
