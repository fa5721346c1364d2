"""The workflow aggregate: one run of a definition, decided by commands and evolved by events."""
