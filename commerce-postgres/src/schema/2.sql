-- The cursor of the relay: events before next_event have been delivered, except those in `deliveries`.
ALTER TABLE store ADD COLUMN next_event BIGINT NOT NULL DEFAULT 1 CHECK (next_event >= 1);

-- Unfinished deliveries: leased until due_at by the relay that holds the token, waiting for the next attempt at
-- due_at, or parked (dead letters). A delivered event has no row.
CREATE TABLE deliveries (
    event_id BIGINT PRIMARY KEY,
    order_id BIGINT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('sending', 'waiting', 'parked')),
    attempts BIGINT NOT NULL CHECK (attempts >= 0),
    due_at BIGINT NOT NULL,
    token BIGINT,
    error TEXT,
    CHECK ((token IS NOT NULL) = (status = 'sending'))
);

CREATE INDEX deliveries_by_due ON deliveries (due_at, event_id) WHERE status <> 'parked';
CREATE INDEX deliveries_by_order ON deliveries (order_id);

-- Charges of a payment gateway. The reference identifies a charge at the gateway.
ALTER TABLE charges
    DROP CONSTRAINT charges_status_check,
    ADD COLUMN gateway TEXT,
    ADD COLUMN reference TEXT,
    ADD COLUMN payment_method TEXT,
    ADD COLUMN failure TEXT,
    ADD COLUMN settled_at BIGINT,
    ADD COLUMN balance_after BIGINT,
    ADD CHECK (status IN ('pending', 'succeeded', 'failed')),
    ADD CHECK ((gateway IS NULL) = (reference IS NULL)),
    ADD CHECK (status = 'succeeded' OR gateway IS NOT NULL),
    ADD CHECK ((status = 'failed') = (failure IS NOT NULL)),
    ADD CHECK ((settled_at IS NOT NULL) = (gateway IS NOT NULL AND status <> 'pending')),
    ADD CHECK (balance_after IS NULL OR status = 'succeeded');

UPDATE charges SET balance_after = ledger.balance_after FROM ledger
WHERE ledger.charge_id = charges.id AND ledger.customer_id = charges.customer_id;

CREATE UNIQUE INDEX charges_by_reference ON charges (reference) WHERE reference IS NOT NULL;
CREATE INDEX charges_pending ON charges (customer_id, id) WHERE status = 'pending';
