"""`conveyor verify`: checks that log, projections and published events of a store agree."""
