-- The tables that each order writes keep kinds and statuses as codes: SQLite stores 0 and 1 without a byte of data. The
-- codes, which `row_codes!` in model/ gives to the program:
-- orders.status: 0 paid, 1 cancelled, 2 expired, 3 pending
-- ledger.kind: 0 payment, 1 charge, 2 charge_refund, 3 chargeback, 4 refund, 5 debit, 6 debt
-- events.kind: 0 order.paid, 1 order.cancelled, 2 order.partially_cancelled
--
-- Checks use ranges: for an IN with more than two values SQLite fills a temporary index at every check.

-- The total is the subtotal without the discount. The amount paid is less if parts were cancelled before.
CREATE TABLE new_orders (
    id INTEGER PRIMARY KEY,
    customer_id INTEGER NOT NULL REFERENCES customers,
    reference TEXT,
    status INTEGER NOT NULL CHECK (status BETWEEN 0 AND 3),
    subtotal INTEGER NOT NULL CHECK (subtotal >= 1),
    discount INTEGER NOT NULL CHECK (discount BETWEEN 0 AND subtotal),
    paid INTEGER NOT NULL CHECK (paid BETWEEN 0 AND subtotal - discount),
    refunded INTEGER NOT NULL CHECK (refunded BETWEEN 0 AND paid),
    owned_coupon_id INTEGER REFERENCES owned_coupons DEFERRABLE INITIALLY DEFERRED,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    paid_at INTEGER,
    cancelled_at INTEGER,
    previous INTEGER,
    digest INTEGER,
    CHECK (status <> 0 OR paid_at IS NOT NULL)
) STRICT;

INSERT INTO new_orders (id, customer_id, reference, status, subtotal, discount, paid, refunded, owned_coupon_id,
                        created_at, expires_at, paid_at, cancelled_at, previous, digest)
SELECT id, customer_id, reference,
       CASE status WHEN 'paid' THEN 0 WHEN 'cancelled' THEN 1 WHEN 'expired' THEN 2 WHEN 'pending' THEN 3 END,
       subtotal, discount, paid, refunded, owned_coupon_id,
       created_at, expires_at, paid_at, cancelled_at, previous, digest
FROM orders;
DROP TABLE orders;
ALTER TABLE new_orders RENAME TO orders;
CREATE INDEX orders_waiting ON orders (expires_at) WHERE status = 3;
CREATE INDEX orders_by_reference ON orders (reference, customer_id) WHERE reference IS NOT NULL;
CREATE INDEX orders_by_status ON orders (status, id) WHERE status <> 0;
CREATE INDEX orders_released ON orders (coalesce(cancelled_at, expires_at), id) WHERE status IN (1, 2);

CREATE TABLE new_ledger (
    id INTEGER PRIMARY KEY,
    customer_id INTEGER NOT NULL REFERENCES customers,
    kind INTEGER NOT NULL CHECK (kind BETWEEN 0 AND 6),
    amount INTEGER NOT NULL,
    balance_after INTEGER NOT NULL CHECK (balance_after >= 0),
    order_id INTEGER REFERENCES orders,
    charge_id INTEGER REFERENCES charges,
    note TEXT,
    created_at INTEGER NOT NULL,
    previous INTEGER,
    digest INTEGER,
    CHECK ((order_id IS NOT NULL) = (kind IN (0, 4)) OR kind = 6),
    CHECK ((charge_id IS NOT NULL) = (kind BETWEEN 1 AND 3) OR kind = 6),
    CHECK (amount >= 0 OR kind NOT IN (1, 4)),
    CHECK (amount <= 0 OR kind NOT IN (0, 5))
) STRICT;

INSERT INTO new_ledger (id, customer_id, kind, amount, balance_after, order_id, charge_id, note, created_at, previous,
                        digest)
SELECT id, customer_id,
       CASE kind WHEN 'payment' THEN 0 WHEN 'charge' THEN 1 WHEN 'charge_refund' THEN 2 WHEN 'chargeback' THEN 3
                 WHEN 'refund' THEN 4 WHEN 'debit' THEN 5 WHEN 'debt' THEN 6 END,
       amount, balance_after, order_id, charge_id, note, created_at, previous, digest
FROM ledger;
DROP TABLE ledger;
ALTER TABLE new_ledger RENAME TO ledger;

CREATE TABLE new_events (
    id INTEGER PRIMARY KEY,
    kind INTEGER NOT NULL CHECK (kind BETWEEN 0 AND 2),
    order_id INTEGER NOT NULL REFERENCES orders,
    trace TEXT,
    created_at INTEGER NOT NULL
) STRICT;

INSERT INTO new_events (id, kind, order_id, trace, created_at)
SELECT id, CASE kind WHEN 'order.paid' THEN 0 WHEN 'order.cancelled' THEN 1 WHEN 'order.partially_cancelled' THEN 2 END,
       order_id, trace, created_at
FROM events;
DROP TABLE events;
ALTER TABLE new_events RENAME TO events;
