"""The README's example runs as printed."""

from __future__ import annotations

import asyncio
import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest
from conveyor import topics, types

from tests.sdk.kafka_site import kafka_site
from tests.sdk.requests_of import data_of, step_request, undo_request

README = Path(__file__).parents[2] / "sdk" / "README.md"


def example(number: int, folder: Path) -> ModuleType:
    """The README's Python block of that number, as a module."""
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    path = folder / f"example_{number}.py"
    path.write_text(blocks[number])
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.kafka
@pytest.mark.redis
@pytest.mark.timeout(120)
async def test_the_participant(
    kafka_bootstrap: str, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The printed participant reserves, refuses what is out of stock, and releases."""
    module = example(0, tmp_path)
    async with kafka_site(kafka_bootstrap) as site:
        monkeypatch.setattr(module, "KafkaTransport", lambda _: site.transport())
        stop, replies = asyncio.Event(), site.reader(topics.REPLIES)
        running = asyncio.create_task(module.main(site.bootstrap, redis_url, stop))
        order = {"sku": "SKU-1", "quantity": 2}
        one, two = f"{site.prefix}1", f"{site.prefix}2"

        await site.write(step_request(one, input=order))
        [reserved] = await replies.messages(1)
        await site.write(step_request(two, input=order))
        [refused] = await replies.messages(1)
        await site.write(undo_request(one, input=order, step_output={}))
        [released] = await replies.messages(1)
        stop.set()
        await running
        replies.close()

    assert data_of(reserved)["output"] == {"reservationId": f"{one}/reserve-inventory/1"}
    assert data_of(refused)["error"]["code"] == "OUT_OF_STOCK"
    assert released.type == types.STEP_COMPLETED
    assert module.stock == {"SKU-1": 2}


def test_the_client_example_loads(tmp_path: Path) -> None:
    """The printed client is valid against the SDK as it is."""
    assert asyncio.iscoroutinefunction(example(1, tmp_path).order)
