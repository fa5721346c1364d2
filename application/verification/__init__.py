"""`conveyor verify`: whether log, projections and published events of a store tell the same."""
