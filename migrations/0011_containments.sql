-- Containments: keys that were taken out of use for good, everything that led there, and what was
-- put together about their use.

CREATE TABLE containments (
    id          TEXT    PRIMARY KEY,
    -- Who writes names the version that was read.
    version     INTEGER NOT NULL,
    -- `upstream_key:uk_…` or `virtual_key:…`. A key is contained once and for all.
    subject     TEXT    NOT NULL UNIQUE,
    began_at    INTEGER NOT NULL,
    ended_at    INTEGER,
    -- JSON as core writes it.
    containment TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX containments_open ON containments (began_at) WHERE ended_at IS NULL;

-- Every intent, result and word of a person, in the transaction that changed the containment.
CREATE TABLE containment_steps (
    seq         INTEGER PRIMARY KEY,
    containment TEXT    NOT NULL REFERENCES containments (id),
    version     INTEGER NOT NULL,
    at          INTEGER NOT NULL,
    actor       TEXT    NOT NULL,
    kind        TEXT    NOT NULL,
    detail      TEXT    NOT NULL,
    -- Its record in the audit log.
    audit_seq   INTEGER NOT NULL,
    UNIQUE (containment, version)
) STRICT;

-- What was put together about its use: `exposure` from the calls on record, `usage` from Anthropic.
CREATE TABLE containment_findings (
    containment TEXT    NOT NULL REFERENCES containments (id),
    kind        TEXT    NOT NULL,
    at          INTEGER NOT NULL,
    -- JSON as the control plane writes it.
    finding     TEXT    NOT NULL,
    PRIMARY KEY (containment, kind)
) STRICT, WITHOUT ROWID;
