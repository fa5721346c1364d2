"""Workflow definitions: what a saga consists of, and the proof at registration that it is safe."""
