-- Money is in minor units, times are in seconds since 1970. The program enforces the rules; only a defect can
-- violate a CHECK.
--
-- Histories have no index by customer. The customer refers to the newest row, and each row to the one before
-- it, so that a history is read backwards by key and an insert touches no random page.

CREATE TABLE store (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    currency TEXT NOT NULL
) STRICT;

CREATE TABLE customers (
    id INTEGER PRIMARY KEY CHECK (id > 0),
    name TEXT NOT NULL CHECK (name <> ''),
    login TEXT,
    role TEXT NOT NULL CHECK (role IN ('customer', 'admin')),
    balance INTEGER NOT NULL CHECK (balance >= 0),
    last_entry INTEGER,
    last_order INTEGER,
    created_at INTEGER NOT NULL
) STRICT;

CREATE UNIQUE INDEX customers_by_login ON customers (login) WHERE login IS NOT NULL;

CREATE TABLE products (
    id INTEGER PRIMARY KEY CHECK (id > 0),
    name TEXT NOT NULL CHECK (name <> ''),
    price INTEGER NOT NULL CHECK (price >= 1),
    stock INTEGER NOT NULL CHECK (stock >= 0),
    status TEXT NOT NULL CHECK (status IN ('active', 'archived'))
) STRICT;

CREATE TABLE stock_movements (
    id INTEGER PRIMARY KEY,
    product_id INTEGER NOT NULL REFERENCES products,
    delta INTEGER NOT NULL CHECK (delta <> 0),
    reason TEXT NOT NULL CHECK (reason <> ''),
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE cart_lines (
    customer_id INTEGER NOT NULL REFERENCES customers,
    product_id INTEGER NOT NULL REFERENCES products,
    quantity INTEGER NOT NULL CHECK (quantity >= 1),
    PRIMARY KEY (customer_id, product_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE coupons (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL CHECK (name <> ''),
    amount INTEGER CHECK (amount >= 1),
    percent INTEGER CHECK (percent BETWEEN 1 AND 100),
    max_amount INTEGER CHECK (max_amount >= 1),
    min_order_amount INTEGER CHECK (min_order_amount >= 1),
    quantity INTEGER NOT NULL CHECK (quantity >= 1),
    issued INTEGER NOT NULL CHECK (issued BETWEEN 0 AND quantity),
    valid_from INTEGER NOT NULL,
    valid_until INTEGER CHECK (valid_until > valid_from),
    CHECK ((amount IS NULL) <> (percent IS NULL))
) STRICT;

CREATE TABLE owned_coupons (
    id INTEGER PRIMARY KEY,
    coupon_id INTEGER NOT NULL REFERENCES coupons,
    customer_id INTEGER NOT NULL REFERENCES customers,
    rank INTEGER NOT NULL CHECK (rank >= 1),
    order_id INTEGER REFERENCES orders DEFERRABLE INITIALLY DEFERRED,
    claimed_at INTEGER NOT NULL,
    UNIQUE (customer_id, coupon_id),
    UNIQUE (coupon_id, rank)
) STRICT;

CREATE TABLE orders (
    id INTEGER PRIMARY KEY,
    customer_id INTEGER NOT NULL REFERENCES customers,
    reference TEXT,
    status TEXT NOT NULL CHECK (status IN ('pending', 'paid', 'cancelled', 'expired')),
    subtotal INTEGER NOT NULL CHECK (subtotal >= 1),
    discount INTEGER NOT NULL CHECK (discount BETWEEN 0 AND subtotal),
    total INTEGER NOT NULL CHECK (total = subtotal - discount),
    paid INTEGER NOT NULL CHECK (paid IN (0, total)),
    refunded INTEGER NOT NULL CHECK (refunded BETWEEN 0 AND paid),
    owned_coupon_id INTEGER REFERENCES owned_coupons DEFERRABLE INITIALLY DEFERRED,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    paid_at INTEGER,
    cancelled_at INTEGER,
    previous INTEGER,
    CHECK (status <> 'paid' OR paid_at IS NOT NULL)
) STRICT;

-- For the expiry sweep; contains only pending orders.
CREATE INDEX orders_waiting ON orders (expires_at) WHERE status = 'pending';

-- The key combines the order and the position of the line, so that lines are only ever appended.
CREATE TABLE order_lines (
    id INTEGER PRIMARY KEY,
    order_id INTEGER NOT NULL AS (id >> 10) VIRTUAL REFERENCES orders,
    position INTEGER NOT NULL AS (id & 1023) VIRTUAL,
    product_id INTEGER NOT NULL REFERENCES products,
    name TEXT NOT NULL,
    unit_price INTEGER NOT NULL CHECK (unit_price >= 1),
    quantity INTEGER NOT NULL CHECK (quantity >= 1)
) STRICT;

CREATE TABLE charges (
    id INTEGER PRIMARY KEY,
    customer_id INTEGER NOT NULL REFERENCES customers,
    amount INTEGER NOT NULL CHECK (amount >= 1),
    status TEXT NOT NULL CHECK (status IN ('succeeded')),
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE ledger (
    id INTEGER PRIMARY KEY,
    customer_id INTEGER NOT NULL REFERENCES customers,
    kind TEXT NOT NULL CHECK (kind IN ('charge', 'debit', 'payment', 'refund')),
    amount INTEGER NOT NULL,
    balance_after INTEGER NOT NULL CHECK (balance_after >= 0),
    order_id INTEGER REFERENCES orders,
    charge_id INTEGER REFERENCES charges,
    note TEXT,
    created_at INTEGER NOT NULL,
    previous INTEGER,
    CHECK ((order_id IS NOT NULL) = (kind IN ('payment', 'refund'))),
    CHECK ((charge_id IS NOT NULL) = (kind = 'charge')),
    CHECK (amount >= 0 OR kind IN ('debit', 'payment')),
    CHECK (amount <= 0 OR kind IN ('charge', 'refund'))
) STRICT;

CREATE TABLE events (
    id INTEGER PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('order.paid', 'order.cancelled')),
    order_id INTEGER NOT NULL REFERENCES orders,
    trace TEXT,
    created_at INTEGER NOT NULL
) STRICT;

-- The key comes first, so that time-ordered keys are appended. Owner 0 is the global scope of keys.
CREATE TABLE idempotency_keys (
    key TEXT NOT NULL,
    owner INTEGER NOT NULL,
    fingerprint INTEGER NOT NULL,
    answer TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (key, owner)
) STRICT, WITHOUT ROWID;

-- The sales roll-up: units sold by bucket of time; sales_rollup.rs documents id and counts.
CREATE TABLE sales (
    id INTEGER PRIMARY KEY,
    counts BLOB NOT NULL
) STRICT;

-- The watermarks of the roll-up: the times up to which seconds are added up to minutes, hours and days.
CREATE TABLE sales_closed (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    minutes INTEGER NOT NULL,
    hours INTEGER NOT NULL CHECK (hours <= minutes),
    days INTEGER NOT NULL CHECK (days <= hours)
) STRICT;

INSERT INTO sales_closed (id, minutes, hours, days) VALUES (1, 0, 0, 0);
