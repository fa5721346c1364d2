"""Every mutation passes here, whoever asks for it; each use case knows its caller."""
