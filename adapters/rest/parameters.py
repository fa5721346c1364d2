"""Parameters: what may be asked of a workflow, of the list and of a history."""

from __future__ import annotations

from typing import Annotated, Literal

from conveyor.times import parse_rfc3339, rfc3339
from conveyor.wire import COUNT_MAX
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema
from pydantic.alias_generators import to_camel

from application.ports import ANY_INCIDENT, WorkflowFilter
from domain.workflow.incident import INCIDENT_CODES
from domain.workflow.status import WorkflowStatus

Text = Annotated[str, Field(min_length=1)]


def _normalised(text: str) -> str:
    return rfc3339(parse_rfc3339(text))


def _label(text: str) -> str:
    name, colon, _ = text.partition(":")
    if not name or not colon:
        raise ValueError(f"'{text}' is not a label; write name:value")
    return text


_INCIDENTS = [ANY_INCIDENT, *INCIDENT_CODES]


def _incident(text: str) -> str:
    if text not in _INCIDENTS:
        raise ValueError(f"'{text}' is not an incident; write one of {', '.join(_INCIDENTS)}")
    return text


Time = Annotated[str, AfterValidator(_normalised)]
Label = Annotated[str, AfterValidator(_label)]
Incident = Annotated[
    str, AfterValidator(_incident), WithJsonSchema({"type": "string", "enum": _INCIDENTS})
]


class ListParameters(BaseModel):
    """Query parameters; a misspelt one must not be ignored."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid")

    status: list[WorkflowStatus] = Field(
        default=[], description="Any of these; repeat it for several.", examples=[["FAILED"]]
    )
    active: bool | None = Field(
        default=None, description="True: not ended; false: ended.", examples=[True]
    )
    type: Text | None = Field(
        default=None, description="The definition's type.", examples=["ORDER_FULFILLMENT"]
    )
    definition: Text | None = Field(
        default=None, description="The definition's name.", examples=["order-fulfillment"]
    )
    correlation_id: Text | None = Field(
        default=None, description="Exactly this correlation id.", examples=["corr-001"]
    )
    user_id: Text | None = Field(
        default=None, description="Workflows of this user.", examples=["u-17"]
    )
    wallet: Text | None = Field(
        default=None, description="Workflows about this wallet.", examples=["w-3"]
    )
    label: list[Label] = Field(
        default=[],
        description="name:value; repeat it for several, all of which must hold.",
        examples=[["channel:web"]],
    )
    incident: Incident | None = Field(
        default=None,
        description="Workflows with an open incident of this code, or with any.",
        examples=["SEAL_UNANSWERED"],
    )
    started_after: Time | None = Field(
        default=None, description="RFC 3339.", examples=["2026-11-21T00:00:00Z"]
    )
    started_before: Time | None = Field(
        default=None, description="RFC 3339.", examples=["2026-11-22T00:00:00Z"]
    )
    sort: Literal["startedAt", "-startedAt"] = Field(
        default="-startedAt", description="Newest first, or oldest first.", examples=["startedAt"]
    )
    limit: int = Field(
        default=50, ge=1, le=200, description="The most items of a page.", examples=[50]
    )
    cursor: Text | None = Field(
        default=None,
        description="The `nextCursor` of the page before.",
        examples=["WyIyMDI2LTExLTIxIiwid2YtMSJd"],
    )

    def as_filter(self) -> WorkflowFilter:
        labels = (label.partition(":") for label in self.label)
        return WorkflowFilter(
            status=tuple(status.value for status in self.status),
            active=self.active,
            type=self.type,
            definition=self.definition,
            correlation_id=self.correlation_id,
            user_id=self.user_id,
            wallet=self.wallet,
            labels=tuple((name, value) for name, _, value in labels),
            incident=self.incident,
            started_after=self.started_after,
            started_before=self.started_before,
            ascending=self.sort == "startedAt",
        )


class WorkflowParameters(BaseModel):
    """Query parameters of `/{id}`."""

    model_config = ConfigDict(extra="forbid")

    version: int | None = Field(
        default=None,
        ge=1,
        le=COUNT_MAX,
        description="The workflow as it was after this event; without it, as it is.",
        examples=[7],
    )


class HistoryParameters(BaseModel):
    """Query parameters of `/{id}/history`."""

    model_config = ConfigDict(extra="forbid")

    after: int = Field(
        default=0, ge=0, le=COUNT_MAX, description="Events above this version.", examples=[7]
    )
    limit: int = Field(
        default=200, ge=1, le=1000, description="The most events of a page.", examples=[200]
    )
    type: Text | None = Field(
        default=None,
        description="Only events of this CloudEvents type.",
        examples=["orchestration.workflow.step.executed"],
    )
    kind: Text | None = Field(
        default=None, description="Only events of this kind.", examples=["SAGA_COMPENSATION"]
    )
