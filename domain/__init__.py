"""The core: pure, synchronous, deterministic. A command is decided, an event is evolved; nothing else changes state."""
