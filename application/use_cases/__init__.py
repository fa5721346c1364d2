"""Every mutation passes here, from every entry point; each use case knows its caller."""
