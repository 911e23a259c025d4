-- Money and goods that go back: cancellations of parts of orders, refunds of charges, disputes and debts.
--
-- For an IN with more than two values SQLite fills a temporary index at every check. So the tables that each order writes
-- list their values with OR, the most frequent first.

-- The amount paid is less than the total if parts were cancelled before.
CREATE TABLE new_orders (
    id INTEGER PRIMARY KEY,
    customer_id INTEGER NOT NULL REFERENCES customers,
    reference TEXT,
    status TEXT NOT NULL
        CHECK (status = 'paid' OR status = 'pending' OR status = 'cancelled' OR status = 'expired'),
    subtotal INTEGER NOT NULL CHECK (subtotal >= 1),
    discount INTEGER NOT NULL CHECK (discount BETWEEN 0 AND subtotal),
    total INTEGER NOT NULL CHECK (total = subtotal - discount),
    paid INTEGER NOT NULL CHECK (paid BETWEEN 0 AND total),
    refunded INTEGER NOT NULL CHECK (refunded BETWEEN 0 AND paid),
    owned_coupon_id INTEGER REFERENCES owned_coupons DEFERRABLE INITIALLY DEFERRED,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    paid_at INTEGER,
    cancelled_at INTEGER,
    previous INTEGER,
    digest INTEGER,
    CHECK (status <> 'paid' OR paid_at IS NOT NULL)
) STRICT;

INSERT INTO new_orders (id, customer_id, reference, status, subtotal, discount, total, paid, refunded, owned_coupon_id,
                        created_at, expires_at, paid_at, cancelled_at, previous, digest)
SELECT id, customer_id, reference, status, subtotal, discount, total, paid, refunded, owned_coupon_id,
       created_at, expires_at, paid_at, cancelled_at, previous, digest
FROM orders;
DROP TABLE orders;
ALTER TABLE new_orders RENAME TO orders;
CREATE INDEX orders_waiting ON orders (expires_at) WHERE status = 'pending';
CREATE INDEX orders_by_reference ON orders (reference, customer_id) WHERE reference IS NOT NULL;
CREATE INDEX orders_by_status ON orders (status, id) WHERE status <> 'paid';
CREATE INDEX orders_released ON orders (coalesce(cancelled_at, expires_at), id)
WHERE status IN ('cancelled', 'expired');

-- What was cancelled of a line before the rest of its order. The sums so far let a constraint compare them with the line.
CREATE TABLE line_cancellations (
    order_id INTEGER NOT NULL REFERENCES orders,
    customer_id INTEGER NOT NULL REFERENCES customers,
    number INTEGER NOT NULL CHECK (number >= 1),
    product_id INTEGER NOT NULL REFERENCES products,
    units INTEGER NOT NULL CHECK (units >= 0),
    amount INTEGER NOT NULL CHECK (amount >= 0),
    is_restocked INTEGER NOT NULL CHECK (is_restocked IN (0, 1)),
    event_id INTEGER REFERENCES events DEFERRABLE INITIALLY DEFERRED,
    created_at INTEGER NOT NULL,
    line_units INTEGER NOT NULL CHECK (line_units BETWEEN units AND quantity),
    line_amount INTEGER NOT NULL CHECK (line_amount BETWEEN amount AND net),
    quantity INTEGER NOT NULL,
    net INTEGER NOT NULL,
    PRIMARY KEY (order_id, number),
    CHECK (units > 0 OR amount > 0)
) STRICT, WITHOUT ROWID;

-- For the history of a product.
CREATE INDEX line_cancellations_by_product ON line_cancellations (product_id, created_at);

ALTER TABLE coupons ADD COLUMN below_minimum TEXT NOT NULL DEFAULT 'keep'
    CHECK (below_minimum IN ('keep', 'recalculate'));

ALTER TABLE customers ADD COLUMN debt INTEGER NOT NULL DEFAULT 0 CHECK (debt >= 0);

ALTER TABLE charges ADD COLUMN refunded INTEGER NOT NULL DEFAULT 0 CHECK (refunded BETWEEN 0 AND amount);
ALTER TABLE charges ADD COLUMN disputed INTEGER NOT NULL DEFAULT 0 CHECK (disputed >= 0);
ALTER TABLE charges ADD COLUMN reported_refunds INTEGER NOT NULL DEFAULT 0 CHECK (reported_refunds >= 0);

-- Refunds and disputes of charges. The id is that of the ledger entry which took the money from the balance.
CREATE TABLE refunds (
    id INTEGER PRIMARY KEY,
    customer_id INTEGER NOT NULL REFERENCES customers,
    charge_id INTEGER NOT NULL REFERENCES charges,
    kind TEXT NOT NULL CHECK (kind IN ('requested', 'outside', 'dispute')),
    amount INTEGER NOT NULL CHECK (amount >= 1),
    status TEXT NOT NULL CHECK (status IN ('pending', 'succeeded', 'failed')),
    balance_after INTEGER NOT NULL CHECK (balance_after >= 0),
    reference TEXT UNIQUE,
    failure TEXT,
    created_at INTEGER NOT NULL,
    settled_at INTEGER,
    digest INTEGER,
    CHECK ((settled_at IS NULL) = (status = 'pending'))
) STRICT;

CREATE INDEX refunds_by_charge ON refunds (charge_id, id);
CREATE INDEX refunds_pending ON refunds (id) WHERE status = 'pending';

CREATE TABLE new_ledger (
    id INTEGER PRIMARY KEY,
    customer_id INTEGER NOT NULL REFERENCES customers,
    kind TEXT NOT NULL
        CHECK (kind = 'payment' OR kind = 'charge' OR kind = 'refund' OR kind = 'debit' OR kind = 'charge_refund'
               OR kind = 'chargeback' OR kind = 'debt'),
    amount INTEGER NOT NULL,
    balance_after INTEGER NOT NULL CHECK (balance_after >= 0),
    order_id INTEGER REFERENCES orders,
    charge_id INTEGER REFERENCES charges,
    note TEXT,
    created_at INTEGER NOT NULL,
    previous INTEGER,
    digest INTEGER,
    CHECK ((order_id IS NOT NULL) = (kind IN ('payment', 'refund')) OR kind = 'debt'),
    CHECK ((charge_id IS NOT NULL) = (kind = 'charge' OR kind = 'charge_refund' OR kind = 'chargeback')
           OR kind = 'debt'),
    CHECK (amount >= 0 OR kind NOT IN ('charge', 'refund')),
    CHECK (amount <= 0 OR kind NOT IN ('debit', 'payment'))
) STRICT;

INSERT INTO new_ledger (id, customer_id, kind, amount, balance_after, order_id, charge_id, note, created_at, previous,
                        digest)
SELECT id, customer_id, kind, amount, balance_after, order_id, charge_id, note, created_at, previous, digest
FROM ledger;
DROP TABLE ledger;
ALTER TABLE new_ledger RENAME TO ledger;

CREATE TABLE new_events (
    id INTEGER PRIMARY KEY,
    kind TEXT NOT NULL
        CHECK (kind = 'order.paid' OR kind = 'order.cancelled' OR kind = 'order.partially_cancelled'),
    order_id INTEGER NOT NULL REFERENCES orders,
    trace TEXT,
    created_at INTEGER NOT NULL
) STRICT;

INSERT INTO new_events (id, kind, order_id, trace, created_at)
SELECT id, kind, order_id, trace, created_at FROM events;
DROP TABLE events;
ALTER TABLE new_events RENAME TO events;
