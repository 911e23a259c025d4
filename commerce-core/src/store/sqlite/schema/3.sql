-- The cursor of the relay: events before next_event have been delivered, except those in `deliveries`.
ALTER TABLE store ADD COLUMN next_event INTEGER NOT NULL DEFAULT 1 CHECK (next_event >= 1);

-- Unfinished deliveries: leased until due_at by the relay that holds the token, waiting for the next attempt at
-- due_at, or parked (dead letters). A delivered event has no row.
CREATE TABLE deliveries (
    event_id INTEGER PRIMARY KEY REFERENCES events,
    order_id INTEGER NOT NULL REFERENCES orders,
    status TEXT NOT NULL CHECK (status IN ('sending', 'waiting', 'parked')),
    attempts INTEGER NOT NULL CHECK (attempts >= 0),
    due_at INTEGER NOT NULL,
    token INTEGER,
    error TEXT,
    CHECK ((token IS NOT NULL) = (status = 'sending'))
) STRICT;

CREATE INDEX deliveries_by_due ON deliveries (due_at, event_id) WHERE status <> 'parked';
CREATE INDEX deliveries_by_order ON deliveries (order_id);
CREATE INDEX deliveries_parked ON deliveries (event_id) WHERE status = 'parked';

-- Charges of a payment gateway. The reference identifies a charge at the gateway.
CREATE TABLE new_charges (
    id INTEGER PRIMARY KEY,
    customer_id INTEGER NOT NULL REFERENCES customers,
    amount INTEGER NOT NULL CHECK (amount >= 1),
    status TEXT NOT NULL CHECK (status IN ('pending', 'succeeded', 'failed')),
    created_at INTEGER NOT NULL,
    gateway TEXT,
    reference TEXT UNIQUE,
    payment_method TEXT,
    failure TEXT,
    settled_at INTEGER,
    balance_after INTEGER,
    CHECK ((gateway IS NULL) = (reference IS NULL)),
    CHECK (status = 'succeeded' OR gateway IS NOT NULL),
    CHECK ((status = 'failed') = (failure IS NOT NULL)),
    CHECK ((settled_at IS NOT NULL) = (gateway IS NOT NULL AND status <> 'pending')),
    CHECK (balance_after IS NULL OR status = 'succeeded')
) STRICT;

INSERT INTO new_charges (id, customer_id, amount, status, created_at, balance_after)
SELECT id, customer_id, amount, status, created_at, entries.balance_after
FROM charges LEFT JOIN (
    SELECT charge_id, min(balance_after) AS balance_after FROM ledger
    WHERE charge_id IS NOT NULL GROUP BY charge_id
) AS entries ON entries.charge_id = charges.id;
DROP TABLE charges;
ALTER TABLE new_charges RENAME TO charges;

CREATE INDEX charges_pending ON charges (customer_id, id) WHERE status = 'pending';
