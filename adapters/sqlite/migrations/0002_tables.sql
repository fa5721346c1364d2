-- The first tables that files in use have.

CREATE TABLE topics (
    number INTEGER PRIMARY KEY,
    name   TEXT NOT NULL UNIQUE,
    id     TEXT NOT NULL
);

-- What one publication wrote to one topic; `batches.py` says what `content` holds.
CREATE TABLE record_batches (
    topic        INTEGER NOT NULL,
    first_offset INTEGER NOT NULL,
    count        INTEGER NOT NULL,
    appended_ms  INTEGER NOT NULL,
    content      BLOB NOT NULL,
    PRIMARY KEY (topic, first_offset)
);

-- Everything below `next_offset` is done by that consumer; `engine` is the inbox.
CREATE TABLE consumer_offsets (
    consumer    TEXT NOT NULL,
    topic       TEXT NOT NULL,
    partition   INTEGER NOT NULL,
    topic_id    TEXT NOT NULL,
    next_offset INTEGER NOT NULL,
    PRIMARY KEY (consumer, topic, partition)
) WITHOUT ROWID;

CREATE TABLE instances (
    number INTEGER PRIMARY KEY,
    id     TEXT NOT NULL UNIQUE
);

CREATE TABLE commits (
    key          INTEGER PRIMARY KEY,
    last_version INTEGER NOT NULL,
    partition    INTEGER NOT NULL,
    entries      TEXT NOT NULL
);

-- The highest cause of a commit in each lane.
CREATE TABLE causes (
    topic_id   TEXT NOT NULL,
    partition  INTEGER NOT NULL,
    offset     INTEGER NOT NULL,
    commit_key INTEGER NOT NULL,
    PRIMARY KEY (topic_id, partition, offset, commit_key)
) WITHOUT ROWID;

-- What the commits of `inbox:<partition>` answered: an inbox has more of them than could be read for a copy.
CREATE TABLE inbox_messages (
    instance   INTEGER NOT NULL,
    message_id TEXT NOT NULL,
    commit_key INTEGER NOT NULL,
    PRIMARY KEY (instance, message_id)
) WITHOUT ROWID;

-- `status` is null for the states of coordinators, which no list shows.
CREATE TABLE workflows (
    number         INTEGER PRIMARY KEY,
    id             TEXT NOT NULL,
    version        INTEGER NOT NULL,
    partition      INTEGER NOT NULL,
    next_timer_at  TEXT,
    status         TEXT,
    type           TEXT,
    definition     TEXT,
    correlation_id TEXT,
    user_id        TEXT,
    wallet         TEXT,
    started_at     TEXT NOT NULL,
    labels         TEXT NOT NULL,
    document       TEXT NOT NULL
);
CREATE INDEX workflows_started ON workflows (started_at, id) WHERE status IS NOT NULL;
CREATE INDEX workflows_status ON workflows (status, started_at, id) WHERE status IS NOT NULL;
CREATE INDEX workflows_type ON workflows (type, started_at, id) WHERE type IS NOT NULL;
CREATE INDEX workflows_definition ON workflows (definition, started_at, id)
    WHERE definition IS NOT NULL;
CREATE INDEX workflows_correlation ON workflows (correlation_id) WHERE correlation_id IS NOT NULL;
CREATE INDEX workflows_user ON workflows (user_id, started_at, id) WHERE user_id IS NOT NULL;
CREATE INDEX workflows_wallet ON workflows (wallet, started_at, id) WHERE wallet IS NOT NULL;
CREATE INDEX workflows_timer ON workflows (partition, next_timer_at)
    WHERE next_timer_at IS NOT NULL;

CREATE TABLE definitions (
    name     TEXT NOT NULL,
    version  INTEGER NOT NULL,
    document TEXT NOT NULL,
    PRIMARY KEY (name, version)
) WITHOUT ROWID;

-- The key is that of the instance, a slash, and `step`.
CREATE TABLE participant_keys (
    instance INTEGER NOT NULL,
    step     TEXT NOT NULL,
    record   TEXT NOT NULL,
    PRIMARY KEY (instance, step)
);

-- What was begun and is not resolved: few rows, gone when the record is saved.
CREATE TABLE participant_claims (
    key     TEXT PRIMARY KEY,
    attempt INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE settings (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;
