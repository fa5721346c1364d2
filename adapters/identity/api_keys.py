"""API keys: a file with one JSON object a line, which holds hashes only (CONTRACT 7)."""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import json
import os
import re
import secrets
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog

from application.access import SERVICE_LABEL, Caller, NotAuthenticated, Role

log = structlog.get_logger("conveyor")

#: How long a change of the file may stay unseen; at most 5 s (CONTRACT 7).
_LOOK_SECONDS: Final = 1.0
_ID = re.compile(r"[0-9a-f]{12}")
_NO_HASH: Final = "0" * 64


class KeyFileError(Exception):
    """The file cannot be read or written; the message says why."""


class ApiKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A line of the file. The secret is known to its owner only."""

    id: str
    #: Of the secret, in hexadecimal digits. A secret is random and long, so it needs no slow hash.
    sha256: str
    #: The name in events.
    actor: str
    role: str
    #: Each `name:value`.
    labels: list[str] = []
    tenant: str | None = None
    rights: list[str] = []

    def fault(self) -> str | None:
        """Why this key cannot be used, or None. What would restrict it and is not supported yet must not be ignored."""
        if not _ID.fullmatch(self.id) or len(self.sha256) != len(_NO_HASH):
            return "id or sha256 is not as `conveyor keys create` writes it"
        if self.role not in list(Role):
            return f"'{self.role}' is not a role; write one of {', '.join(Role)}"
        if self.rights:
            return "rights are not supported by this version"
        if self.tenant == "":
            return "tenant is empty; leave it out for all tenants"
        if self.role == Role.SERVICE:
            return self._fault_of_service()
        scope = self._scope()
        if any(not name or not value for name, value in scope):
            return "a label is name:value"
        if len({name for name, _ in scope}) < len(scope):
            return "a label is named twice, and no workflow carries both values"
        return None

    def _fault_of_service(self) -> str | None:
        if not self.labels or self._scope():
            return "the role service needs labels service:NAME, and takes no other"
        if self.tenant is not None:
            return "the role service has no tenant: a service performs steps of all tenants"
        return None

    def _scope(self) -> tuple[tuple[str, str], ...]:
        """The labels that workflows must carry."""
        parts = (name.partition(":") for name in self.labels if not name.startswith(SERVICE_LABEL))
        return tuple((name, value) for name, _, value in parts)

    def caller(self) -> Caller:
        services = frozenset(
            name.removeprefix(SERVICE_LABEL)
            for name in self.labels
            if name.startswith(SERVICE_LABEL)
        )
        return Caller(
            actor=self.actor,
            roles=frozenset({Role(self.role)}),
            tenant=self.tenant,
            labels=self._scope(),
            services=services,
        )


class ApiKeys:
    """The keys of a file, which is read again when it has changed."""

    def __init__(self, file: Path, clock: Callable[[], float] = time.monotonic) -> None:
        """Creates a missing file. Raises KeyFileError."""
        self._file = file
        self._clock = clock
        create(file)
        self._state: tuple[int, int, int] = _state_of(file)
        self._keys = _usable(file)
        self._looked_at = clock()

    def identify(self, headers: Mapping[str, str]) -> Caller:
        """The owner of the key that the request carries. Raises NotAuthenticated."""
        given = _given(headers)
        self._look()
        key_id, _, secret = given.partition(".")
        key = self._keys.get(key_id)
        expected = _NO_HASH if key is None else key.sha256
        if not hmac.compare_digest(_hash(secret), expected) or key is None:
            raise NotAuthenticated("this API key is unknown or was revoked")
        return key.caller()

    def _look(self) -> None:
        now = self._clock()
        if now - self._looked_at < _LOOK_SECONDS:
            return
        self._looked_at = now
        try:
            state = _state_of(self._file)
            if state != self._state:
                self._keys, self._state = _usable(self._file), state
        except KeyFileError as fault:
            # Those that were read stay valid: a file that is being replaced must lock nobody out.
            log.error("ALARM: the API keys cannot be read again", detail=str(fault))  # noqa: TRY400 - no bug


def _given(headers: Mapping[str, str]) -> str:
    named = headers.get("x-api-key")
    if named:
        return named.strip()
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    raise NotAuthenticated("send an API key: `Authorization: Bearer <id>.<secret>` or `X-API-Key`")


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


# -- the file ------------------------------------------------------------------------------------


def create(file: Path) -> None:
    """An empty file for its owner only, if there is none. Raises KeyFileError."""
    try:
        file.touch(mode=0o600, exist_ok=True)
    except OSError as error:
        raise KeyFileError(f"{file}: {error.strerror}") from error


def _state_of(file: Path) -> tuple[int, int, int]:
    try:
        found = file.stat()
    except OSError as error:
        raise KeyFileError(f"{file}: {error.strerror}") from error
    return found.st_mtime_ns, found.st_size, found.st_ino


def read(file: Path) -> list[ApiKey]:
    """The keys in their order. Raises KeyFileError with the line that is none."""
    try:
        text = file.read_bytes()
    except OSError as error:
        raise KeyFileError(f"{file}: {error.strerror}") from error
    return [key for _, key in _lines(file, text)]


def _lines(file: Path, text: bytes) -> Iterator[tuple[int, ApiKey]]:
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            yield number, msgspec.json.decode(line, type=ApiKey)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise KeyFileError(f"{file}, line {number}: {error}") from error


def _usable(file: Path) -> dict[str, ApiKey]:
    """By id. A key that cannot be used is named, and opens nothing."""
    found: dict[str, ApiKey] = {}
    for key in read(file):
        fault = key.fault()
        if fault is None:
            found[key.id] = key
        else:
            log.warning("an API key cannot be used", file=str(file), key=key.id, detail=fault)
    return found


def new_key(
    actor: str, role: str, labels: Sequence[str], tenant: str | None = None
) -> tuple[ApiKey, str]:
    """A key, and `id.secret`, which is not kept anywhere."""
    secret = secrets.token_urlsafe(32)
    key = ApiKey(
        id=secrets.token_hex(6),
        sha256=_hash(secret),
        actor=actor,
        role=role,
        labels=[*labels],
        tenant=tenant,
    )
    return key, f"{key.id}.{secret}"


@contextmanager
def changing(file: Path) -> Generator[None]:
    """One change at a time, of all processes: none loses what another wrote. Raises KeyFileError."""
    try:
        # The file itself is replaced, so the lock is that of its folder.
        folder = os.open(file.absolute().parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise KeyFileError(f"{file}: {error.strerror}") from error
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def write(file: Path, keys: list[ApiKey]) -> None:
    """Replace the file as a whole, so that no reader sees half of it. Raises KeyFileError."""
    text = "".join(json.dumps(_document(key)) + "\n" for key in keys)
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as output:
            output.write(text)
            output.flush()
            os.fsync(output.fileno())
        beside.replace(file)
    except OSError as error:
        raise KeyFileError(f"{file}: {error.strerror}") from error


def _document(key: ApiKey) -> dict[str, Any]:
    return msgspec.to_builtins(key)
