-- The newest lease of each lock; the row stays, since its token must grow.
CREATE TABLE leases (
    name          TEXT PRIMARY KEY,
    holder        TEXT NOT NULL,
    fencing_token INTEGER NOT NULL,
    held_until_ms INTEGER NOT NULL
) WITHOUT ROWID;
