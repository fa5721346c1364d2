"""Kinds of aggregates at the edge of the service: reading their messages and storing their state."""
