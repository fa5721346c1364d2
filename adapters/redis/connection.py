"""How this service talks to Redis, and its failures in the terms of the ports."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from application.ports import Unavailable


def connect(url: str, *, database: int = 0, timeout_seconds: float = 2.0) -> Redis:
    """A client whose every wait ends soon: what Redis holds is worth less than the time of a caller.

    A connection that has broken is opened again once; a database in the URL wins.
    """
    return Redis.from_url(  # pyright: ignore[reportUnknownMemberType] - its options are untyped
        url,
        db=database,
        socket_timeout=timeout_seconds,
        socket_connect_timeout=timeout_seconds,
        retry=Retry(NoBackoff(), 1),
    )


@contextmanager
def reaching_redis() -> Generator[None]:
    """Turns what the client raises (away, loading, out of memory, read-only) into `Unavailable`."""
    try:
        yield
    except RedisError as error:
        raise Unavailable("redis", str(error)) from error
