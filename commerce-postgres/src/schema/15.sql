-- The tables that each order writes keep kinds and statuses as codes, which `row_codes!` in model/ of commerce-core gives
-- to the program. They are BIGINT, as everything else: PostgreSQL aligns the numbers beside them, so that SMALLINT would
-- save 8 bytes only in an order with a reference, and inserts would convert every code.
-- orders.status: 0 paid, 1 cancelled, 2 expired, 3 pending
-- ledger.kind: 0 payment, 1 charge, 2 charge_refund, 3 chargeback, 4 refund, 5 debit, 6 debt
-- events.kind: 0 order.paid, 1 order.cancelled, 2 order.partially_cancelled

-- The total is the subtotal without the discount. The amount paid is less if parts were cancelled before.
ALTER TABLE orders DROP CONSTRAINT orders_check1;
ALTER TABLE orders DROP CONSTRAINT orders_paid_check;
ALTER TABLE orders DROP COLUMN total;
ALTER TABLE orders ADD CONSTRAINT orders_paid_check CHECK (paid BETWEEN 0 AND subtotal - discount);
ALTER TABLE orders DROP CONSTRAINT orders_status_check;
ALTER TABLE orders DROP CONSTRAINT orders_check4;
DROP INDEX orders_waiting;
DROP INDEX orders_by_status;
DROP INDEX orders_released;
ALTER TABLE orders ALTER COLUMN status TYPE BIGINT USING
    CASE status WHEN 'paid' THEN 0 WHEN 'cancelled' THEN 1 WHEN 'expired' THEN 2 WHEN 'pending' THEN 3 END;
ALTER TABLE orders ADD CONSTRAINT orders_status_check CHECK (status BETWEEN 0 AND 3);
ALTER TABLE orders ADD CONSTRAINT orders_paid_at_check CHECK (status <> 0 OR paid_at IS NOT NULL);
CREATE INDEX orders_waiting ON orders (expires_at, id) WHERE status = 3;
CREATE INDEX orders_by_status ON orders (status, id) WHERE status <> 0;
CREATE INDEX orders_released ON orders (coalesce(cancelled_at, expires_at), id) WHERE status IN (1, 2);

ALTER TABLE ledger DROP CONSTRAINT ledger_kind_check;
ALTER TABLE ledger DROP CONSTRAINT ledger_order_check;
ALTER TABLE ledger DROP CONSTRAINT ledger_charge_check;
ALTER TABLE ledger DROP CONSTRAINT ledger_credit_check;
ALTER TABLE ledger DROP CONSTRAINT ledger_debit_check;
ALTER TABLE ledger ALTER COLUMN kind TYPE BIGINT USING
    CASE kind WHEN 'payment' THEN 0 WHEN 'charge' THEN 1 WHEN 'charge_refund' THEN 2 WHEN 'chargeback' THEN 3
              WHEN 'refund' THEN 4 WHEN 'debit' THEN 5 WHEN 'debt' THEN 6 END;
ALTER TABLE ledger ADD CONSTRAINT ledger_kind_check CHECK (kind BETWEEN 0 AND 6);
ALTER TABLE ledger ADD CONSTRAINT ledger_order_check
    CHECK ((order_id IS NOT NULL) = (kind IN (0, 4)) OR kind = 6);
ALTER TABLE ledger ADD CONSTRAINT ledger_charge_check
    CHECK ((charge_id IS NOT NULL) = (kind BETWEEN 1 AND 3) OR kind = 6);
ALTER TABLE ledger ADD CONSTRAINT ledger_credit_check CHECK (amount >= 0 OR kind NOT IN (1, 4));
ALTER TABLE ledger ADD CONSTRAINT ledger_debit_check CHECK (amount <= 0 OR kind NOT IN (0, 5));

ALTER TABLE events DROP CONSTRAINT events_kind_check;
ALTER TABLE events ALTER COLUMN kind TYPE BIGINT USING
    CASE kind WHEN 'order.paid' THEN 0 WHEN 'order.cancelled' THEN 1 WHEN 'order.partially_cancelled' THEN 2 END;
ALTER TABLE events ADD CONSTRAINT events_kind_check CHECK (kind BETWEEN 0 AND 2);
