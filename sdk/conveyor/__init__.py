"""Participants and clients of the Conveyor orchestrator."""

#: Of the SDK and of the service, which are released together.
__version__ = "0.1.0"
