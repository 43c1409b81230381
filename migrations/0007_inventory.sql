-- The inventory: what people say of an upstream key and what Anthropic says of it, beside its seal;
-- what each key's calls have cost; what a person should look at; and credentials that are not for
-- calls.

-- The same table with the state `listed` (known by name, its value was never given) and a profile,
-- JSON as core writes it.
CREATE TABLE upstream_keys_listed (
    id           TEXT    PRIMARY KEY,
    name         TEXT    NOT NULL,
    -- NULL: shared by every environment that has none of its own.
    environment  TEXT,
    state        TEXT    NOT NULL
        CHECK (state IN ('listed', 'staged', 'current', 'previous', 'revoked')),
    -- Sealed by the vault; this room cannot open it. NULL before it is given and once it is erased.
    sealed       BLOB,
    -- Empty while the value was never given.
    fingerprint  TEXT    NOT NULL,
    hint         TEXT    NOT NULL,
    created_at   INTEGER NOT NULL,
    removed_at   INTEGER,
    last_used_at INTEGER,
    profile      TEXT    NOT NULL DEFAULT '{}',
    CHECK ((sealed IS NULL) = (state IN ('listed', 'revoked')))
) STRICT, WITHOUT ROWID;

INSERT INTO upstream_keys_listed (id, name, environment, state, sealed, fingerprint, hint,
                                  created_at, removed_at, last_used_at)
SELECT id, name, environment, state, sealed, fingerprint, hint, created_at, removed_at, last_used_at
FROM upstream_keys;

DROP TABLE upstream_keys;
ALTER TABLE upstream_keys_listed RENAME TO upstream_keys;

CREATE UNIQUE INDEX upstream_keys_current
    ON upstream_keys (ifnull(environment, '')) WHERE state = 'current';
CREATE UNIQUE INDEX upstream_keys_by_name ON upstream_keys (name) WHERE state <> 'revoked';
CREATE UNIQUE INDEX upstream_keys_by_fingerprint
    ON upstream_keys (fingerprint) WHERE state NOT IN ('listed', 'revoked');

-- What the calls of each upstream key have cost, by the day in UTC. A closed call is in here when
-- it is in the rollups.
CREATE TABLE key_usage (
    upstream_key TEXT    NOT NULL,
    day          INTEGER NOT NULL,
    calls        INTEGER NOT NULL,
    cost         INTEGER NOT NULL,
    PRIMARY KEY (upstream_key, day)
) STRICT, WITHOUT ROWID;

-- The mark `rollups.to` is eight bytes, the highest first. Of calls that were pruned before this
-- step nobody knows any more which key they left with.
INSERT INTO key_usage
WITH RECURSIVE mark (place, value) AS (
    SELECT 0, 0
    UNION ALL
    SELECT place + 1, value * 16 + instr('123456789ABCDEF',
        substr((SELECT hex(value) FROM meta WHERE name = 'rollups.to'), place + 1, 1))
    FROM mark WHERE place < 16
)
SELECT upstream_key, at - at % 86400000, count(*), sum(cost)
FROM calls
WHERE upstream_key IS NOT NULL AND closed_seq < (SELECT value FROM mark WHERE place = 16)
GROUP BY 1, 2;

-- What a person should look at. One row while it lasts.
CREATE TABLE key_findings (
    kind    TEXT    NOT NULL,
    subject TEXT    NOT NULL,
    -- JSON as core writes it.
    finding TEXT    NOT NULL,
    since   INTEGER NOT NULL,
    PRIMARY KEY (kind, subject)
) STRICT, WITHOUT ROWID;

-- Sealed credentials for anything but calls, such as the key of the Admin API.
CREATE TABLE credentials (
    name        TEXT    PRIMARY KEY,
    sealed      BLOB    NOT NULL,
    fingerprint TEXT    NOT NULL,
    hint        TEXT    NOT NULL,
    created_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
