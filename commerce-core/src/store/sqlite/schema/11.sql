-- Lists of the back office. An order that is paid at once is in none of these indexes.
CREATE INDEX orders_by_status ON orders (status, id) WHERE status <> 'paid';

-- Orders that gave their stock back, for the history of a product.
CREATE INDEX orders_released ON orders (coalesce(cancelled_at, expires_at), id)
WHERE status IN ('cancelled', 'expired');

CREATE INDEX charges_by_status ON charges (status, id) WHERE status <> 'succeeded';
CREATE INDEX stock_movements_by_product ON stock_movements (product_id, id);

-- The request of a key that was refused, without personal data. A success is explained by the row that it made.
ALTER TABLE idempotency_keys ADD COLUMN request TEXT;
