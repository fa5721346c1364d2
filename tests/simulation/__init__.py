"""The whole system in one process on virtual time, under seeded faults (PROTOCOL).

`python -m tests.simulation --seed N --trace` replays a seed, to the byte.
"""
