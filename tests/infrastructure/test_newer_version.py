"""The embedded mode with a file that a newer version has written to."""

from __future__ import annotations

from pathlib import Path

from application.codec.internal import send_message, signed_with
from tests.adapters.rest.service import Json, Service, serving, start_of
from tests.waiting import eventually


async def stands_still(service: Service) -> Json:
    """The health document once the partition stands still."""

    async def is_stopped() -> Json | None:
        health = (await service.client.get("/health/workflow")).json()
        return health if health["status"] == "DEGRADED" else None

    return await eventually(is_stopped)


async def test_a_message_of_a_newer_version_stops_the_partition_and_nothing_else(
    tmp_path: Path,
) -> None:
    """The process lives, reads go on, health names the reason, and a restart finds the same."""
    path = tmp_path / "conveyor.db"
    async with serving(path) as service:
        await service.start({"id": "wf-1", **start_of()}, wait=30)
        backbone = service.engine._backbone
        layout = await backbone.projections.layout()
        assert layout is not None
        send: Json = {"to": "lock:cart-1", "type": "lock-wanted", "data": {}}
        await backbone.publisher.publish([send_message(signed_with(layout.secret), send, "newer")])

        health = await stands_still(service)

        engine = health["components"]["engine"]
        assert (engine["status"], engine["partitions"]) == ("DEGRADED", 0)
        assert "partition 0: offset" in engine["detail"]
        assert "lock-wanted" in engine["detail"]
        assert "upgrade" in engine["detail"]
        assert (await service.get("wf-1"))["status"] == "COMPLETED"
        accepted = await service.start({"id": "wf-2", **start_of(2)})
        assert accepted.status_code == 202

    async with serving(path) as service:
        assert "lock-wanted" in (await stands_still(service))["components"]["engine"]["detail"]
