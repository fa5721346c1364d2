"""Names of the topics (the contract between services, engine, participants and readers)."""

from __future__ import annotations

COMMANDS = "orchestration.workflow.commands"
EVENTS = "orchestration.workflow.events"
REPLIES = "orchestration.step.replies"
SYSTEM_COMMANDS = "orchestration.system.commands"
LOAD_SAMPLES = "orchestration.system.load.samples"
LOAD = "orchestration.system.load"
DEAD_LETTER = "orchestration.dead-letter"

_STEP_REQUESTS = "orchestration.step.requests."


def step_requests(service: str) -> str:
    """The topic of the step, compensation and seal requests for one service."""
    return _STEP_REQUESTS + service


def is_step_requests(topic: str) -> bool:
    """Whether it is the topic of some service's requests."""
    return topic.startswith(_STEP_REQUESTS)
