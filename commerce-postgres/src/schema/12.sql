-- References that every order has are not checked by foreign keys any more: a query for each row of each of them was half
-- of the server's time for an order. The loads of a batch find the rows, under the writer lock, and references.rs
-- fails a batch without them. The audit finds references that dangle. One change of a table at a time, as a cluster
-- needs it; some stores of a cluster never had the second one.
ALTER TABLE order_lines DROP CONSTRAINT IF EXISTS order_lines_order_id_customer_id_fkey;
ALTER TABLE order_lines DROP CONSTRAINT IF EXISTS order_lines_product_id_fkey;
ALTER TABLE orders DROP CONSTRAINT IF EXISTS orders_customer_id_fkey;
ALTER TABLE ledger DROP CONSTRAINT IF EXISTS ledger_customer_id_fkey;
ALTER TABLE ledger DROP CONSTRAINT IF EXISTS ledger_order_id_customer_id_fkey;
ALTER TABLE events DROP CONSTRAINT IF EXISTS events_order_id_customer_id_fkey;
