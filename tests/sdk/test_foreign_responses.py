"""The client over HTTP, where something else responds at its address."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from conveyor import Client
from conveyor.async_client import AsyncClient
from conveyor.errors import ServerUnavailableError

from tests.infrastructure.commands import answering


@pytest.mark.parametrize("document", [{}, [], {"id": 5}, {"items": [{"n": 1}]}, {"items": 3}])
@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.start("order"),
        lambda client: client.workflow("wf-1").signal("truck"),
        lambda client: client.workflow("wf-1").get(),
        lambda client: client.workflow("wf-1").history(),
        lambda client: client.list(),
    ],
    ids=["start", "signal", "get", "history", "list"],
)
async def test_a_response_that_is_not_conveyors(
    call: Callable[[AsyncClient], Awaitable[Any]], document: Any
) -> None:
    """Each call says so, with the address."""
    with answering((200, document)) as (url, _):
        async with Client(url, timeout_seconds=1) as client:
            with pytest.raises(ServerUnavailableError, match="does not respond as Conveyor does"):
                await call(client)
