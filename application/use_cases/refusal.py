"""Refusals of requests, by a use case or by the engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from application.ports import Document
from domain.aggregate.ids import id_fault
from domain.aggregate.rejection import RejectionCode

KEY_LENGTH_MAX = 255
#: A start for a tenant that the caller does not see.
TENANT_UNKNOWN = "TENANT_UNKNOWN"
#: The caller may not do this.
FORBIDDEN = "FORBIDDEN"


class Refused(Exception):
    """The request was understood but is not possible. Nothing was changed."""

    def __init__(
        self,
        code: RejectionCode | str,
        detail: str,
        *,
        faults: Sequence[Mapping[str, str]] = (),
        status: str | None = None,
        allowed_commands: Sequence[str] = (),
    ) -> None:
        super().__init__(detail)
        self.code = str(code)
        self.detail = detail
        #: The faults of the request, as `{path, message}`.
        self.faults = faults
        #: The workflow's, if there is one.
        self.status = status
        self.allowed_commands = allowed_commands


def refused_for(
    faults: Sequence[Mapping[str, str]], code: RejectionCode | str = RejectionCode.INVALID_INPUT
) -> Refused:
    """A refusal with every fault of a request."""
    listed = "; ".join(
        f"{fault['path']}: {fault['message']}" if fault["path"] else fault["message"]
        for fault in faults
    )
    return Refused(code, listed, faults=faults)


def refused_by(event: Document) -> Refused:
    """The refusal that an `orchestration.command.rejected` reports."""
    return Refused(
        event["code"],
        event["detail"],
        faults=event.get("faults", ()),
        status=event.get("status"),
        allowed_commands=event.get("allowedCommands", ()),
    )


def no_workflow(workflow_id: str) -> Refused:
    return Refused(RejectionCode.WORKFLOW_NOT_FOUND, f"there is no workflow '{workflow_id[:60]}'")


def require_id(workflow_id: str) -> None:
    """Raises Refused (WORKFLOW_NOT_FOUND) for an id that no workflow can have."""
    if id_fault(workflow_id) is not None:
        raise no_workflow(workflow_id)


def key_faults(key: str | None) -> list[Mapping[str, str]]:
    """The faults of an idempotency key, as `{path, message}`."""
    if key is None or 0 < len(key) <= KEY_LENGTH_MAX:
        return []
    message = f"has {len(key)} characters; 1 to {KEY_LENGTH_MAX} are possible"
    return [{"path": "Idempotency-Key", "message": message}]
