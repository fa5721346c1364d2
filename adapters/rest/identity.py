"""Who the caller is, as the service sees it."""

from __future__ import annotations

from starlette.responses import Response

from adapters.rest.bodies import json_response
from adapters.rest.dependencies import TheApi, TheCaller
from application.access import Action


async def get_me(api: TheApi, caller: TheCaller) -> Response:
    """The caller's name and roles, and what they allow."""
    return json_response(
        {
            "actor": caller.actor,
            "roles": sorted(caller.roles),
            "rights": [action.value for action in Action if caller.may(action)],
            "tenants": [] if caller.tenant is None else [caller.tenant],
            "labels": dict(caller.labels),
            "services": sorted(caller.services),
            "site": {"zone": None, "name": api.site_name},
        }
    )
