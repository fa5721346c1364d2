"""Redis, from the system's packages."""

from collections.abc import Sequence
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError

from deploy.local_services.process import (
    LOCALHOST,
    LocalService,
    accepts_connections,
    free_port,
    required_program,
    start_process,
    state_folder,
)

_START_SECONDS = 30


def start_redis(
    folder: Path | None = None, port: int | None = None, options: Sequence[str] = ()
) -> LocalService:
    """Start a server that keeps nothing on disk; `address` is its URL."""
    program = required_program("redis-server", "redis-server")
    state = state_folder("redis", folder)
    bound_port = port or free_port()
    return start_process(
        "redis",
        [
            program,
            *["--bind", LOCALHOST],
            *["--port", str(bound_port)],
            *["--dir", str(state)],
            *["--save", ""],
            *["--appendonly", "no"],
            *options,
        ],
        address=f"redis://{LOCALHOST}:{bound_port}",
        folder=state,
        removes_folder=folder is None,
        answers=lambda: accepts_connections(bound_port) and answers_ping(bound_port),
        deadline_seconds=_START_SECONDS,
    )


def answers_ping(port: int) -> bool:
    """Whether a Redis there accepts commands: it has read its file."""
    try:
        with Redis(host=LOCALHOST, port=port, socket_timeout=2) as client:
            return bool(client.ping())  # pyright: ignore[reportUnknownMemberType]
    except RedisError:
        return False
