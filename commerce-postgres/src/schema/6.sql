-- The time of the last write of a delivery, by the clock of the writer: a row of the future comes from a clock that
-- was set back since, and is due at once. No due time is further ahead than 26.4 hours (a day and the jitter).
ALTER TABLE deliveries ADD COLUMN updated_at BIGINT NOT NULL DEFAULT 0;
UPDATE deliveries SET updated_at = greatest(0, due_at - 95040)
WHERE status <> 'parked' AND due_at < 253402300799;

CREATE INDEX deliveries_by_update ON deliveries (updated_at) WHERE status <> 'parked';
