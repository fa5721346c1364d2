"""Workflow definitions, and the proof at registration that they are safe."""
