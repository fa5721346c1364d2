"""JSON-ready documents: the form in which everything is stored and shown."""

from __future__ import annotations

from typing import Any

#: A JSON-ready document: camelCase keys, times as RFC 3339 strings, nothing but JSON types.
Document = dict[str, Any]
