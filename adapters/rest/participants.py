"""The worker protocol: participants that take requests over HTTP, for a limited time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

import orjson
from conveyor.cloudevents import structured
from conveyor.leases import AnswerData, ExtendData, LeasedAnswer, TakeData
from conveyor.payloads import InvalidPayload, parse
from fastapi import Depends, Path
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from adapters.rest.bodies import json_response, read_json_body
from adapters.rest.dependencies import TheApi, TheCaller
from adapters.rest.problems import Problem
from application.ports import Document
from application.use_cases.refusal import Refused, refused_for
from application.workers.desk import LEASE_LOST, WorkerDesk
from application.workers.leases import Lent

Model = TypeVar("Model", bound=BaseModel)

Service = Annotated[
    str, Path(description="The service's name.", examples=["inventory-service"], max_length=255)
]


async def _own_service(service: Service, caller: TheCaller) -> str:
    """The service, if the caller may work for it. Raises Problem (403)."""
    if not caller.may_work_for(service):
        known = ", ".join(sorted(caller.services)) or "no service"
        detail = f"'{caller.actor}' may not work for '{service}'; its key is for {known}"
        raise Problem(403, "FORBIDDEN", detail)
    return service


TheService = Annotated[str, Depends(_own_service)]
_LOST = "the lease has ended, so the request is given out again; take new ones"


async def take_requests(service: TheService, request: Request, api: TheApi) -> Response:
    """Take requests of a service, waiting for the first one.

    Each is the worker's until its lease ends. Without an answer by then it is given out again, with the same
    idempotency key.
    """
    data = await _read(request, TakeData)
    lent = await api.workers.take(
        service,
        data.max,
        wait_seconds=data.wait_seconds,
        lease_seconds=data.lease_seconds,
        is_gone=request.is_disconnected,
    )
    return json_response({"requests": [_document(each) for each in lent]})


def _document(lent: Lent) -> Document:
    document: Document = {
        "lease": lent.lease,
        "event": structured(lent.message),
        "recovered": lent.is_recovered,
    }
    if lent.asks_about is not None:
        document["asksAbout"] = orjson.Fragment(lent.asks_about)
    return document


async def answer_requests(service: TheService, request: Request, api: TheApi) -> Response:
    """Answer requests. The outcome is durable when the response comes.

    With one `lease` and its `event`: 202, or 409 `LEASE_LOST`. A success counts all the same. With `answers`: 200
    with the result of each.
    """
    data = await _read(request, AnswerData)
    if data.answers is None:
        assert data.lease is not None
        assert data.event is not None
        if not await api.workers.answer(service, data.lease, data.event):
            raise Problem(409, LEASE_LOST, _LOST)
        return json_response({"lease": data.lease, "accepted": True}, 202)
    results = await asyncio.gather(*(_result(api.workers, service, each) for each in data.answers))
    return json_response({"results": results})


async def _result(workers: WorkerDesk, service: str, answer: LeasedAnswer) -> Mapping[str, Any]:
    try:
        is_accepted = await workers.answer(service, answer.lease, answer.event)
    except Refused as refused:
        return {
            "lease": answer.lease,
            "accepted": False,
            "code": refused.code,
            "detail": refused.detail,
        }
    if is_accepted:
        return {"lease": answer.lease, "accepted": True}
    return {"lease": answer.lease, "accepted": False, "code": LEASE_LOST, "detail": _LOST}


async def extend_leases(service: TheService, request: Request, api: TheApi) -> Response:
    """Let leases end later, counted from now."""
    data = await _read(request, ExtendData)
    extended, lost = api.workers.extend(service, data.leases, data.lease_seconds)
    return json_response({"extended": list(extended), "lost": list(lost)})


async def _read(request: Request, model: type[Model]) -> Model:
    """Raises Problem, MalformedEvent (NOT_JSON), Refused with every fault."""
    body = await read_json_body(request)
    try:
        return parse(model, body)
    except InvalidPayload as invalid:
        raise refused_for(invalid.faults) from invalid
