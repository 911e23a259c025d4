-- 32 bits over the unchangeable fields of a row and over the key that it was made with, or over a key that made none
-- of these rows (digest.rs). The audit finds by them that a row or a key is not what was written. Rows of earlier
-- versions have none.
ALTER TABLE orders ADD COLUMN digest BIGINT;
ALTER TABLE charges ADD COLUMN digest BIGINT;
ALTER TABLE ledger ADD COLUMN digest BIGINT;
ALTER TABLE owned_coupons ADD COLUMN digest BIGINT;
ALTER TABLE idempotency_keys ADD COLUMN digest BIGINT;
