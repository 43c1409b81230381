-- The control plane's nouns. Policies, budgets, limits, pauses and overrides are JSON as core
-- writes it.

CREATE TABLE virtual_keys (
    id          TEXT    PRIMARY KEY,
    name        TEXT    NOT NULL,
    environment TEXT    NOT NULL,
    secret_hash BLOB    NOT NULL CHECK (length(secret_hash) = 32),
    policy      TEXT    NOT NULL,
    budgets     TEXT    NOT NULL,
    limits      TEXT    NOT NULL,
    operation   TEXT,
    expires_at  INTEGER,
    state       TEXT    NOT NULL CHECK (state IN ('active', 'frozen', 'revoked')),
    pause       TEXT,
    test_mode   INTEGER NOT NULL,
    created_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- A revoked key's name may be given again.
CREATE UNIQUE INDEX virtual_keys_by_name ON virtual_keys (name) WHERE state <> 'revoked';

CREATE TABLE upstream_keys (
    id           TEXT    PRIMARY KEY,
    name         TEXT    NOT NULL,
    -- NULL: shared by every environment that has none of its own.
    environment  TEXT,
    state        TEXT    NOT NULL CHECK (state IN ('staged', 'current', 'previous', 'revoked')),
    -- Sealed by the vault; this room cannot open it. NULL once it is erased.
    sealed       BLOB,
    fingerprint  TEXT    NOT NULL,
    hint         TEXT    NOT NULL,
    created_at   INTEGER NOT NULL,
    removed_at   INTEGER,
    last_used_at INTEGER,
    CHECK ((sealed IS NULL) = (state = 'revoked'))
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX upstream_keys_current
    ON upstream_keys (ifnull(environment, '')) WHERE state = 'current';
CREATE UNIQUE INDEX upstream_keys_by_name ON upstream_keys (name) WHERE state <> 'revoked';
CREATE UNIQUE INDEX upstream_keys_by_fingerprint
    ON upstream_keys (fingerprint) WHERE state <> 'revoked';

-- What commands have put over the configuration of the organization and of environments.
CREATE TABLE scope_settings (
    scope_kind TEXT NOT NULL CHECK (scope_kind IN ('organization', 'environment')),
    scope_id   TEXT NOT NULL,
    overrides  TEXT NOT NULL,
    PRIMARY KEY (scope_kind, scope_id)
) STRICT, WITHOUT ROWID;
