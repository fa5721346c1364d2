"""Access control: roles, and the lowest role that each action needs."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from domain.values import Value


class Role(StrEnum):
    """Viewer, operator, admin: each may do everything that the ones before it may. `service` is outside this order."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"
    #: A worker: it takes and answers the requests of its own services, and nothing else.
    SERVICE = "service"


#: How the labels of a key begin that name the services of a worker.
SERVICE_LABEL = "service:"


class NotAuthenticated(Exception):
    """The request says nobody that is known here; the message says what to send."""


class Action(StrEnum):
    """The actions that are checked."""

    #: Ask who one is.
    IDENTIFY = "identify"
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
    Action.IDENTIFY: Role.VIEWER,
    Action.READ: Role.VIEWER,
    Action.START: Role.OPERATOR,
    Action.CONTROL: Role.OPERATOR,
    Action.FORCE: Role.ADMIN,
    Action.REGISTER_DEFINITION: Role.ADMIN,
    Action.WORK: Role.OPERATOR,
}

_RANKS: Mapping[Role, int] = {Role.VIEWER: 0, Role.OPERATOR: 1, Role.ADMIN: 2}

#: What the role `service` may do.
_OF_SERVICES = frozenset({Action.IDENTIFY, Action.WORK})
#: What concerns the workflows of all tenants: definitions are shared, and so are the requests of a service.
_OF_ALL = frozenset({Action.REGISTER_DEFINITION, Action.WORK})


class Caller(Value):
    """The sender of a request, and its context."""

    #: The name in events and in the audit trail.
    actor: str
    roles: frozenset[Role]
    #: None: not restricted to one.
    tenant: str | None = None
    #: Names and values. The caller sees only workflows that carry all of them.
    labels: tuple[tuple[str, str], ...] = ()
    #: The services whose requests it may take, if its only role is `service`.
    services: frozenset[str] = frozenset()
    correlation_id: str | None = None
    #: The W3C trace context.
    traceparent: str | None = None

    def may(self, action: Action) -> bool:
        if action in _OF_SERVICES and Role.SERVICE in self.roles:
            return True
        if self.is_restricted and action in _OF_ALL:
            return False
        least = _RANKS[PERMISSIONS[action]]
        return any(_RANKS.get(role, -1) >= least for role in self.roles)

    @property
    def is_restricted(self) -> bool:
        """Whether there can be workflows that it does not see."""
        return self.tenant is not None or bool(self.labels)

    def sees(self, tenant: str, labels: Mapping[str, str]) -> bool:
        """Whether it sees workflows of this tenant with these labels."""
        return self.tenant in (None, tenant) and set(self.labels) <= labels.items()

    def _is_operator(self) -> bool:
        return bool(self.roles & {Role.OPERATOR, Role.ADMIN}) and not self.is_restricted

    def may_work_for(self, service: str) -> bool:
        """Whether it may take and answer the requests of this service."""
        return self.may(Action.WORK) and (service in self.services or self._is_operator())


#: The caller of a service without login, which only listens on the loopback address.
LOCAL_ACTOR = "local"
