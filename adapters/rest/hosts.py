"""Which host names the service accepts, and which web pages may use it.

Without a login, any page in a browser on this machine could reach a service on the loopback address: by a name that
the page's own server resolves to 127.0.0.1, or by a cross-origin request. Both are refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from adapters.rest.problems import Problem, problem_response

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
#: Asked by address, by orchestrators and Prometheus; they show nothing of a workflow.
_OPEN_PATHS = ("/health/", "/metrics")
_ANY = "*"


@dataclass(frozen=True, slots=True)
class Hosts:
    """`allowed` names besides the loopback ones (`*`: any), `origins` as in `https://console.example.com`."""

    allowed: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()

    def accepts_host(self, host: str) -> bool:
        name = _name(host)
        return _is_loopback(name) or _ANY in self.allowed or name in map(str.lower, self.allowed)

    def accepts_origin(self, origin: str, host: str) -> bool:
        """The service's own pages, and those of the allowed origins."""
        return origin in self.origins or _host_of(origin) == host.lower()


def _host_of(origin: str) -> str | None:
    """With the port. None: no URL, such as `http://[::1`."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return None


def _name(host: str) -> str:
    """Without the port; IPv6 without its brackets."""
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def _is_loopback(name: str) -> bool:
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


class HostCheck:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, hosts: Hosts) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            detail = self._fault(scope)
            if detail is not None:
                request = Request(scope)
                await problem_response(request, Problem(403, "FORBIDDEN", detail))(
                    scope, receive, send
                )
                return
        await self._app(scope, receive, send)

    def _fault(self, scope: Scope) -> str | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        if not self._hosts.accepts_host(host) and not path.startswith(_OPEN_PATHS):
            return f"the host '{host[:100]}' is not allowed; name it in CONVEYOR_API__ALLOWED_HOSTS"
        origin = headers.get("origin")
        if scope["method"] in _SAFE_METHODS or origin is None:
            return None
        if self._hosts.accepts_origin(origin, host):
            return None
        return (
            f"pages of '{origin[:100]}' are not allowed; name it in CONVEYOR_API__ALLOWED_ORIGINS"
        )
