-- Money and goods that go back: cancellations of parts of orders, refunds of charges, disputes and debts. One change of
-- a table at a time, as a cluster needs it.

-- The amount paid is less than the total if parts were cancelled before.
ALTER TABLE orders DROP CONSTRAINT orders_check2;
ALTER TABLE orders ADD CONSTRAINT orders_paid_check CHECK (paid BETWEEN 0 AND total);

-- What was cancelled of a line before the rest of its order. The sums so far let a constraint compare them with the line.
CREATE TABLE line_cancellations (
    order_id BIGINT NOT NULL,
    customer_id BIGINT NOT NULL,
    number BIGINT NOT NULL CHECK (number >= 1),
    product_id BIGINT NOT NULL,
    units BIGINT NOT NULL CHECK (units >= 0),
    amount BIGINT NOT NULL CHECK (amount >= 0),
    is_restocked BIGINT NOT NULL CHECK (is_restocked IN (0, 1)),
    event_id BIGINT,
    created_at BIGINT NOT NULL,
    line_units BIGINT NOT NULL CHECK (line_units BETWEEN units AND quantity),
    line_amount BIGINT NOT NULL CHECK (line_amount BETWEEN amount AND net),
    quantity BIGINT NOT NULL,
    net BIGINT NOT NULL,
    PRIMARY KEY (order_id, number, customer_id),
    CHECK (units > 0 OR amount > 0)
);

-- For the history of a product.
CREATE INDEX line_cancellations_by_product ON line_cancellations (product_id, created_at);

ALTER TABLE coupons ADD COLUMN below_minimum TEXT NOT NULL DEFAULT 'keep'
    CHECK (below_minimum IN ('keep', 'recalculate'));

ALTER TABLE customers ADD COLUMN debt BIGINT NOT NULL DEFAULT 0 CHECK (debt >= 0);

ALTER TABLE charges ADD COLUMN refunded BIGINT NOT NULL DEFAULT 0 CHECK (refunded BETWEEN 0 AND amount);
ALTER TABLE charges ADD COLUMN disputed BIGINT NOT NULL DEFAULT 0 CHECK (disputed >= 0);
ALTER TABLE charges ADD COLUMN reported_refunds BIGINT NOT NULL DEFAULT 0 CHECK (reported_refunds >= 0);

-- Refunds and disputes of charges. The id is that of the ledger entry which took the money from the balance.
CREATE TABLE refunds (
    id BIGINT NOT NULL,
    customer_id BIGINT NOT NULL,
    charge_id BIGINT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('requested', 'outside', 'dispute')),
    amount BIGINT NOT NULL CHECK (amount >= 1),
    status TEXT NOT NULL CHECK (status IN ('pending', 'succeeded', 'failed')),
    balance_after BIGINT NOT NULL CHECK (balance_after >= 0),
    reference TEXT,
    failure TEXT,
    created_at BIGINT NOT NULL,
    settled_at BIGINT,
    digest BIGINT,
    PRIMARY KEY (id, customer_id),
    CHECK ((settled_at IS NULL) = (status = 'pending'))
);

CREATE INDEX refunds_by_charge ON refunds (charge_id, id);
CREATE INDEX refunds_by_reference ON refunds (reference) WHERE reference IS NOT NULL;
CREATE INDEX refunds_pending ON refunds (id) WHERE status = 'pending';

ALTER TABLE ledger DROP CONSTRAINT ledger_kind_check;
ALTER TABLE ledger ADD CONSTRAINT ledger_kind_check
    CHECK (kind IN ('charge', 'debit', 'payment', 'refund', 'charge_refund', 'chargeback', 'debt'));
ALTER TABLE ledger DROP CONSTRAINT ledger_check;
ALTER TABLE ledger DROP CONSTRAINT ledger_check1;
ALTER TABLE ledger DROP CONSTRAINT ledger_check2;
ALTER TABLE ledger DROP CONSTRAINT ledger_check3;
ALTER TABLE ledger ADD CONSTRAINT ledger_order_check
    CHECK ((order_id IS NOT NULL) = (kind IN ('payment', 'refund')) OR kind = 'debt');
ALTER TABLE ledger ADD CONSTRAINT ledger_charge_check
    CHECK ((charge_id IS NOT NULL) = (kind IN ('charge', 'charge_refund', 'chargeback')) OR kind = 'debt');
ALTER TABLE ledger ADD CONSTRAINT ledger_credit_check CHECK (amount >= 0 OR kind NOT IN ('charge', 'refund'));
ALTER TABLE ledger ADD CONSTRAINT ledger_debit_check CHECK (amount <= 0 OR kind NOT IN ('debit', 'payment'));

ALTER TABLE events DROP CONSTRAINT events_kind_check;
ALTER TABLE events ADD CONSTRAINT events_kind_check
    CHECK (kind IN ('order.paid', 'order.partially_cancelled', 'order.cancelled'));
