"""What all kinds of aggregates share: decisions, events, timers and identities."""
