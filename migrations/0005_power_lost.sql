-- Calls that a power loss left without an end. Their settlements may have been lost with it, and what
-- they let go may have been spent by calls that were lost as well; a write-off must not free it.
-- Of calls given up before this step nobody knows, so they count as such.

ALTER TABLE calls ADD COLUMN power_lost INTEGER NOT NULL DEFAULT 0;

UPDATE calls SET power_lost = 1 WHERE certainty = 'unsettled' AND outcome IS NULL;
