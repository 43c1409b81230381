-- Sums tell calls that the mock answered from calls that somebody bills. A call without an upstream
-- key went to the mock. What is in the sums already is parted by the calls that are still here; of
-- calls that were pruned before this step nobody knows any more, so they count as billed.

CREATE TABLE rollups_parted (
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
    -- 1 for calls that the mock answered.
    mock            INTEGER NOT NULL,
    calls           INTEGER NOT NULL,
    cost            INTEGER NOT NULL,
    tokens_input    INTEGER NOT NULL,
    tokens_write_5m INTEGER NOT NULL,
    tokens_write_1h INTEGER NOT NULL,
    tokens_read     INTEGER NOT NULL,
    tokens_output   INTEGER NOT NULL,
    PRIMARY KEY (hour, virtual_key, environment, model, operation, outcome, certainty, mock)
) STRICT, WITHOUT ROWID;

INSERT INTO rollups_parted
SELECT hour, virtual_key, environment, model, operation, outcome, certainty, 0, calls, cost,
    tokens_input, tokens_write_5m, tokens_write_1h, tokens_read, tokens_output
FROM rollups;

-- The mark `rollups.to` is eight bytes, the highest first.
INSERT INTO rollups_parted
WITH RECURSIVE mark (place, value) AS (
    SELECT 0, 0
    UNION ALL
    SELECT place + 1, value * 16 + instr('123456789ABCDEF',
        substr((SELECT hex(value) FROM meta WHERE name = 'rollups.to'), place + 1, 1))
    FROM mark WHERE place < 16
)
SELECT at - at % 3600000, virtual_key, environment, ifnull(served_model, model),
    ifnull(operation, ''), ifnull(outcome, 'unknown'), certainty, 1, count(*), sum(cost),
    sum(tokens_input), sum(tokens_write_5m), sum(tokens_write_1h), sum(tokens_read),
    sum(tokens_output)
FROM calls
WHERE upstream_key IS NULL AND closed_seq < (SELECT value FROM mark WHERE place = 16)
GROUP BY 1, 2, 3, 4, 5, 6, 7;

UPDATE rollups_parted SET
    calls = rollups_parted.calls - of_mock.calls, cost = rollups_parted.cost - of_mock.cost,
    tokens_input = rollups_parted.tokens_input - of_mock.tokens_input,
    tokens_write_5m = rollups_parted.tokens_write_5m - of_mock.tokens_write_5m,
    tokens_write_1h = rollups_parted.tokens_write_1h - of_mock.tokens_write_1h,
    tokens_read = rollups_parted.tokens_read - of_mock.tokens_read,
    tokens_output = rollups_parted.tokens_output - of_mock.tokens_output
FROM (SELECT * FROM rollups_parted WHERE mock = 1) AS of_mock
WHERE rollups_parted.mock = 0
  AND rollups_parted.hour = of_mock.hour AND rollups_parted.virtual_key = of_mock.virtual_key
  AND rollups_parted.environment = of_mock.environment AND rollups_parted.model = of_mock.model
  AND rollups_parted.operation = of_mock.operation AND rollups_parted.outcome = of_mock.outcome
  AND rollups_parted.certainty = of_mock.certainty;

DELETE FROM rollups_parted WHERE calls = 0;
DROP TABLE rollups;
ALTER TABLE rollups_parted RENAME TO rollups;
