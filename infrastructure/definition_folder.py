"""`conveyor dev --definitions`: the definitions of a folder, registered again when a file changes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import structlog

from adapters.rest.definition_body import UnreadableDocument, read_document
from application.access import LOCAL_ACTOR, Caller, Role
from application.ports import SetupError, Unavailable
from application.use_cases.definitions import RegisterDefinition
from application.use_cases.refusal import Refused
from infrastructure.definition_files import definition_files

log = structlog.get_logger("conveyor")

_LOOK_SECONDS = 0.5
_CALLER = Caller(actor=LOCAL_ACTOR, roles=frozenset({Role.ADMIN}))


class DefinitionFolder:
    """Registers the definitions in the files of a folder."""

    def __init__(self, folder: Path, register: RegisterDefinition) -> None:
        self._folder = folder
        self._register = register
        #: file -> when it was changed last, and its size
        self._known: dict[Path, tuple[int, int]] = {}

    async def apply(self) -> None:
        """Register all. Raises SetupError with what is wrong in each file, Unavailable."""
        if not self._folder.is_dir():
            raise SetupError(f"--definitions {self._folder}: there is no such folder")
        wrong = [fault for file in self._changed() if (fault := await self._apply(file))]
        if wrong:
            raise SetupError("\n".join(wrong))

    async def run(self, stop: asyncio.Event) -> None:
        """Register what changes until `stop`. What is wrong is logged."""
        while not stop.is_set():
            for file in self._changed():
                try:
                    fault = await self._apply(file)
                except Unavailable as away:
                    fault = f"{file}: {away}"
                    self._known.pop(file, None)
                if fault is not None:
                    log.warning("a definition was not registered", detail=fault)
            try:
                await asyncio.wait_for(stop.wait(), _LOOK_SECONDS)
            except TimeoutError:
                continue

    def _changed(self) -> list[Path]:
        found: dict[Path, tuple[int, int]] = {}
        for file in definition_files(self._folder):
            try:
                status = file.stat()
                found[file] = (status.st_mtime_ns, status.st_size)
            except FileNotFoundError:
                # A link to nowhere is reported when it is read; any other file is being replaced by an editor.
                if file.is_symlink():
                    found[file] = (0, 0)
        changed = [file for file, state in found.items() if self._known.get(file) != state]
        self._known = found
        return changed

    async def _apply(self, file: Path) -> str | None:
        """What is wrong with it; None: it is registered."""
        try:
            text = await asyncio.to_thread(file.read_bytes)
            document = await asyncio.to_thread(read_document, text, file.suffix)
            registered = await self._register(_CALLER, document)
        except OSError as error:
            return f"{file}: {error.strerror}"
        except (UnreadableDocument, Refused) as fault:
            return f"{file}: {fault}"
        if registered.is_new:
            log.info("definition registered", name=registered.name, version=registered.version)
        return None
