"""The workflows that are simulated: small time-outs, so that answers are often late."""

from __future__ import annotations

from typing import Any

from application.definitions import compile_definition
from application.ports import Clock
from domain.definition.definition import WorkflowDefinition
from tests.simulation.faults import Network, Process

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
        "input": {"order": "input.order", "note": "input.note"},
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


#: An undo that is looked after before the next one may begin.
_VERIFIED = {
    "operation": "undo-reserve",
    "input": {"order": "input.order"},
    "verify": {"operation": "verify-reserve", "input": {"order": "input.order"}},
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
#: Other steps in another order: who mixes the versions up asks for what was not done.
CHAIN_2 = _workflow(
    "chain",
    _step("money", "charge"),
    _step("stock", "reserve", compensation=_VERIFIED),
    _step("parcels", "weigh", compensation={"service": "robots", "operation": "undo-weigh"}),
    _step("parcels", "pack", when="input.heavy"),
    version=2,
)
DIAMOND = _workflow(
    "diamond",
    _step("stock", "reserve", compensation=_VERIFIED),
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
#: Its pivot is tried again after it was sealed, in another round.
PIVOT_HELD = _workflow(
    "pivot-held",
    _step("stock", "reserve"),
    _step("robots", "assign", kind="pivot", compensation=None, retry={"maxRetries": 0}),
    _step("parcels", "ship", kind="retriable", compensation=None),
    onFailure="hold",
)
#: The undo repeats what its step gave twice.
HEAVY = _workflow(
    "heavy",
    _step(
        "robots",
        "haul",
        compensation={
            "operation": "undo-haul",
            "input": {"all": "steps.haul.output", "note": "steps.haul.output.note"},
        },
    ),
    _step("money", "charge"),
    _step("parcels", "pack"),
)


class Shelf:
    """Every definition there will be, compiled once, as a definition's identity is its object; and what is deployed."""

    def __init__(self) -> None:
        compiled = [
            compile_definition(each)
            for each in (CHAIN, CHAIN_2, DIAMOND, HELD, PIVOTED, PIVOT_HELD, HEAVY)
        ]
        self._all = {(each.name, each.version): each for each in compiled}
        self.step_ids = frozenset(step.id for each in compiled for step in each.steps)

    def of(self, name: str, version: int) -> WorkflowDefinition:
        return self._all[name, version]

    def find(self, name: str, version: int | None, is_deployed: bool) -> WorkflowDefinition | None:
        """That version, or the newest; the second ones only where they are deployed."""
        newest = 2 if is_deployed and (name, 2) in self._all else 1
        wanted = newest if version is None else version
        return self._all.get((name, wanted)) if wanted <= newest else None


SHELF = Shelf()


class Deployment:
    """When the second versions are registered, and whether they are yet."""

    def __init__(self, at: float) -> None:
        self.at = at
        self.is_done = False


class FaultyDefinitions:
    """`Definitions` of one engine: asked for over the network, and remembered as the registry remembers them."""

    def __init__(
        self, deployment: Deployment, process: Process, network: Network, clock: Clock
    ) -> None:
        self._deployment = deployment
        self._process = process
        self._network = network
        self._clock = clock
        self._known: dict[tuple[str, int], WorkflowDefinition] = {}
        self._newest: dict[str, tuple[WorkflowDefinition, float]] = {}

    def cached(self, reference: str, version: int | None) -> WorkflowDefinition | None:
        if version is not None:
            return self._known.get((reference, version))
        newest = self._newest.get(reference)
        if newest is None or self._clock.now().timestamp() - newest[1] > 1.0:
            return None
        return newest[0]

    async def get(self, reference: str, version: int | None) -> WorkflowDefinition | None:
        if version is not None and (reference, version) in self._known:
            return self._known[reference, version]

        def look() -> list[WorkflowDefinition | None]:
            return [SHELF.find(reference, version, self._deployment.is_done)]

        asked_at = self._clock.now().timestamp()
        found = (await self._network.read(self._process, "eventStore", look))[0]
        if found is not None:
            self._known[found.name, found.version] = found
            if version is None:
                self._newest[reference] = (found, asked_at)
        return found
