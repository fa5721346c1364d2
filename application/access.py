"""Access control: roles, and the lowest role that each action needs."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from domain.values import Value


class Role(StrEnum):
    """Each role may do everything that the ones before it may."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"


class Action(StrEnum):
    """The actions that are checked."""

    READ = "read"
    START = "start"
    #: Pause, resume, cancel, retry, compensate, signal, execute a step.
    CONTROL = "control"
    #: Declare undone what could not be undone.
    FORCE = "force"
    REGISTER_DEFINITION = "register-definition"
    #: Take the requests of services and answer them.
    WORK = "work"


PERMISSIONS: Mapping[Action, Role] = {
    Action.READ: Role.VIEWER,
    Action.START: Role.OPERATOR,
    Action.CONTROL: Role.OPERATOR,
    Action.FORCE: Role.ADMIN,
    Action.REGISTER_DEFINITION: Role.ADMIN,
    Action.WORK: Role.OPERATOR,
}

_RANKS: Mapping[Role, int] = {role: rank for rank, role in enumerate(Role)}


class Caller(Value):
    """The sender of a request, and its context."""

    #: The name in events and in the audit trail.
    actor: str
    roles: frozenset[Role]
    #: None: not restricted to one.
    tenant: str | None = None
    correlation_id: str | None = None
    #: The W3C trace context.
    traceparent: str | None = None

    def may(self, action: Action) -> bool:
        least = _RANKS[PERMISSIONS[action]]
        return any(_RANKS[role] >= least for role in self.roles)


#: The caller of a service without login, which only listens on the loopback address.
LOCAL_ACTOR = "local"
