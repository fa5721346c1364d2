"""Documents come back from the driver with integers of a type of its own, and are stored again."""

from __future__ import annotations

from tests.scripts import check_in_time

#: In a process of its own: what hangs in the interpreter's own code no time-out of a test ends.
_STORED_AGAIN = """
import bson
from adapters.mongodb.json_in_bson import decode, encode

document = {"_id": "wf-1", "at": 1_763_700_000_000, "input": {"$ref": 2**40}, "most": [2**63 - 1]}
loaded = decode(bson.decode(encode(document).raw))
assert type(loaded["at"]) is not int
assert decode(bson.decode(encode(loaded).raw)) == document
"""


def test_long_integers_are_stored_again() -> None:
    """A document with a key that needs text and long integers is loaded and stored within the time of any other."""
    check_in_time(_STORED_AGAIN)
