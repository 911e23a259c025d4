-- A 32-bit digest of the immutable fields of a row and of the idempotency key that created it, or of a key that
-- created none of these rows (digest.rs). It shows the audit that a row or a key was altered. Rows of earlier
-- versions have none.
ALTER TABLE orders ADD COLUMN digest BIGINT;
ALTER TABLE charges ADD COLUMN digest BIGINT;
ALTER TABLE ledger ADD COLUMN digest BIGINT;
ALTER TABLE owned_coupons ADD COLUMN digest BIGINT;
ALTER TABLE idempotency_keys ADD COLUMN digest BIGINT;
