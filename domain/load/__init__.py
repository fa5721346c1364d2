"""The load of services, and how work is distributed by load."""
