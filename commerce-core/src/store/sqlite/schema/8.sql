-- Statistics: the first order of each customer, the use of each coupon campaign, and the zone of the shop's days.
ALTER TABLE store ADD COLUMN zone TEXT NOT NULL DEFAULT 'UTC';

ALTER TABLE customers ADD COLUMN first_order INTEGER;
ALTER TABLE customers ADD COLUMN first_paid_at INTEGER;
ALTER TABLE customers ADD COLUMN first_cancelled INTEGER NOT NULL DEFAULT 0 CHECK (first_cancelled IN (0, 1));

UPDATE customers
SET first_order = first.id,
    first_paid_at = first.paid_at,
    first_cancelled = CASE first.status WHEN 'cancelled' THEN 1 ELSE 0 END
FROM (
    SELECT id, customer_id, paid_at, status,
           row_number() OVER (PARTITION BY customer_id ORDER BY paid_at, id) AS number
    FROM orders WHERE paid_at IS NOT NULL
) AS first
WHERE first.customer_id = customers.id AND first.number = 1;

ALTER TABLE coupons ADD COLUMN used INTEGER NOT NULL DEFAULT 0 CHECK (used >= 0);
ALTER TABLE coupons ADD COLUMN given_back INTEGER NOT NULL DEFAULT 0 CHECK (given_back >= 0);
ALTER TABLE coupons ADD COLUMN discounts INTEGER NOT NULL DEFAULT 0 CHECK (discounts >= 0);
ALTER TABLE coupons ADD COLUMN net INTEGER NOT NULL DEFAULT 0 CHECK (net >= 0);

UPDATE coupons
SET used = usage.used, given_back = usage.given_back, discounts = usage.discounts, net = usage.net
FROM (
    SELECT coupon_id,
           sum(CASE WHEN status IN ('pending', 'paid') THEN 1 ELSE 0 END) AS used,
           sum(CASE WHEN status IN ('pending', 'paid') THEN 0 ELSE 1 END) AS given_back,
           sum(CASE status WHEN 'paid' THEN discount ELSE 0 END) AS discounts,
           sum(CASE status WHEN 'paid' THEN total ELSE 0 END) AS net
    FROM orders JOIN owned_coupons ON owned_coupons.id = orders.owned_coupon_id
    GROUP BY coupon_id
) AS usage
WHERE usage.coupon_id = coupons.id;

-- The sales roll-up, counted again from the orders: sales_rollup.rs documents id, totals, units and net. The columns
-- that are read alone come first.
DROP TABLE sales;
CREATE TABLE sales (
    id INTEGER PRIMARY KEY,
    totals BLOB NOT NULL,
    units BLOB NOT NULL,
    net BLOB NOT NULL
) STRICT;
