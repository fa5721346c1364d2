-- Commits lie in the order in which they are written, so that inserting one touches the last page only.
-- With `key` as the place of the row each commit made a page in the middle of the table dirty. The unique
-- index on `key` is the fence now.

CREATE TABLE commits_in_order (
    key          INTEGER NOT NULL UNIQUE,
    last_version INTEGER NOT NULL,
    partition    INTEGER NOT NULL,
    entries      TEXT NOT NULL
);
INSERT INTO commits_in_order (key, last_version, partition, entries)
    SELECT key, last_version, partition, entries FROM commits ORDER BY key;
DROP TABLE commits;
ALTER TABLE commits_in_order RENAME TO commits;
