"""Participants and clients of the Conveyor orchestrator."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from conveyor.client import Client
    from conveyor.participant import Participant
    from conveyor.worker import Worker

__all__ = ["Client", "Participant", "Worker", "__version__"]

#: Of the SDK and of the service, which are released together.
__version__ = "0.1.0"

_MODULES = {
    "Client": "conveyor.client",
    "Participant": "conveyor.participant",
    "Worker": "conveyor.worker",
}


def __getattr__(name: str) -> Any:
    """Loaded when it is used: a module of this package is also imported by programs that need no more of it."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)
