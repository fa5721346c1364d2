"""The exceptions of the test kit.

KitError           the test cannot go on; the message says what to add or to change
├── EngineError    the engine's process is not installed, or has ended
├── WrongDefinition  a definition cannot be registered
├── Refused        the engine refused a start or a command
├── Unserved       a request for which there is neither a participant nor a stub
└── NeverEnding    a run that time alone does not end
SagaFault          what `explore` found; an AssertionError
"""

from __future__ import annotations


class KitError(Exception):
    """The test cannot go on."""


class EngineError(KitError):
    """The engine's process is not installed, or has ended."""


class WrongDefinition(KitError):
    """A definition cannot be read, or is not safe; the message names every fault."""


class Refused(KitError):
    """The engine refused a start or a command; `code` is for programs, as in REST."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


class Unserved(KitError):
    """A request for which there is neither a participant nor a stub."""


class NeverEnding(KitError):
    """A run that goes on and on, for example because a step past the pivot always fails."""


class SagaFault(AssertionError):
    """Something that must not happen to a saga, happened.

    `kind` is the kind of fault, `seed` and `faults` repeat the run that showed it.
    """

    def __init__(self, message: str, *, kind: str, seed: int, faults: tuple[int, ...]) -> None:
        super().__init__(message)
        self.kind = kind
        self.seed = seed
        self.faults = faults
