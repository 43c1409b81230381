-- What upstream keeps for a virtual key and hands out an id for: messages of threads, containers,
-- files, batches. An id is bound here before its client sees it.

CREATE TABLE resources (
    kind         TEXT    NOT NULL CHECK (kind IN ('message', 'container', 'file', 'batch')),
    id           TEXT    NOT NULL,
    virtual_key  TEXT    NOT NULL,
    environment  TEXT    NOT NULL,
    -- NULL: made by the mock.
    upstream_key TEXT,
    created_at   INTEGER NOT NULL,
    -- NULL: upstream keeps it until it is deleted.
    expires_at   INTEGER,
    -- A small JSON object.
    about        TEXT    NOT NULL,
    PRIMARY KEY (kind, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX resources_by_key ON resources (virtual_key, kind, created_at, id);
CREATE INDEX resources_by_end ON resources (expires_at) WHERE expires_at IS NOT NULL;
