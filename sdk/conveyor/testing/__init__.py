"""A test kit for sagas: the real engine on virtual time, and your participants in the test's own process.

async with Conveyor(hotel, definitions=["trip.yaml"]) as c:
    c.service("payment").fails("charge")
    run = await c.run("hotel-booking", {"nights": 2})
    assert run.status == "COMPENSATED"
    assert run.undone == ["reserve-room"]
"""

from conveyor.testing.blocking import BlockingConveyor, BlockingRun
from conveyor.testing.conveyor import Conveyor
from conveyor.testing.errors import (
    EngineError,
    KitError,
    NeverEnding,
    Refused,
    SagaFault,
    Unserved,
    WrongDefinition,
)
from conveyor.testing.run import Error, Run, Step
from conveyor.testing.services import Asked, Service

__all__ = [
    "Asked",
    "BlockingConveyor",
    "BlockingRun",
    "Conveyor",
    "EngineError",
    "Error",
    "KitError",
    "NeverEnding",
    "Refused",
    "Run",
    "SagaFault",
    "Service",
    "Step",
    "Unserved",
    "WrongDefinition",
]
