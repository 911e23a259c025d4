-- Money is in minor units, times are in seconds since 1970. The program enforces the rules; only a defect can
-- violate a CHECK. The table `store`, whose row is the writer lock, is created before this.
--
-- Histories have no index by customer. The customer refers to the newest row, and each row to the one before
-- it, so that a history is read backwards by key and an insert touches no random page.
--
-- Every key of a customer's rows contains the customer, every key of a product's rows the product, and foreign
-- keys between rows of a customer contain the customer: so the tables can be distributed over machines by
-- customer and by product without another schema.

CREATE TABLE customers (
    id BIGINT PRIMARY KEY CHECK (id > 0),
    name TEXT NOT NULL CHECK (name <> ''),
    login TEXT COLLATE "C",
    role TEXT NOT NULL CHECK (role IN ('customer', 'admin')),
    balance BIGINT NOT NULL CHECK (balance >= 0),
    last_entry BIGINT,
    last_order BIGINT,
    created_at BIGINT NOT NULL
) WITH (fillfactor = 80);

CREATE UNIQUE INDEX customers_by_login ON customers (login) WHERE login IS NOT NULL;

CREATE TABLE products (
    id BIGINT PRIMARY KEY CHECK (id > 0),
    name TEXT NOT NULL CHECK (name <> ''),
    price BIGINT NOT NULL CHECK (price >= 1),
    stock BIGINT NOT NULL CHECK (stock >= 0),
    status TEXT NOT NULL CHECK (status IN ('active', 'archived'))
) WITH (fillfactor = 50);

CREATE TABLE stock_movements (
    id BIGINT NOT NULL,
    product_id BIGINT NOT NULL REFERENCES products,
    delta BIGINT NOT NULL CHECK (delta <> 0),
    reason TEXT NOT NULL CHECK (reason <> ''),
    created_at BIGINT NOT NULL,
    PRIMARY KEY (id, product_id)
);

CREATE TABLE cart_lines (
    customer_id BIGINT NOT NULL REFERENCES customers,
    product_id BIGINT NOT NULL REFERENCES products,
    quantity BIGINT NOT NULL CHECK (quantity >= 1),
    PRIMARY KEY (customer_id, product_id)
);

CREATE TABLE coupons (
    id BIGINT PRIMARY KEY,
    name TEXT NOT NULL CHECK (name <> ''),
    amount BIGINT CHECK (amount >= 1),
    percent BIGINT CHECK (percent BETWEEN 1 AND 100),
    max_amount BIGINT CHECK (max_amount >= 1),
    min_order_amount BIGINT CHECK (min_order_amount >= 1),
    quantity BIGINT NOT NULL CHECK (quantity >= 1),
    issued BIGINT NOT NULL CHECK (issued BETWEEN 0 AND quantity),
    valid_from BIGINT NOT NULL,
    valid_until BIGINT CHECK (valid_until > valid_from),
    CHECK ((amount IS NULL) <> (percent IS NULL))
) WITH (fillfactor = 50);

CREATE TABLE owned_coupons (
    id BIGINT NOT NULL,
    coupon_id BIGINT NOT NULL REFERENCES coupons,
    customer_id BIGINT NOT NULL REFERENCES customers,
    rank BIGINT NOT NULL CHECK (rank >= 1),
    order_id BIGINT,
    claimed_at BIGINT NOT NULL,
    PRIMARY KEY (id, customer_id),
    UNIQUE (customer_id, coupon_id),
    UNIQUE (coupon_id, rank)
);

CREATE TABLE orders (
    id BIGINT NOT NULL,
    customer_id BIGINT NOT NULL REFERENCES customers,
    reference TEXT,
    status TEXT NOT NULL CHECK (status IN ('pending', 'paid', 'cancelled', 'expired')),
    subtotal BIGINT NOT NULL CHECK (subtotal >= 1),
    discount BIGINT NOT NULL CHECK (discount BETWEEN 0 AND subtotal),
    total BIGINT NOT NULL CHECK (total = subtotal - discount),
    paid BIGINT NOT NULL CHECK (paid IN (0, total)),
    refunded BIGINT NOT NULL CHECK (refunded BETWEEN 0 AND paid),
    owned_coupon_id BIGINT,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    paid_at BIGINT,
    cancelled_at BIGINT,
    previous BIGINT,
    PRIMARY KEY (id, customer_id),
    FOREIGN KEY (owned_coupon_id, customer_id) REFERENCES owned_coupons (id, customer_id),
    CHECK (status <> 'paid' OR paid_at IS NOT NULL)
);

ALTER TABLE owned_coupons ADD FOREIGN KEY (order_id, customer_id) REFERENCES orders (id, customer_id);

