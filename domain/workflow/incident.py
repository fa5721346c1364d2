"""Incidents: a person has to look, and the workflow says so until the cause is gone."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from domain.aggregate.rejection import RejectionCode
from domain.values import Value


class IncidentCode(StrEnum):
    """The incidents that a workflow raises itself. The engine adds two refusals, of what it could not decide."""

    COMPENSATION_FAILED = "COMPENSATION_FAILED"
    OUTPUT_MAPPING = "OUTPUT_MAPPING"
    PAST_PIVOT = "PAST_PIVOT"
    PERFORMED_AFTER_ALL = "PERFORMED_AFTER_ALL"
    SEAL_UNANSWERED = "SEAL_UNANSWERED"
    STILL_FAILING = "STILL_FAILING"
    UNRESOLVED = "UNRESOLVED"


#: Every code that an incident may have.
INCIDENT_CODES = sorted((*IncidentCode, RejectionCode.INTERNAL, RejectionCode.TOO_LARGE))


class Incident(Value):
    """One that is open. A workflow has at most one of a code and step; what raises it again adds nothing."""

    code: str
    #: None: it concerns the whole workflow.
    step_id: str | None
    #: Version of the event that raised it.
    version: int
    raised_at: datetime
    #: What happened, and what to do.
    detail: str
