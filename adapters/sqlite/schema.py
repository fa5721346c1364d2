"""How rows of the embedded store are numbered; `migrations/` has the tables.

Numbers make the B-trees grow at their right edge, where pages are in memory, instead of at
random places: `instances` gives every workflow a number on its first commit, and a commit's key
is that number and the commit's first version in one integer (`commit_key`). The commits of one
workflow are a range of keys, and the unique index on the key is the fence.
"""

from __future__ import annotations

_VERSION_BITS = 32


def commit_key(number: int, first_version: int) -> int:
    """The key of the commit of instance `number` that begins at this version."""
    return number << _VERSION_BITS | first_version


def split_key(key: int) -> tuple[int, int]:
    """The instance number and the first version of a commit's key."""
    return key >> _VERSION_BITS, key & ((1 << _VERSION_BITS) - 1)
