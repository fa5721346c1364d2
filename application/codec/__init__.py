"""Converts the domain's values to JSON-ready documents and back, with one codec for each kind of value."""
