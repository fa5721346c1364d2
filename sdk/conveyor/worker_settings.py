"""The servers of `conveyor-worker`, read from the environment under the names of the service's settings."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

BOOTSTRAP_SERVERS = "CONVEYOR_KAFKA__BOOTSTRAP_SERVERS"
TOPIC_PREFIX = "CONVEYOR_KAFKA__TOPIC_PREFIX"
REDIS_URL = "CONVEYOR_REDIS__URL"
_REDIS_DATABASE = "CONVEYOR_REDIS__DATABASE"

#: Setting -> librdkafka's property.
_SECURITY: Mapping[str, str] = MappingProxyType(
    {
        "CONVEYOR_KAFKA__SECURITY_PROTOCOL": "security.protocol",
        "CONVEYOR_KAFKA__SASL_MECHANISM": "sasl.mechanism",
        "CONVEYOR_KAFKA__SASL_USERNAME": "sasl.username",
        "CONVEYOR_KAFKA__SASL_PASSWORD": "sasl.password",
        "CONVEYOR_KAFKA__SSL_CA_LOCATION": "ssl.ca.location",
        "CONVEYOR_KAFKA__SSL_CERTIFICATE_LOCATION": "ssl.certificate.location",
        "CONVEYOR_KAFKA__SSL_KEY_LOCATION": "ssl.key.location",
    }
)


def kafka_properties(environment: Mapping[str, str]) -> dict[str, str]:
    """How to log in, as librdkafka names it."""
    return {
        name: environment[setting] for setting, name in _SECURITY.items() if setting in environment
    }


def redis_address(environment: Mapping[str, str]) -> str | None:
    """The URL with the database; one in the URL takes precedence. None: there is no Redis.

    Every process that serves a service has to find the same key records, so it is read as the service reads it.
    Raises ValueError for a database that is not a number.
    """
    url = environment.get(REDIS_URL)
    if url is None:
        return None
    database = environment.get(_REDIS_DATABASE, "0")
    if not (database.isascii() and database.isdigit()):
        raise ValueError(f"{_REDIS_DATABASE} is {database!r}; set a number from 0 on")
    scheme, _, rest = url.partition("://")
    if int(database) == 0 or scheme == "unix" or "/" in rest:
        return url
    return f"{url}/{int(database)}"
