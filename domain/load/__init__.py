"""The load of services, and how work is spread by it."""
