-- Prices and limits: sale prices, purchase limits, references, campaigns that are changed.

-- The caller's own order number: an order with one that another order of the customer has is refused. Orders of earlier
-- versions may have the same one. Orders without one are not in the index.
CREATE INDEX orders_by_reference ON orders (reference, customer_id) WHERE reference IS NOT NULL;

-- A sale replaces the price from an instant until just before another. Lines of orders keep the regular price where a
-- sale reduced it; NULL is the price that was paid.
ALTER TABLE products ADD COLUMN sale_price BIGINT CHECK (sale_price >= 1);
ALTER TABLE products ADD COLUMN sale_from BIGINT CHECK ((sale_from IS NULL) = (sale_price IS NULL));
ALTER TABLE products ADD COLUMN sale_until BIGINT CHECK (sale_until > sale_from);
ALTER TABLE order_lines ADD COLUMN regular_price BIGINT CHECK (regular_price > unit_price);

-- The stock at and below which a product is low on stock.
ALTER TABLE products ADD COLUMN low_stock_threshold BIGINT CHECK (low_stock_threshold >= 0);

-- The greatest number of units of a product that a customer may hold or buy, and those that customers do: of its pending
-- and paid orders. Only products with a limit have rows. The audit counts them again, so that no foreign key has to.
ALTER TABLE products ADD COLUMN limit_per_customer BIGINT CHECK (limit_per_customer >= 1);

CREATE TABLE purchases (
    product_id BIGINT NOT NULL,
    customer_id BIGINT NOT NULL,
    units BIGINT NOT NULL CHECK (units >= 1),
    PRIMARY KEY (product_id, customer_id)
) WITH (fillfactor = 80);

-- From this time on no coupon of the campaign is claimed.
ALTER TABLE coupons ADD COLUMN stopped_at BIGINT;
