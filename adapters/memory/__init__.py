"""The stores as plain dictionaries: for the simulator and for users' own tests.

They keep the same contracts as the real ones (`tests/contracts/`), in one process and for
as long as it lives. Documents are not copied when they are stored or read: treat them as
immutable, as the application does.
"""
