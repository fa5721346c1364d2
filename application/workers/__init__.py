"""Workers: participants that take requests over HTTP, for a limited time (CONTRACT 7)."""
