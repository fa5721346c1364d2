"""How this service talks to Redis, and translation of its failures to those of the ports."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from redis.asyncio import Connection, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.connection import HiredisRespSerializer
from redis.exceptions import RedisError
from redis.typing import EncodableT

from application.ports import Unavailable


class _Connection(Connection):
    """Packs commands in C, as redis-py itself does for blocking clients: a document has 25 arguments."""

    _packer: Any = HiredisRespSerializer()

    def pack_command(self, *args: EncodableT) -> list[bytes]:
        return self._packer.pack(*args)


def connect(url: str, *, database: int = 0, timeout_seconds: float = 2.0) -> Redis:
    """A client with short limits on every wait, since what Redis holds is less important than a caller's time.

    A broken connection is reopened once. A database in the URL takes precedence.
    """
    return Redis.from_url(  # pyright: ignore[reportUnknownMemberType] - its options are untyped
        url,
        # A URL for TLS or a Unix socket has its own connection class.
        connection_class=_Connection,
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
