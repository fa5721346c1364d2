"""What a violation says, without what differs from run to run: whether two runs fail in the same way."""

from __future__ import annotations

import re

from tests.simulation.definitions import SHELF

_IN_BRACKETS = re.compile(r"\([^()]*\)|\[[^\[\]]*\]|\{[^{}]*\}")
_WORD = re.compile(r"[A-Za-z]+(?:'s)?")
_DERIVED_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def symptom(says: str) -> str:
    """The words of the sentence: no ids, keys, numbers, statuses or steps."""
    bare = says
    while (shorter := _IN_BRACKETS.sub(" ", bare)) != bare:
        bare = shorter
    words = (token.strip(".,:;'\"") for token in bare.split())
    return " ".join(
        word
        for word in words
        if _WORD.fullmatch(word) and not word.isupper() and word not in SHELF.step_ids
    )


def shown(says: str) -> str:
    """The sentence with readable ids in place of derived ones."""
    return _DERIVED_ID.sub("wf-N", says)
