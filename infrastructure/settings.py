"""Every setting, with its default: environment (`CONVEYOR_`, nested by `__`), `.env`, then `conveyor.yaml`.

A wrong value stops the start with the setting's name, what is wrong with it and an example.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, cast

from dotenv import dotenv_values
from pydantic import BaseModel, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    YamlConfigSettingsSource,
)
from pydantic_settings import SettingsError as SourceError
from yaml import YAMLError

PREFIX = "CONVEYOR_"
MASK = "********"
_PLANNED = "planned"
_YEAR_SECONDS = 366 * 24 * 3600


def planned(**options: Any) -> Any:
    """A setting of a future feature: accepted and checked, but without effect in this version."""
    return Field(**options, json_schema_extra={_PLANNED: True})


class SettingsError(Exception):
    """The settings cannot be used. The message names each wrong one and shows how to fix it."""


class KafkaSection(BaseModel, extra="forbid"):
    bootstrap_servers: str = Field(default="127.0.0.1:9092", examples=["kafka-1:9092,kafka-2:9092"])
    #: A topic name may have 249 characters; the longest is that of a service whose name has 200.
    topic_prefix: str = Field(
        default="", max_length=21, pattern=r"^[a-zA-Z0-9._-]*$", examples=["trial."]
    )
    group_id: str = Field(default="conveyor-engine", min_length=1, examples=["conveyor-engine"])
    group_protocol: Literal["classic", "consumer"] = Field(default="classic", examples=["classic"])
    session_timeout_ms: int = Field(default=10_000, ge=1000, le=3_600_000, examples=[10_000])
    #: 0: never.
    inbox_trim_interval_seconds: int = Field(default=3600, ge=0, le=_YEAR_SECONDS, examples=[3600])
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        default="PLAINTEXT", examples=["SASL_SSL"]
    )
    sasl_mechanism: str | None = Field(default=None, examples=["SCRAM-SHA-512"])
    sasl_username: str | None = Field(default=None, examples=["conveyor"])
    sasl_password: SecretStr | None = Field(default=None, examples=["secret"])
    ssl_ca_location: str | None = Field(default=None, examples=["/etc/conveyor/ca.pem"])
    ssl_certificate_location: str | None = Field(
        default=None, examples=["/etc/conveyor/client.pem"]
    )
    ssl_key_location: str | None = Field(default=None, examples=["/etc/conveyor/client.key"])

    @field_validator("bootstrap_servers")
    @classmethod
    def _hosts_and_ports(cls, value: str) -> str:
        for server in value.split(","):
            host, colon, port = server.strip().rpartition(":")
            is_port = port.isascii() and port.isdigit() and 0 < int(port) < 2**16
            if not (host and colon and is_port):
                raise ValueError(f"'{server}' is not host:port")
        return value

    def client_properties(self) -> dict[str, str]:
        """The security options as librdkafka names them."""
        named = {
            "security.protocol": self.security_protocol,
            "sasl.mechanism": self.sasl_mechanism,
            "sasl.username": self.sasl_username,
            "sasl.password": self.sasl_password.get_secret_value() if self.sasl_password else None,
            "ssl.ca.location": self.ssl_ca_location,
            "ssl.certificate.location": self.ssl_certificate_location,
            "ssl.key.location": self.ssl_key_location,
        }
        return {name: value for name, value in named.items() if value is not None}


class MongoSection(BaseModel, extra="forbid"):
    uri: str = Field(
        default="mongodb://127.0.0.1:27017", examples=["mongodb://mongo-1:27017/?replicaSet=rs0"]
    )
    database: str = Field(default="conveyor", min_length=1, max_length=63, examples=["conveyor"])

    @field_validator("uri")
    @classmethod
    def _scheme(cls, value: str) -> str:
        if not value.startswith(("mongodb://", "mongodb+srv://")):
            raise ValueError("must begin with mongodb:// or mongodb+srv://")
        return value


class RedisSection(BaseModel, extra="forbid"):
    url: str = Field(
        default="redis://127.0.0.1:6379", examples=["rediss://user:password@redis:6379"]
    )
    database: int = Field(default=0, ge=0, le=2**31 - 1, examples=[0])
    enabled: bool = Field(default=True, examples=[True])

    @property
    def address(self) -> str:
        """The URL with the database. A database in the URL takes precedence."""
        scheme, _, rest = self.url.partition("://")
        if self.database == 0 or scheme == "unix" or "/" in rest:
            return self.url
        return f"{self.url}/{self.database}"

    @field_validator("url")
    @classmethod
    def _scheme(cls, value: str) -> str:
        if not value.startswith(("redis://", "rediss://", "unix://")):
            raise ValueError("must begin with redis://, rediss:// or unix://")
        return value


class LocksSection(BaseModel, extra="forbid"):
    enabled: bool = planned(default=True, examples=[True])
    timeout_seconds: int = planned(default=60, ge=1, examples=[60])


class CleanupSection(BaseModel, extra="forbid"):
    enabled: bool = planned(default=True, examples=[True])
    retention_days: int = planned(default=30, ge=1, examples=[30])


class WorkflowSection(BaseModel, extra="forbid"):
    default_timeout_seconds: int = planned(default=300, ge=0, examples=[300])
    max_retries: int = planned(default=3, ge=0, examples=[3])
    cleanup: CleanupSection = Field(default_factory=CleanupSection)


class SchedulerSection(BaseModel, extra="forbid"):
    timeout_interval_ms: int = planned(default=60_000, ge=100, examples=[60_000])
    retry_interval_ms: int = Field(
        default=30_000, ge=100, le=_YEAR_SECONDS * 1000, examples=[30_000]
    )
    outbox_cleanup_interval_ms: int = Field(
        default=3_600_000, ge=1000, le=_YEAR_SECONDS * 1000, examples=[3_600_000]
    )


class CircuitBreakerSection(BaseModel, extra="forbid"):
    failure_rate_threshold: int = planned(default=50, ge=1, le=100, examples=[50])
    wait_duration_in_open_state_ms: int = planned(default=60_000, ge=0, examples=[60_000])
    sliding_window_size: int = planned(default=10, ge=1, examples=[10])
    minimum_calls: int = planned(default=10, ge=1, examples=[10])
    consecutive_failures: int = planned(default=5, ge=1, examples=[5])


class ServiceSection(BaseModel, extra="forbid"):
    """A service that steps are sent to, by its name."""

    request_topic: str | None = planned(
        default=None, examples=["orchestration.step.requests.inventory-service"]
    )
    reply_topic: str | None = planned(default=None, examples=["orchestration.step.replies"])
    url: str | None = planned(default=None, examples=["http://inventory:8080"])


class AuthSection(BaseModel, extra="forbid"):
    api_keys_file: Path | None = Field(default=None, examples=["/etc/conveyor/api-keys.yaml"])
    jwks_url: str | None = Field(default=None, examples=["https://login.example.com/jwks.json"])
    #: CloudEvents sources whose `ce_actor` is trusted, separated by commas. For all others, the source is the actor.
    kafka_sources: str = Field(default="", examples=["/console,/router"])

    @property
    def is_configured(self) -> bool:
        return self.api_keys_file is not None or self.jwks_url is not None


class ApiSection(BaseModel, extra="forbid"):
    """Access to the API. Lists are separated by commas."""

    #: Names besides the loopback ones; `*`: any.
    allowed_hosts: str = Field(default="", examples=["conveyor.example.com,conveyor"])
    #: Web pages of other origins.
    allowed_origins: str = Field(default="", examples=["https://console.example.com"])
    #: Of each caller, in each process; 0: no limit.
    rate_per_second: int = Field(default=0, ge=0, le=1_000_000, examples=[100])


class EngineSection(BaseModel, extra="forbid"):
    """How the engine batches. The defaults suit most installations."""

    batch_size: int = Field(default=1000, ge=1, le=10_000, examples=[1000])
    #: Lists lag by up to twice this time, and must not lag by more than a second.
    projection_interval_ms: int = Field(default=450, ge=10, le=500, examples=[450])
    cached_instances: int = Field(default=20_000, ge=100, le=100_000_000, examples=[20_000])


class LogSection(BaseModel, extra="forbid"):
    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(default="INFO", examples=["INFO"])
    #: auto: console at a terminal, json elsewhere.
    format: Literal["auto", "json", "console"] = Field(default="auto", examples=["json"])


class _YamlFile(YamlConfigSettingsSource):
    """`conveyor.yaml`; raises SettingsError for a file that is not settings by name."""

    def _read_file(self, file_path: Any) -> dict[str, Any]:
        try:
            content: Any = super()._read_file(file_path)
        except (YAMLError, ValueError) as fault:
            raise SettingsError(f"{file_path} cannot be read: {fault}") from fault
        if not isinstance(content, dict):
            raise SettingsError(f"{file_path} must hold settings by name, as `kafka: {{...}}`")
        return cast("dict[str, Any]", content)


class Settings(BaseSettings):
    """Read once at the start."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        env_file=".env",
        yaml_file="conveyor.yaml",
        extra="ignore",
    )

    profile: Literal["dev", "production"] = Field(default="dev", examples=["production"])
    instance_id: str | None = Field(default=None, examples=["engine-1"])
    kafka: KafkaSection = Field(default_factory=KafkaSection)
    mongodb: MongoSection = Field(default_factory=MongoSection)
    redis: RedisSection = Field(default_factory=RedisSection)
    locks: LocksSection = Field(default_factory=LocksSection)
    workflow: WorkflowSection = Field(default_factory=WorkflowSection)
    scheduler: SchedulerSection = Field(default_factory=SchedulerSection)
    circuit_breaker: CircuitBreakerSection = Field(default_factory=CircuitBreakerSection)
    services: dict[str, ServiceSection] = Field(default_factory=dict[str, ServiceSection])
    auth: AuthSection = Field(default_factory=AuthSection)
    api: ApiSection = Field(default_factory=ApiSection)
    engine: EngineSection = Field(default_factory=EngineSection)
    log: LogSection = Field(default_factory=LogSection)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        yaml = _YamlFile(settings_cls)
        return init_settings, env_settings, dotenv_settings, yaml, file_secret_settings

    def without_effect(self) -> list[str]:
        """Variables of settings that were given but have no effect in this version."""
        return sorted(_without_effect(self, PREFIX))

    def masked(self) -> dict[str, Any]:
        """The effective settings for display, with secrets and credentials masked."""
        shown: dict[str, Any] = self.model_dump(mode="json")
        if shown["kafka"]["sasl_password"] is not None:
            shown["kafka"]["sasl_password"] = MASK
        shown["mongodb"]["uri"] = _without_credentials(self.mongodb.uri)
        shown["redis"]["url"] = _without_credentials(self.redis.url)
        return shown


