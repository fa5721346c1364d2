"""The workflows that are simulated: small time-outs, so that answers are often late."""

from __future__ import annotations

from typing import Any

from application.definitions import compile_definition
from domain.definition import WorkflowDefinition

#: Long ones let a request be performed long after it was sent, short ones make answers late.
_TIMEOUT_MS = {"charge": 2500, "weigh": 1200, "pick": 5000}
_RETRY = {"maxRetries": 2, "initialDelayMs": 100, "maxDelayMs": 800, "jitter": 0.3}


def _step(service: str, operation: str, **fields: Any) -> dict[str, Any]:
    step = {
        "id": operation,
        "service": service,
        "operation": operation,
        "timeoutMs": _TIMEOUT_MS.get(operation, 350),
        "retry": _RETRY,
        "input": {"order": "input.order"},
        "compensation": {"operation": f"undo-{operation}", "input": {"order": "input.order"}},
        **fields,
    }
    return {name: value for name, value in step.items() if value is not None}


def _workflow(name: str, *steps: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        "name": name,
        "version": 1,
        "type": "ORDER_FULFILLMENT",
        "timeoutSeconds": 8,
        "steps": list(steps),
        **fields,
    }


CHAIN = _workflow(
    "chain",
    _step("stock", "reserve"),
    _step("money", "charge"),
    _step("robots", "assign"),
    _step("stock", "pick", input={"by": "steps.assign.output.did", "order": "input.order"}),
    _step("parcels", "pack"),
    output={"packed": "steps.pack.output.did"},
)
DIAMOND = _workflow(
    "diamond",
    _step("stock", "reserve"),
    _step("money", "charge", dependsOn=["reserve"]),
    _step(
        "parcels",
        "weigh",
        dependsOn=["reserve"],
        compensation={"service": "robots", "operation": "undo-weigh"},
    ),
    _step("robots", "assign", dependsOn=["reserve"], when="input.heavy"),
    _step("parcels", "ship", dependsOn=["charge", "weigh", "assign"]),
    onCancel="compensate",
)
HELD = _workflow(
    "held",
    _step("stock", "reserve"),
    _step("money", "charge"),
    _step("parcels", "pack"),
    onFailure="hold",
    timeoutSeconds=0,
)
PIVOTED = _workflow(
    "pivoted",
    _step("stock", "reserve"),
    _step("money", "charge", kind="pivot", compensation=None),
    _step("parcels", "ship", kind="retriable", compensation=None),
    _step("money", "invoice", kind="retriable", compensation=None),
)


class CompiledDefinitions:
    """`Definitions` of every engine: compiled once, as a definition's identity is its object."""

    def __init__(self) -> None:
        compiled = [compile_definition(each) for each in (CHAIN, DIAMOND, HELD, PIVOTED)]
        self.by_name: dict[str, WorkflowDefinition] = {each.name: each for each in compiled}

    def cached(self, reference: str, version: int | None) -> WorkflowDefinition | None:
        return self.by_name.get(reference) if version in (None, 1) else None

    async def get(self, reference: str, version: int | None) -> WorkflowDefinition | None:
        return self.cached(reference, version)

    def of(self, name: str, version: int) -> WorkflowDefinition:
        assert version == 1
        return self.by_name[name]


DEFINITIONS = CompiledDefinitions()
