"""A worker: participants that one process runs together, over Kafka or over HTTP."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

from conveyor.addresses import checked_url
from conveyor.execution import run_in_thread
from conveyor.key_store import KeyStore
from conveyor.observation import ObservedTransport, Observer, observed
from conveyor.participant import Participant
from conveyor.runner import ParticipantRunner
from conveyor.transport import Transport

#: Opens the requests and key records of a participant.
Connect = Callable[[Participant], tuple[Transport, KeyStore]]

#: How the names of the threads begin in which plain handlers run.
HANDLER_THREAD = "conveyor-handler"


class Worker:
    """Runs participants in one process, usually by `conveyor-worker`.

    Plain handlers run in threads, so they may block: at most `threads` of them at a time. A stop waits for running
    handlers, for at most `grace_seconds`.
    """

    def __init__(
        self, *participants: Participant, threads: int = 32, grace_seconds: float = 30.0
    ) -> None:
        """Raises ValueError if there is none, one has no handlers, two serve one service, or a limit is impossible.

        TypeError: one is not a participant.
        """
        if threads < 1 or grace_seconds < 0:
            raise ValueError("a worker has at least one thread, and waits for no negative time")
        if not participants:
            raise ValueError("a worker needs a participant: Worker(participant)")
        for each in participants:
            if not isinstance(each, Participant):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise TypeError(f"{each!r} is not a participant; write Worker(Participant(...))")
            if not each.services:
                raise ValueError(
                    f"{each.name} has no handlers; register one with @{each.name}.step"
                )
        serving = Counter(service for each in participants for service in each.services)
        twice = sorted(service for service, count in serving.items() if count > 1)
        if twice:
            raise ValueError(f"two participants serve {', '.join(twice)}; let one have it")
        self.participants = participants
        self._threads = threads
        self._grace_seconds = grace_seconds

    @property
    def services(self) -> tuple[str, ...]:
        """The services of all its participants."""
        return tuple(sorted({name for each in self.participants for name in each.services}))

    async def run(
        self, connect: Connect, stop: asyncio.Event, observer: Observer | None = None
    ) -> None:
        """Work until `stop` is set, then finish what is begun.

        `connect` is what `over_http` or `over_kafka` returns. `observer` sees requests and runs of handlers.
        """
        perform = run_in_thread if observer is None else observed(run_in_thread, observer)
        threads = ThreadPoolExecutor(self._threads, thread_name_prefix=HANDLER_THREAD)
        asyncio.get_running_loop().set_default_executor(threads)
        try:
            async with asyncio.TaskGroup() as group:
                for each in self.participants:
                    transport, key_store = connect(each)
                    if observer is not None:
                        transport = ObservedTransport(transport, observer)
                    runner = ParticipantRunner(
                        each,
                        transport,
                        key_store,
                        grace_seconds=self._grace_seconds,
                        perform=perform,
                    )
                    group.create_task(runner.run_until(stop))
        finally:
            # A thread cannot be cancelled: a handler that never returns must not hold up the stop.
            threads.shutdown(wait=False, cancel_futures=True)


def over_http(
    url: str,
    worker_id: str,
    api_key: str | None = None,
    *,
    on_joined: Callable[[], None] | None = None,
) -> Connect:
    """Connects a worker over HTTP: to `conveyor dev`, or to a service with the role `workers`.

    `worker_id` names this process for people. `on_joined` is called once for each participant, when its first requests
    could be taken. Raises ValueError for what is not an address, and ModuleNotFoundError without the extra `http`.
    """
    address = checked_url(url)
    from conveyor.http_transport import HttpTransport  # noqa: PLC0415 - an extra

    def connect(_: Participant) -> tuple[Transport, KeyStore]:
        transport = HttpTransport(
            address, worker_id=worker_id, api_key=api_key, on_joined=on_joined
        )
        return transport, transport.key_store

    return connect


def over_kafka(
    bootstrap_servers: str,
    redis_url: str,
    *,
    topic_prefix: str = "",
    properties: Mapping[str, str] | None = None,
    on_joined: Callable[[], None] | None = None,
) -> Connect:
    """Connects a worker to the topics of Kafka, with Redis as its key store.

    `topic_prefix` stands before every topic name, `properties` are librdkafka's. `on_joined` is called once for each
    participant, in a thread, when its group has given out the partitions. Raises ModuleNotFoundError without the
    extras `kafka` and `redis`.
    """
    from conveyor.kafka import KafkaTransport  # noqa: PLC0415 - an extra
    from conveyor.redis_keys import RedisKeyStore  # noqa: PLC0415 - an extra

    def connect(_: Participant) -> tuple[Transport, KeyStore]:
        transport = KafkaTransport(
            bootstrap_servers,
            topic_prefix=topic_prefix,
            properties=properties,
            on_joined=on_joined,
        )
        return transport, RedisKeyStore(redis_url)

    return connect
