-- The ledger, the audit log and the outbox: everything that a call writes.
--
-- Amounts of a single call are 64-bit picodollars. Balances are sums and may be wider, so they are
-- decimal text that only Rust adds up. Times are milliseconds since 1970-01-01 UTC.

CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- One budget of one scope in one calendar window.
CREATE TABLE balances (
    id           INTEGER PRIMARY KEY,
    scope_kind   TEXT    NOT NULL CHECK (scope_kind IN ('organization', 'environment', 'virtual_key')),
    scope_id     TEXT    NOT NULL,
    window_kind  TEXT    NOT NULL CHECK (window_kind IN ('daily', 'monthly')),
    window_start INTEGER NOT NULL,
    window_end   INTEGER NOT NULL,
    settled      TEXT    NOT NULL DEFAULT '0',
    unsettled    TEXT    NOT NULL DEFAULT '0',
    reserved     TEXT    NOT NULL DEFAULT '0',
    granted      TEXT    NOT NULL DEFAULT '0',
    UNIQUE (scope_kind, scope_id, window_kind, window_start, window_end)
) STRICT;

CREATE INDEX balances_by_end ON balances (window_end);

-- The balances that a call is charged to, as a JSON list of ids. All calls of a key in a day have
-- the same, so a call names the list by its number.
CREATE TABLE account_sets (
    id       INTEGER PRIMARY KEY,
    balances TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE calls (
    seq                 INTEGER PRIMARY KEY,
    id                  BLOB    NOT NULL UNIQUE,
    at                  INTEGER NOT NULL,
    virtual_key         TEXT    NOT NULL,
    environment         TEXT    NOT NULL,
    upstream_key        TEXT,
    route               TEXT    NOT NULL,
    operation           TEXT,
    model               TEXT    NOT NULL,
    max_tokens          INTEGER NOT NULL,
    stream              INTEGER NOT NULL,
    source              TEXT    NOT NULL,
    reserved            INTEGER NOT NULL CHECK (reserved >= 0),
    account_set         INTEGER NOT NULL REFERENCES account_sets (id),
    -- Its `call.intent` in the audit log.
    intent_seq          INTEGER NOT NULL,
    -- The record that closed it; grows in the order of closing. NULL while it is open.
    closed_seq          INTEGER,
    closed_at           INTEGER,
    -- NULL with a closed call: nobody saw how it ended.
    outcome             TEXT,
    certainty           TEXT,
    cost                INTEGER CHECK (cost >= 0),
    served_model        TEXT,
    tokens_input        INTEGER NOT NULL DEFAULT 0,
    tokens_write_5m     INTEGER NOT NULL DEFAULT 0,
    tokens_write_1h     INTEGER NOT NULL DEFAULT 0,
    tokens_read         INTEGER NOT NULL DEFAULT 0,
    tokens_output       INTEGER NOT NULL DEFAULT 0,
    status              INTEGER,
    upstream_request_id TEXT,
    stop_reason         TEXT,
    attempts            INTEGER,
    first_byte_ms       INTEGER,
    duration_ms         INTEGER
) STRICT;

CREATE INDEX calls_by_time ON calls (at);
CREATE INDEX calls_by_key ON calls (virtual_key, at);
CREATE INDEX calls_open ON calls (seq) WHERE closed_seq IS NULL;
CREATE UNIQUE INDEX calls_by_closing ON calls (closed_seq) WHERE closed_seq IS NOT NULL;
CREATE INDEX calls_unsettled ON calls (at) WHERE certainty = 'unsettled';

-- The audit log. `bytes` is the record as it was hashed; the other columns only help to find it.
CREATE TABLE audit (
    seq     INTEGER PRIMARY KEY,
    at      INTEGER NOT NULL,
    kind    TEXT    NOT NULL,
    -- NULL for records of a call; the call's row points at them.
    subject TEXT,
    bytes   BLOB    NOT NULL,
    leaf    BLOB    NOT NULL
) STRICT;

CREATE INDEX audit_by_kind ON audit (kind, seq) WHERE subject IS NOT NULL;
CREATE INDEX audit_by_subject ON audit (subject, seq) WHERE subject IS NOT NULL;

-- Hashes of complete subtrees of 256 leaves and more, so that proofs need few reads.
CREATE TABLE audit_nodes (
    level INTEGER NOT NULL,
    place INTEGER NOT NULL,
    hash  BLOB    NOT NULL,
    PRIMARY KEY (level, place)
) STRICT, WITHOUT ROWID;

-- Signed heads of the audit log.
CREATE TABLE checkpoints (
    size INTEGER PRIMARY KEY,
    at   INTEGER NOT NULL,
    note BLOB    NOT NULL
) STRICT;

-- Effects written in the transaction of their cause and not yet done.
CREATE TABLE outbox (
    id         TEXT    PRIMARY KEY,
    -- The audit record of the cause.
    cause_seq  INTEGER NOT NULL,
    kind       TEXT    NOT NULL,
    payload    TEXT    NOT NULL,
    state      TEXT    NOT NULL CHECK (state IN ('waiting', 'done', 'given_up')),
    attempts   INTEGER NOT NULL DEFAULT 0,
    next_at    INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    ended_at   INTEGER,
    last_error TEXT
) STRICT, WITHOUT ROWID;

CREATE INDEX outbox_waiting ON outbox (next_at) WHERE state = 'waiting';