def listed(text: str) -> tuple[str, ...]:
    """The items of a setting that separates them by commas."""
    return tuple(item for each in text.split(",") if (item := each.strip()))


def _without_credentials(address: str) -> str:
    scheme, separator, rest = address.partition("://")
    credentials, at, host = rest.rpartition("@")
    return f"{scheme}{separator}{MASK}@{host}" if at and credentials else address


def _without_effect(section: BaseModel, prefix: str) -> Iterator[str]:
    for name in section.model_fields_set:
        value = getattr(section, name)
        extra = type(section).model_fields[name].json_schema_extra
        inner: dict[str, Any] = {name: value}
        if isinstance(value, dict):
            inner = {f"{name}__{key}": each for key, each in cast("dict[str, Any]", value).items()}
        for path, each in inner.items():
            if isinstance(each, BaseModel):
                yield from _without_effect(each, f"{prefix}{path.upper()}__")
            elif isinstance(extra, dict) and _PLANNED in extra:
                yield f"{prefix}{path.upper()}"


def load_settings(**given: Any) -> Settings:
    """The settings in force. Raises SettingsError with a sentence for every wrong one."""
    try:
        settings = Settings(**given)
        unknown = _unknown_variables()
    except ValidationError as error:
        raise SettingsError("\n".join(_explained(fault) for fault in error.errors())) from error
    except (SourceError, OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"the environment or .env cannot be read: {error}") from error
    if unknown:
        raise SettingsError("\n".join(unknown))
    return settings


