-- What each sink was last given, and what became of it. What it holds is kept apart from what was
-- last tried: a delivery that failed leaves the key of before where it was.

CREATE TABLE sinks (
    name        TEXT    PRIMARY KEY,
    -- Where exactly, as it was configured then.
    place       TEXT    NOT NULL,
    -- What was last tried: an upstream key or a virtual key by its id, and what stands for it.
    tried_key   TEXT    NOT NULL,
    tried       TEXT    NOT NULL,
    state       TEXT    NOT NULL CHECK (state IN ('begun', 'delivered', 'failed')),
    -- Of a failure: what it left behind.
    effect      TEXT    CHECK (effect IN ('nothing', 'done', 'unknown')),
    error       TEXT,
    begun_at    INTEGER NOT NULL,
    ended_at    INTEGER,
    -- What is known to be there; NULL for nothing.
    held_key    TEXT,
    held        TEXT,
    held_at     INTEGER,
    -- What shows that it is still the same.
    mark        TEXT,
    CHECK ((state = 'failed') = (effect IS NOT NULL)),
    CHECK ((state = 'begun') = (ended_at IS NULL)),
    CHECK ((held_key IS NULL) = (held IS NULL) AND (held IS NULL) = (held_at IS NULL))
) STRICT, WITHOUT ROWID;
