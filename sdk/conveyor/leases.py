"""The payloads between workers and the service (the worker protocol): take, extend, answer."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

LEASES_MAX = 1_000
_TAKE_MAX = 100

Text = Annotated[str, Field(min_length=1, max_length=255)]
LeaseSeconds = Annotated[int, Field(ge=5, le=300)]


class _Payload(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, frozen=True, extra="forbid", strict=True
    )


class TakeData(_Payload):
    """A worker wants requests."""

    #: For people who look for a worker; it grants nothing.
    worker_id: Text
    max: int = Field(default=1, ge=1, le=_TAKE_MAX)
    wait_seconds: int = Field(default=0, ge=0, le=30)
    lease_seconds: LeaseSeconds = 30


class ExtendData(_Payload):
    """A worker needs more time."""

    leases: list[Text] = Field(min_length=1, max_length=LEASES_MAX)
    lease_seconds: LeaseSeconds = 30


class LeasedAnswer(_Payload):
    """The answer to one request."""

    lease: Text
    #: A structured CloudEvent, as a reply on Kafka.
    event: dict[str, Any]


class AnswerData(_Payload):
    """The answer to one request, or to several."""

    lease: Text | None = None
    event: dict[str, Any] | None = None
    answers: list[LeasedAnswer] | None = Field(default=None, min_length=1, max_length=LEASES_MAX)

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        single = (self.lease, self.event)
        if (self.answers is None) is (None in single) or (self.answers and any(single)):
            raise ValueError("give lease and event, or answers")
        return self
