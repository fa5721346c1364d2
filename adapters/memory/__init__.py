"""The stores as plain dictionaries: for the simulator and for users' own tests.

They pass the same contract tests as the real ones (`tests/contracts/`), but live in one process and end with it.
Documents are not copied when they are stored or read: treat them as immutable, as the application does.
"""
