-- Rotations of upstream keys: how each stands, everything that led there, and which reminders were
-- given.

CREATE TABLE rotations (
    id       TEXT    PRIMARY KEY,
    -- Who writes names the version that was read.
    version  INTEGER NOT NULL,
    -- The environment whose key it is; empty for the shared one.
    seat     TEXT    NOT NULL,
    old_key  TEXT    NOT NULL,
    new_key  TEXT,
    stage    TEXT    NOT NULL,
    began_at INTEGER NOT NULL,
    ended_at INTEGER,
    -- JSON as core writes it; approvals and what people vouched for are in it.
    rotation TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

-- Never two rotations of one key, nor of one seat.
CREATE UNIQUE INDEX rotations_of_key ON rotations (old_key) WHERE ended_at IS NULL;
CREATE UNIQUE INDEX rotations_of_seat ON rotations (seat) WHERE ended_at IS NULL;
CREATE INDEX rotations_by_time ON rotations (began_at);

-- Every intent, result and word of a person, in the transaction that changed the rotation.
CREATE TABLE rotation_steps (
    seq       INTEGER PRIMARY KEY,
    rotation  TEXT    NOT NULL REFERENCES rotations (id),
    version   INTEGER NOT NULL,
    at        INTEGER NOT NULL,
    actor     TEXT    NOT NULL,
    kind      TEXT    NOT NULL,
    stage     TEXT    NOT NULL,
    detail    TEXT    NOT NULL,
    -- Its record in the audit log.
    audit_seq INTEGER NOT NULL,
    UNIQUE (rotation, version)
) STRICT;

-- The last reminder of each key: for which due date, and how many days after it.
CREATE TABLE rotation_reminders (
    upstream_key TEXT    PRIMARY KEY,
    due          TEXT    NOT NULL,
    day          INTEGER NOT NULL,
    at           INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
