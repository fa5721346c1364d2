"""`conveyor workflow history`: every event as one line that says what happened."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Annotated, Any

import typer

from infrastructure.cli.client import Json, call, workflow_path
from infrastructure.cli.options import COUNT_MAX, DEFAULT_URL, Form, Output, Url, WorkflowId
from infrastructure.cli.output import note, write_json, write_table

_PREFIX = "orchestration."
_SCHEDULED = "orchestration.workflow.step.scheduled"
_PAGE = 1000


def history(
    id: WorkflowId,
    after: Annotated[
        int, typer.Option(min=0, max=COUNT_MAX, help="Only events after this version.")
    ] = 0,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 200,
    type: Annotated[str | None, typer.Option(help="Only events of this CloudEvents type.")] = None,
    kind: Annotated[
        str | None, typer.Option(help="Only events of this kind, for example SAGA_COMPENSATION.")
    ] = None,
    url: Url = DEFAULT_URL,
    output: Output = Form.TABLE,
) -> None:
    """Every event of a workflow, in order."""
    path = workflow_path(id, "history")
    asked: Json = {"after": after, "limit": limit, "type": type, "kind": kind}
    page = call(url, path, "items", "nextCursor", params=asked)
    if output is Form.JSON:
        write_json(page)
        return
    items: list[Json] = page["items"]
    whole = not (after or type or kind)
    requests = (item for item in items if item["type"] == _SCHEDULED)
    # An undo's attempts are counted from its first request, which may not be on this page.
    attempts = Attempts(requests if whole else _requests(url, path, items))
    rows = [
        (
            item["version"],
            item["occurredAt"],
            item["type"].removeprefix(_PREFIX).removeprefix("workflow."),
            described(item, attempts.upto(item["version"])),
            item["actor"],
        )
        for item in items
    ]
    write_table(("#", "AT", "EVENT", "WHAT", "ACTOR"), rows, folded={"WHAT"}, spare=("ACTOR",))
    if page["nextCursor"] is not None:
        note(f"there are more: --after {page['nextCursor']}")


def _requests(url: str, path: str, items: Sequence[Json]) -> Iterator[Json]:
    """Every request up to the last of these events."""
    last = items[-1]["version"] if items else 0
    after: Any = 0
    while after is not None and int(after) < last:
        asked: Json = {"after": after, "limit": _PAGE, "type": _SCHEDULED}
        page = call(url, path, "items", "nextCursor", params=asked)
        yield from page["items"]
        after = page["nextCursor"]


class Attempts:
    """Numbers attempts for people: those of a step, its undo and the check of the undo each from 1.

    In the events, one number counts the undo and its check together.
    """

    def __init__(self, requests: Iterator[Json]) -> None:
        self._requests = requests
        self._next = next(requests, None)
        self._counts: Counter[tuple[Any, ...]] = Counter()
        #: The undo or check that each step waits for.
        self._backward: dict[str, tuple[str, int]] = {}

    def upto(self, version: int) -> Attempts:
        """Take note of the requests up to this version."""
        while self._next is not None and self._next["version"] <= version:
            data: Json = self._next["data"]
            purpose = data.get("purpose")
            if purpose is not None:
                of = (data["stepId"], data["round"], purpose)
                self._counts[of] += 1
                self._backward[data["stepId"]] = (purpose, self._counts[of])
            self._next = next(self._requests, None)
        return self

    def backward(self, data: Json) -> str:
        """`undo pick, attempt 1` or `verify pick, attempt 1`, whichever is running."""
        step: str = data["stepId"]
        purpose, number = self._backward.get(step, ("undo", data["attempt"]))
        return f"{purpose} {step}, attempt {number}"


def described(item: Json, attempts: Attempts) -> str:
    """What happened, in words."""
    data: Json = item["data"]
    describe = _WORDS.get(item["type"].removeprefix(_PREFIX).removeprefix("workflow."))
    if describe is None:
        known = (
            data.get(name) for name in ("stepId", "name", "code", "reason", "detail", "resolution")
        )
        return _joined(known)
    return describe(data, attempts)


def _step_scheduled(data: Json, attempts: Attempts) -> str:
    attempt = attempts.backward(data) if data.get("purpose") else _attempt(data)
    return _with_reason(f"{attempt}: {data['serviceName']}.{data['operation']}", data)


def _with_reason(words: str, data: Json) -> str:
    """Why an operator did it."""
    return f"{words}; {data['reason']}" if data.get("reason") else words


def _attempt(data: Json) -> str:
    return f"{data['stepId']}, attempt {data['attempt']}"


def _step_executed(data: Json, _attempts: Attempts) -> str:
    by_hand = ", by hand" if data.get("reason") else ""
    return _with_reason(_attempt(data) + by_hand, data)


def _patched(data: Json, _attempts: Attempts) -> str:
    before, after = (json.dumps(data.get(name)) for name in ("before", "after"))
    return _with_reason(f"{data['path']}: {before} -> {after}", data)


def _reset(data: Json, _attempts: Attempts) -> str:
    return _with_reason(f"to {data['toStep']}", data)


def _step_failed(data: Json, _attempts: Attempts) -> str:
    return _failed(data, _attempt(data))


def _compensation_failed(data: Json, attempts: Attempts) -> str:
    return _failed(data, attempts.backward(data))


def _failed(data: Json, attempt: str) -> str:
    again = f"; again at {data['nextAttemptAt']}" if data.get("nextAttemptAt") else ""
    return f"{attempt}: {data['errorCode']}: {data['message']}{again}"


def _step_compensated(data: Json, attempts: Attempts) -> str:
    if data.get("forced"):
        return f"{data['stepId']}, taken as undone by force"
    return f"{attempts.backward(data)}: {data['stepId']} is undone"


def _retry_scheduled(data: Json, _attempts: Attempts) -> str:
    purpose = f"{data['purpose']} " if data.get("purpose") else ""
    return f"{purpose}{data['stepId']} again at {data['dueAt']}"


def _sealed(data: Json, _attempts: Attempts) -> str:
    return (
        f"{data['stepId']}: {'was performed' if data['performed'] else 'will never be performed'}"
    )


def _workflow_failed(data: Json, _attempts: Attempts) -> str:
    error: Json = data["error"]
    return f"{error['errorCode']}: {error['message']}"


def _compensation_started(data: Json, _attempts: Attempts) -> str:
    return _joined((data["trigger"], data.get("reason"), ", ".join(data["steps"])))


def _compensation_completed(data: Json, _attempts: Attempts) -> str:
    return "undone" if data["success"] else f"failed: {', '.join(data['failedSteps'])}"


def _command_rejected(data: Json, _attempts: Attempts) -> str:
    command = data["commandType"].removeprefix(_PREFIX).removeprefix("workflow.")
    return f"{command}: {data['code']}: {data['detail']}"


def _joined(words: Iterable[Any]) -> str:
    return ": ".join(str(word) for word in words if word)


_WORDS: dict[str, Callable[[Json, Attempts], str]] = {
    "step.scheduled": _step_scheduled,
    "step.executed": _step_executed,
    "step.failed": _step_failed,
    "step.retry-scheduled": _retry_scheduled,
    "step.compensated": _step_compensated,
    "step.compensation-failed": _compensation_failed,
    "step.sealed": _sealed,
    "patched": _patched,
    "reset": _reset,
    "failed": _workflow_failed,
    "compensation.started": _compensation_started,
    "compensation.completed": _compensation_completed,
    "command.rejected": _command_rejected,
}
