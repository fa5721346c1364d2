"""The names and numbers that a definition may use."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, cast

from domain.definition.definition import StepDefinition, WorkflowDefinition
from domain.definition.expression import Template
from domain.definition.faults import Fault, Rule
from domain.definition.retry import RetryPolicy

MAX_NAME_LENGTH = 255
#: The service is part of a topic name, for which Kafka allows 249 characters, prefix included.
MAX_SERVICE_LENGTH = 200
_YEAR_SECONDS = 366 * 24 * 3600
#: Even after 64 doublings, the most that a policy allows, the delay is a finite number.
_MAX_MULTIPLIER = 100.0
_MAX_RETRIES = 1_000_000
_MAX_VERSION = 2**31 - 1
#: A template wraps values of other messages, which may be 64 levels deep, and all of it is part of a document.
#: MongoDB allows 100 levels.
MAX_TEMPLATE_DEPTH = 16

#: Deciding an event costs time for every step; the proof costs time for every path between them.
MAX_STEPS = 1000
MAX_DEPENDENCIES = 10_000

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
_NAME_RULE = "lower-case letters, digits, '.', '_' and '-', a letter or digit first"
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]*")
_LABEL_RULE = "letters, digits and '._:/-', a letter or digit first"
#: `order-v1` is the id of version 1 of `order`.
_VERSION_SUFFIX = re.compile(r".*-v[0-9]+")


def size_faults(definition: WorkflowDefinition) -> Iterator[Fault]:
    """Faults of a definition with too many steps to run, or to prove safe quickly. Then nothing else is checked."""
    steps = len(definition.steps)
    if steps > MAX_STEPS:
        message = f"has {steps} steps; at most {MAX_STEPS} are possible: split the workflow"
        yield Fault(rule=Rule.LIMIT, path="steps", message=message)
    dependencies = sum(len(step.depends_on) for step in definition.steps)
    if dependencies > MAX_DEPENDENCIES:
        message = (
            f"has {dependencies} dependencies in all; at most {MAX_DEPENDENCIES} are possible:"
            " name only the steps that a step waits for directly"
        )
        yield Fault(rule=Rule.LIMIT, path="steps.dependsOn", message=message)


def limit_faults(definition: WorkflowDefinition) -> Iterator[Fault]:
    """Faults of names that cannot be keys, topics or labels, and of numbers out of range."""
    yield from _named(definition.name, "name")
    if _VERSION_SUFFIX.fullmatch(definition.name):
        message = f"{definition.name!r} ends like a version; leave '-v<number>' to `version`"
        yield Fault(rule=Rule.NAME, path="name", message=message)
    yield from _labelled(definition.type, "type")
    yield from _within("version", definition.version, 1, _MAX_VERSION)
    yield from _within("timeoutSeconds", definition.timeout_seconds, 0, _YEAR_SECONDS)
    yield from _within("maxRetries", definition.max_retries, 0, _MAX_RETRIES)
    if definition.output is not None:
        yield from _nested(definition.output, "output")
    for step in definition.steps:
        yield from _step_faults(step)


def _step_faults(step: StepDefinition) -> Iterator[Fault]:
    place = f"steps.{step.id}"
    yield from _named(step.id, f"{place}.id", step.id)
    yield from _named(step.service, f"{place}.service", step.id, MAX_SERVICE_LENGTH)
    yield from _labelled(step.operation, f"{place}.operation", step.id)
    yield from _within(f"{place}.timeoutMs", step.timeout_ms, 1, _YEAR_SECONDS * 1000, step.id)
    yield from _nested(step.input, f"{place}.input", step.id)
    yield from _retry_faults(step.retry, f"{place}.retry", step.id)
    action = step.compensation
    if action is not None:
        undo = f"{place}.compensation"
        yield from _named(action.service_name, f"{undo}.service", step.id, MAX_SERVICE_LENGTH)
        yield from _labelled(action.operation, f"{undo}.operation", step.id)
        yield from _nested(action.input, f"{undo}.input", step.id)
        if action.verify is not None:
            yield from _nested(action.verify.input, f"{undo}.verify.input", step.id)
            yield from _labelled(action.verify.operation, f"{undo}.verify.operation", step.id)


def _retry_faults(retry: RetryPolicy, place: str, step: str) -> Iterator[Fault]:
    longest = _YEAR_SECONDS * 1000
    yield from _within(f"{place}.maxRetries", retry.max_retries, 0, _MAX_RETRIES, step)
    yield from _within(f"{place}.initialDelayMs", retry.initial_delay_ms, 1, longest, step)
    yield from _within(f"{place}.maxDelayMs", retry.max_delay_ms, 1, longest, step)
    multiplier = retry.backoff_multiplier
    yield from _within(f"{place}.backoffMultiplier", multiplier, 1.0, _MAX_MULTIPLIER, step)
    yield from _within(f"{place}.jitter", retry.jitter, 0.0, 1.0, step)


def _named(
    name: str, path: str, step: str | None = None, longest: int = MAX_NAME_LENGTH
) -> Iterator[Fault]:
    return _matching(_NAME, _NAME_RULE, name, path, step, longest)


def _labelled(label: str, path: str, step: str | None = None) -> Iterator[Fault]:
    return _matching(_LABEL, _LABEL_RULE, label, path, step, MAX_NAME_LENGTH)


def _matching(
    pattern: re.Pattern[str], rule: str, text: str, path: str, step: str | None, longest: int
) -> Iterator[Fault]:
    if len(text) > longest:
        message = f"has {len(text)} characters; at most {longest} are possible"
        yield Fault(rule=Rule.NAME, step=step, path=path, message=message)
    elif not pattern.fullmatch(text):
        message = f"{text!r} is not possible; use {rule}"
        yield Fault(rule=Rule.NAME, step=step, path=path, message=message)


def _nested(template: Template, path: str, step: str | None = None) -> Iterator[Fault]:
    if _depth(template.shape) > MAX_TEMPLATE_DEPTH:
        message = f"is nested too deeply; at most {MAX_TEMPLATE_DEPTH} levels are possible"
        yield Fault(rule=Rule.LIMIT, step=step, path=path, message=message)


def _depth(shape: Any) -> int:
    """How deep objects and lists are nested."""
    if isinstance(shape, dict):
        values = cast("dict[str, Any]", shape).values()
        return 1 + max(map(_depth, values), default=0)
    if isinstance(shape, list):
        return 1 + max(map(_depth, cast("list[Any]", shape)), default=0)
    return 0


def _within(
    path: str, value: float, lowest: float, highest: float, step: str | None = None
) -> Iterator[Fault]:
    if not lowest <= value <= highest:
        message = f"is {value}; it must lie between {lowest} and {highest}"
        yield Fault(rule=Rule.LIMIT, step=step, path=path, message=message)
