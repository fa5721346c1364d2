"""The partition processor: inbox messages in, commits and their messages out (DESIGN 3, PROTOCOL)."""
