-- Prices and limits: sale prices, purchase limits, references, campaigns that are changed.

-- The caller's own order number: an order with one that another order of the customer has is refused. Orders of earlier
-- versions may have the same one. Orders without one are not in the index.
CREATE INDEX orders_by_reference ON orders (reference, customer_id) WHERE reference IS NOT NULL;
