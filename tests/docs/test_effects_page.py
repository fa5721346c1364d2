"""The handlers of `docs/howto/idempotent-effects.md` have their effect once."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from conveyor.errors import RetryableError, TerminalError, UnknownOutcomeError
from conveyor.handlers import StepContext

from tests.docs.pages import snippets

PAGE = "docs/howto/idempotent-effects.md"


def context(*, recovered: bool = False) -> StepContext:
    return StepContext(
        workflow_id="order-1",
        step_id="step",
        idempotency_key="order-1/step/1",
        attempt=2 if recovered else 1,
        round=1,
        deadline=None,
        correlation_id=None,
        fencing_token=None,
        recovered=recovered,
    )


def printed(*marks: str) -> dict[str, Any]:
    """The names that the blocks define."""
    names: dict[str, Any] = {"__name__": "printed"}
    for mark in marks:
        [code] = snippets(PAGE, mark)
        # Evaluated annotations: the handlers' types are looked up in the module that they stand in.
        exec(compile(code, PAGE, "exec", dont_inherit=True), names)  # noqa: S102 - our own page
    return names


def test_the_key_is_stored_with_the_effect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is repeated, the stock changes once; a refusal leaves nothing behind."""
    monkeypatch.chdir(tmp_path)
    names = printed("transaction")
    db = sqlite3.connect("stock.db")
    db.executescript(names["SCHEMA"])
    with db:
        db.execute("INSERT INTO stock VALUES ('LAMP-01', 3)")

    def free() -> int:
        [(found,)] = db.execute("SELECT free FROM stock").fetchall()
        return found

    with pytest.raises(TerminalError):
        names["reserve"]({"sku": "LAMP-01", "quantity": 4}, context())
    outputs = [names["reserve"]({"sku": "LAMP-01", "quantity": 2}, context()) for _ in range(2)]
    reserved = free()
    for _ in range(2):
        names["release"](outputs[0])
    released = free()
    db.close()

    assert outputs == [{"reservationId": "order-1/step/1"}] * 2
    assert (reserved, released) == (1, 3)


def provider(names: dict[str, Any], respond: Callable[[httpx.Request], httpx.Response]) -> None:
    """Let the printed handlers call this instead of the provider."""
    names["provider"].close()
    names["provider"] = httpx.Client(
        base_url="http://provider", transport=httpx.MockTransport(respond)
    )


def refused(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("refused", request=request)


def silent(request: httpx.Request) -> httpx.Response:
    raise httpx.ReadTimeout("no response", request=request)


@pytest.mark.parametrize(
    ("respond", "error"),
    [
        (refused, RetryableError),
        (silent, UnknownOutcomeError),
        (lambda _: httpx.Response(500), UnknownOutcomeError),
        (lambda _: httpx.Response(402), TerminalError),
    ],
)
def test_what_is_raised_says_what_happened(
    respond: Callable[[httpx.Request], httpx.Response], error: type[Exception]
) -> None:
    """A failed call is an unknown outcome, unless nothing was sent or the provider refused it."""
    names = printed("service")
    provider(names, respond)

    with pytest.raises(error):
        names["charge"]({"amount": 5}, context())
    names["provider"].close()


def test_the_key_goes_to_the_provider() -> None:
    """Every attempt of the step sends the same one."""
    names = printed("service")
    keys: list[str] = []

    def respond(request: httpx.Request) -> httpx.Response:
        keys.append(request.headers["idempotency-key"])
        return httpx.Response(200, json={"id": "p-1"})

    provider(names, respond)
    outputs = [names["charge"]({"amount": 5}, context(recovered=again)) for again in (False, True)]
    names["provider"].close()

    assert outputs == [{"paymentId": "p-1"}] * 2
    assert keys == ["order-1/step/1"] * 2


def test_a_recovered_transfer_is_looked_up() -> None:
    """It is found by its reference, and not made again."""
    names = printed("service", "look", "never", "none")
    transfers: list[dict[str, Any]] = []

    def respond(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            transfers.append({"id": f"t-{len(transfers)}", **json.loads(request.content)})
            return httpx.Response(200, json=transfers[-1])
        wanted = request.url.params["reference"]
        return httpx.Response(200, json=[t for t in transfers if t["reference"] == wanted])

    provider(names, respond)
    outputs = [names["transfer"]({"amount": 5}, context(recovered=r)) for r in (False, True)]
    names["provider"].close()

    assert outputs == [{"transferId": "t-0"}] * 2
    assert len(transfers) == 1
