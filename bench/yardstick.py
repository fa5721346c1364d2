"""How quick this machine is right now: a fixed piece of work, so that figures can be given as ratios."""

from __future__ import annotations

import time

import orjson

_ROUNDS = 5
_DOCUMENTS = 20_000


def yardstick_ms() -> float:
    """The CPU time of the work, in milliseconds; the best of some rounds."""
    return min(_round() for _ in range(_ROUNDS)) * 1000


def _round() -> float:
    began = time.process_time()
    for number in range(_DOCUMENTS):
        document = {
            "id": f"w-{number}",
            "status": "EXECUTING",
            "steps": [{"n": n} for n in range(5)],
        }
        read = orjson.loads(orjson.dumps(document))
        if read["steps"][number % 5]["n"] != number % 5:
            raise AssertionError(read)
    return time.process_time() - began
