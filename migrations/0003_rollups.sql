-- Calls summed up by the hour, so that sums outlive the calls. A closed call is in here when its
-- `closed_seq` is below the mark `rollups.to` in meta, and is otherwise still to be added.

CREATE TABLE rollups (
    hour            INTEGER NOT NULL,
    virtual_key     TEXT    NOT NULL,
    environment     TEXT    NOT NULL,
    -- The model that served, or else the one asked for.
    model           TEXT    NOT NULL,
    -- '' for none.
    operation       TEXT    NOT NULL,
    -- 'unknown' for calls whose end nobody saw.
    outcome         TEXT    NOT NULL,
    certainty       TEXT    NOT NULL,
    calls           INTEGER NOT NULL,
    cost            INTEGER NOT NULL,
    tokens_input    INTEGER NOT NULL,
    tokens_write_5m INTEGER NOT NULL,
    tokens_write_1h INTEGER NOT NULL,
    tokens_read     INTEGER NOT NULL,
    tokens_output   INTEGER NOT NULL,
    PRIMARY KEY (hour, virtual_key, environment, model, operation, outcome, certainty)
) STRICT, WITHOUT ROWID;
