"""The pytest fixture `conveyor`. It imports the kit when a test asks for it: other tests start as fast as without."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conveyor.testing import Conveyor
    from conveyor.testing.world import Definition


@pytest.fixture
def conveyor(pytestconfig: pytest.Config) -> Callable[..., Conveyor]:
    """`Conveyor` of `conveyor.testing`; relative paths of definitions begin at pytest's root folder."""
    from conveyor.testing import Conveyor  # noqa: PLC0415 - see above

    def make(
        *participants: Any, definitions: Sequence[Definition] = (), **options: Any
    ) -> Conveyor:
        found = [_from(pytestconfig.rootpath, each) for each in definitions]
        return Conveyor(*participants, definitions=found, **options)

    return make


def _from(root: Path, definition: Definition) -> Definition:
    if isinstance(definition, str) and "\n" not in definition and definition.lstrip()[:1] != "{":
        definition = Path(definition)
    return root / definition if isinstance(definition, Path) else definition


def pytest_unconfigure() -> None:
    """End the engine with the session."""
    import sys  # noqa: PLC0415 - only whether it was ever needed

    engine = sys.modules.get("conveyor.testing.engine")
    if engine is not None:
        engine.close_engine()
