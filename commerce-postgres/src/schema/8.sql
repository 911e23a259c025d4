-- What every transaction reads and writes moves into the row that it locks anyway: the greatest id of each table,
-- which took a search of each table, the watermarks of the sales roll-up, and a time before which no pending order expires:
-- until then nothing is searched for overdue orders. A program of an earlier version, which would not keep them up to
-- date, fails without sales_closed.
ALTER TABLE store
    ADD COLUMN last_customers BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN last_products BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN last_coupons BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN last_owned_coupons BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN last_orders BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN last_charges BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN last_ledger BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN last_stock_movements BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN last_events BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN next_expiry BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN minutes BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN hours BIGINT NOT NULL DEFAULT 0 CHECK (hours <= minutes),
    ADD COLUMN days BIGINT NOT NULL DEFAULT 0 CHECK (days <= hours);

UPDATE store SET minutes = closed.minutes, hours = closed.hours, days = closed.days
FROM sales_closed AS closed WHERE closed.id = store.id;

DROP TABLE sales_closed;
