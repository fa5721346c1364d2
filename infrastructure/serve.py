"""`conveyor serve`: any set of roles in one process, on Kafka, MongoDB and Redis."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from application.ports import SetupError
from infrastructure.roles import ROLES, Addresses, Site, run_roles, serve_http
from infrastructure.running import announce, stop_on_signals
from infrastructure.settings import Settings
from infrastructure.wiring import production

log = structlog.get_logger("conveyor")

LOOPBACK = ("127.0.0.1", "localhost", "::1")


async def run_serve(
    settings: Settings,
    roles: Sequence[str],
    *,
    host: str = "127.0.0.1",
    port: int = 8080,
    health_port: int | None = None,
    insecure: bool = False,
) -> None:
    """Run the roles until SIGTERM. Raises SetupError if they cannot or must not be served."""
    _check(settings, roles, host, insecure=insecure)
    stop = stop_on_signals()
    chosen = [role for name, role in ROLES.items() if name in roles]
    addresses = Addresses(host=host, http=port, health=health_port)
    async with production(settings) as backbone:
        announce(
            f"http://{host}:{port}" if serve_http(chosen) else None,
            roles=[role.name for role in chosen],
            kafka=settings.kafka.bootstrap_servers,
        )
        await run_roles(Site.on(backbone, settings), chosen, addresses, stop)


def _check(settings: Settings, roles: Sequence[str], host: str, *, insecure: bool) -> None:
    unknown = [role for role in roles if role not in ROLES]
    if unknown or not roles:
        raise SetupError(
            f"--roles: unknown role {', '.join(unknown) or '(none)'}; this version has {', '.join(ROLES)}"
        )
    if settings.auth.jwks_url is not None:
        raise SetupError(
            "CONVEYOR_AUTH__JWKS_URL: this version has no logins with JWT; use CONVEYOR_AUTH__API_KEYS_FILE"
        )
    if settings.auth.api_keys_file is not None:
        return
    if insecure:
        log.warning("serving without a login (--insecure)", host=host)
        return
    if settings.profile == "production":
        raise SetupError(
            "CONVEYOR_PROFILE=production needs a login: set CONVEYOR_AUTH__API_KEYS_FILE and make keys with"
            " `conveyor keys create`; --insecure lifts this"
        )
    refuse_open_host(host, "; --insecure lifts this")


def refuse_open_host(host: str, advice: str = "") -> None:
    """Without a login every mode binds the loopback address (CONTRACT 4). Raises SetupError."""
    if host not in LOOPBACK:
        raise SetupError(
            f"without a login --host must be a loopback address like 127.0.0.1, not {host}{advice}"
        )
