"""The event log, the projections and the definitions in MongoDB, through PyMongo's async API."""
