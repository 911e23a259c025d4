-- Distributes the tables of a new store over the machines of a Citus cluster: those of customers by customer, those
-- of products by product. Statements are separated by an empty line and executed one by one in the transaction that
-- has created the tables.
--
-- Tables that every transaction uses stay on the coordinator, which every instance connects to anyway: the writer lock,
-- sales, deliveries, failed logins, and sessions, which are found by their token only. There is no reference table:
-- Citus refuses to write one after a parallel read of distributed tables, as the number of issued coupons would
-- be.

SET LOCAL citus.multi_shard_modify_mode = 'sequential'

-- Foreign keys are recreated below, once both sides are distributed in the same way.
DO $$ DECLARE one RECORD; BEGIN
    FOR one IN SELECT conrelid::regclass AS place, conname FROM pg_constraint
               WHERE contype = 'f' AND connamespace = current_schema()::regnamespace LOOP
        EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', one.place, one.conname);
    END LOOP;
END $$

-- A machine can enforce uniqueness only within itself. The writer lock, by which one transaction decides at a time,
-- keeps logins and ranks unique, and the audit checks them; references of charges are random.
ALTER TABLE owned_coupons DROP CONSTRAINT owned_coupons_coupon_id_rank_key

DROP INDEX customers_by_login

CREATE INDEX customers_by_login ON customers (login) WHERE login IS NOT NULL

DROP INDEX charges_by_reference

CREATE INDEX charges_by_reference ON charges (reference) WHERE reference IS NOT NULL

SELECT create_distributed_table('customers', 'id', colocate_with => 'none')

SELECT create_distributed_table('credentials', 'customer_id', colocate_with => 'customers')

SELECT create_distributed_table('cart_lines', 'customer_id', colocate_with => 'customers')

SELECT create_distributed_table('purchases', 'customer_id', colocate_with => 'customers')

SELECT create_distributed_table('owned_coupons', 'customer_id', colocate_with => 'customers')

SELECT create_distributed_table('orders', 'customer_id', colocate_with => 'customers')

SELECT create_distributed_table('order_lines', 'customer_id', colocate_with => 'customers')

SELECT create_distributed_table('charges', 'customer_id', colocate_with => 'customers')

SELECT create_distributed_table('line_cancellations', 'customer_id', colocate_with => 'customers')

SELECT create_distributed_table('refunds', 'customer_id', colocate_with => 'customers')

SELECT create_distributed_table('ledger', 'customer_id', colocate_with => 'customers')

SELECT create_distributed_table('events', 'customer_id', colocate_with => 'customers')

-- Keys are looked up by themselves more than by their owner, and no table refers to them.
SELECT create_distributed_table('idempotency_keys', 'key', colocate_with => 'none')

SELECT create_distributed_table('products', 'id', colocate_with => 'none')

SELECT create_distributed_table('stock_movements', 'product_id', colocate_with => 'products')

SELECT create_distributed_table('coupons', 'id', colocate_with => 'none')

ALTER TABLE credentials ADD CONSTRAINT credentials_customer_id_fkey
    FOREIGN KEY (customer_id) REFERENCES customers (id)

ALTER TABLE cart_lines ADD CONSTRAINT cart_lines_customer_id_fkey
    FOREIGN KEY (customer_id) REFERENCES customers (id)

ALTER TABLE owned_coupons ADD CONSTRAINT owned_coupons_customer_id_fkey
    FOREIGN KEY (customer_id) REFERENCES customers (id)

ALTER TABLE orders ADD CONSTRAINT orders_owned_coupon_id_customer_id_fkey
    FOREIGN KEY (owned_coupon_id, customer_id) REFERENCES owned_coupons (id, customer_id)

ALTER TABLE owned_coupons ADD CONSTRAINT owned_coupons_order_id_customer_id_fkey
    FOREIGN KEY (order_id, customer_id) REFERENCES orders (id, customer_id)

ALTER TABLE charges ADD CONSTRAINT charges_customer_id_fkey
    FOREIGN KEY (customer_id) REFERENCES customers (id)

ALTER TABLE ledger ADD CONSTRAINT ledger_charge_id_customer_id_fkey
    FOREIGN KEY (charge_id, customer_id) REFERENCES charges (id, customer_id)

ALTER TABLE stock_movements ADD CONSTRAINT stock_movements_product_id_fkey
    FOREIGN KEY (product_id) REFERENCES products (id)