#: Read by the command line and by workers, not by the service.
_OTHER_VARIABLES = frozenset(
    {
        "CONVEYOR_URL",
        "CONVEYOR_API_KEY",
        "CONVEYOR_WORKER_PARENT",
        "CONVEYOR_WORKER__METRICS_HOST",
        "CONVEYOR_WORKER__METRICS_PORT",
    }
)


def _unknown_variables() -> list[str]:
    """A misspelt variable must not be ignored."""
    known = {name.upper() for name in Settings.model_fields}
    sentences: list[str] = []
    for name in sorted({*os.environ, *dotenv_values(".env")}):
        if name.startswith(PREFIX) and name not in _OTHER_VARIABLES:
            section = name.removeprefix(PREFIX).partition("__")[0].upper()
            if section not in known:
                shown = ", ".join(sorted(known))
                sentences.append(f"{name}: there is no such setting; sections are {shown}")
    return sentences


def _explained(fault: Any) -> str:
    path = [str(part) for part in fault["loc"]]
    variable = PREFIX + "__".join(path).upper()
    example = _example(path)
    given = "" if isinstance(fault["input"], dict) else f" (given: {fault['input']!r})"
    advice = f"; for example {variable}={example}" if example is not None else ""
    return f"{variable}: {fault['msg']}{given}{advice}"


def _example(path: list[str]) -> Any:
    model: Any = Settings
    examples: list[Any] | None = None
    for part in path:
        fields: dict[str, Any] = getattr(model, "model_fields", {})
        if part not in fields:
            return None
        examples = fields[part].examples
        model = fields[part].annotation
    return examples[0] if examples else None
