"""Errors that explain why there are no figures."""

from __future__ import annotations


class BenchError(Exception):
    """The run could not be measured; the message says why."""


class ServersAwayError(BenchError):
    """A server that the mode needs does not answer; the message says which and what to do."""
