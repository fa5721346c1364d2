"""Kinds of aggregates at the edge: how their messages are read, and how their state is stored."""
