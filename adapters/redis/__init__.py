"""Hot state and locks in Redis."""
