-- The records of the audit log in blocks: those of one transaction, 256 at the most, in one row. A
-- record each cost a tenth of what a call costs.

CREATE TABLE audit_blocks (
    -- The number of the first record; the others follow it without a gap.
    first INTEGER PRIMARY KEY,
    -- For each record 36 bytes: the length of its bytes (four bytes, the highest first) and its leaf
    -- hash.
    heads BLOB NOT NULL,
    -- The records as they were hashed, one after the other.
    bytes BLOB NOT NULL
) STRICT;

-- Where to find records by what they are about. Records of a call are not in here; the call's row
-- points at them.
CREATE TABLE audit_finder (
    seq     INTEGER PRIMARY KEY,
    kind    TEXT    NOT NULL,
    subject TEXT    NOT NULL
) STRICT;

CREATE INDEX audit_finder_by_kind ON audit_finder (kind, seq);
CREATE INDEX audit_finder_by_subject ON audit_finder (subject, seq);

INSERT INTO audit_finder (seq, kind, subject)
SELECT seq, kind, subject FROM audit WHERE subject IS NOT NULL ORDER BY seq;

-- A gap, which somebody made, stays one: no block reaches across it.
INSERT INTO audit_blocks (first, heads, bytes)
SELECT first,
    (SELECT CAST(group_concat(
            unhex(printf('%08x', length(bytes)))
                || CASE length(leaf) WHEN 32 THEN leaf ELSE zeroblob(32) END,
            '' ORDER BY seq) AS BLOB)
        FROM audit WHERE seq >= first AND seq < past),
    (SELECT CAST(group_concat(bytes, '' ORDER BY seq) AS BLOB)
        FROM audit WHERE seq >= first AND seq < past)
FROM (
    SELECT begin.seq AS first,
        ifnull(
            (SELECT last.seq + 1 FROM audit AS last
                WHERE last.seq >= begin.seq AND last.seq < (begin.seq / 256 + 1) * 256
                    AND NOT EXISTS (SELECT 1 FROM audit WHERE seq = last.seq + 1)
                ORDER BY last.seq LIMIT 1),
            (begin.seq / 256 + 1) * 256) AS past
    FROM audit AS begin
    WHERE begin.seq % 256 = 0 OR NOT EXISTS (SELECT 1 FROM audit WHERE seq = begin.seq - 1)
);

DROP TABLE audit;
