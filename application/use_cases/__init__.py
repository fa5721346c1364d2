"""The use cases. Every change from every entry point passes through here, with its caller."""