-- For the expiry sweep; contains only pending orders.
CREATE INDEX orders_waiting ON orders (expires_at, id) WHERE status = 'pending';

CREATE TABLE order_lines (
    order_id BIGINT NOT NULL,
    position BIGINT NOT NULL CHECK (position >= 0),
    customer_id BIGINT NOT NULL,
    product_id BIGINT NOT NULL REFERENCES products,
    name TEXT NOT NULL,
    unit_price BIGINT NOT NULL CHECK (unit_price >= 1),
    quantity BIGINT NOT NULL CHECK (quantity >= 1),
    PRIMARY KEY (order_id, position, customer_id),
    FOREIGN KEY (order_id, customer_id) REFERENCES orders (id, customer_id)
);

CREATE TABLE charges (
    id BIGINT NOT NULL,
    customer_id BIGINT NOT NULL REFERENCES customers,
    amount BIGINT NOT NULL CHECK (amount >= 1),
    status TEXT NOT NULL CHECK (status IN ('succeeded')),
    created_at BIGINT NOT NULL,
    PRIMARY KEY (id, customer_id)
);

CREATE TABLE ledger (
    id BIGINT NOT NULL,
    customer_id BIGINT NOT NULL REFERENCES customers,
    kind TEXT NOT NULL CHECK (kind IN ('charge', 'debit', 'payment', 'refund')),
    amount BIGINT NOT NULL,
    balance_after BIGINT NOT NULL CHECK (balance_after >= 0),
    order_id BIGINT,
    charge_id BIGINT,
    note TEXT,
    created_at BIGINT NOT NULL,
    previous BIGINT,
    PRIMARY KEY (id, customer_id),
    FOREIGN KEY (order_id, customer_id) REFERENCES orders (id, customer_id),
    FOREIGN KEY (charge_id, customer_id) REFERENCES charges (id, customer_id),
    CHECK ((order_id IS NOT NULL) = (kind IN ('payment', 'refund'))),
    CHECK ((charge_id IS NOT NULL) = (kind = 'charge')),
    CHECK (amount >= 0 OR kind IN ('debit', 'payment')),
    CHECK (amount <= 0 OR kind IN ('charge', 'refund'))
);

CREATE TABLE events (
    id BIGINT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('order.paid', 'order.cancelled')),
    order_id BIGINT NOT NULL,
    customer_id BIGINT NOT NULL,
    trace TEXT,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (id, customer_id),
    FOREIGN KEY (order_id, customer_id) REFERENCES orders (id, customer_id)
);

-- The key comes first, so that time-ordered keys are appended. Owner 0 is the global scope of keys.
CREATE TABLE idempotency_keys (
    key TEXT COLLATE "C" NOT NULL,
    owner BIGINT NOT NULL,
    fingerprint BIGINT NOT NULL,
    answer TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (key, owner)
);

-- The sales roll-up: units sold by bucket of time; sales_rollup.rs documents id and counts.
CREATE TABLE sales (
    id BIGINT PRIMARY KEY,
    counts BYTEA NOT NULL
) WITH (fillfactor = 50);

-- The watermarks of the roll-up: the times up to which seconds are added up to minutes, hours and days.
CREATE TABLE sales_closed (
    id BIGINT PRIMARY KEY CHECK (id = 1),
    minutes BIGINT NOT NULL,
    hours BIGINT NOT NULL CHECK (hours <= minutes),
    days BIGINT NOT NULL CHECK (days <= hours)
);

INSERT INTO sales_closed (id, minutes, hours, days) VALUES (1, 0, 0, 0);

-- Credentials. A password is kept as an Argon2id hash in PHC format, which contains its parameters.
CREATE TABLE credentials (
    customer_id BIGINT PRIMARY KEY REFERENCES customers,
    password TEXT NOT NULL CHECK (password LIKE '$argon2id$%')
);

-- Tokens are random in all bits, so that a plain SHA-256 of one is kept.
CREATE TABLE sessions (
    token BYTEA PRIMARY KEY CHECK (length(token) = 32),
    customer_id BIGINT NOT NULL REFERENCES customers,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);

CREATE INDEX sessions_by_end ON sessions (expires_at);
CREATE INDEX sessions_by_customer ON sessions (customer_id);

-- Recent failed login attempts, by the SHA-256 of the login, whether or not it exists.
CREATE TABLE login_attempts (
    login BYTEA PRIMARY KEY CHECK (length(login) = 32),
    failures BIGINT NOT NULL CHECK (failures >= 0),
    last_at BIGINT NOT NULL
);

CREATE INDEX login_attempts_by_age ON login_attempts (last_at);
