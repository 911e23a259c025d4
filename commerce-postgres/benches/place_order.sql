-- What somebody would write by hand who takes orders straight in the database, with the same rows under the
-- same constraints, and 0 for the status and the kinds of a paid order: one call is one order is one transaction.
-- It keeps no counts for best sellers.

-- The references that the store checks by what a batch has loaded: a database with many writers needs foreign keys.
ALTER TABLE orders ADD FOREIGN KEY (customer_id) REFERENCES customers;
ALTER TABLE order_lines ADD FOREIGN KEY (order_id, customer_id) REFERENCES orders (id, customer_id);
ALTER TABLE order_lines ADD FOREIGN KEY (product_id) REFERENCES products;
ALTER TABLE ledger ADD FOREIGN KEY (customer_id) REFERENCES customers;
ALTER TABLE ledger ADD FOREIGN KEY (order_id, customer_id) REFERENCES orders (id, customer_id);
ALTER TABLE events ADD FOREIGN KEY (order_id, customer_id) REFERENCES orders (id, customer_id);

CREATE SEQUENCE next_order START 1000000;
CREATE SEQUENCE next_entry START 1000000;
CREATE SEQUENCE next_event START 1000000;
-- What callers number their keys by, as keys that grow with time.
CREATE SEQUENCE next_key;

CREATE FUNCTION place_order(the_customer BIGINT, wanted BIGINT[], the_key TEXT) RETURNS BIGINT
LANGUAGE plpgsql AS $$
DECLARE
    now_at BIGINT := extract(epoch FROM clock_timestamp())::BIGINT;
    payer customers%ROWTYPE;
    known TEXT;
    the_order BIGINT;
    entry BIGINT;
    the_total BIGINT;
    short BIGINT;
BEGIN
    SELECT answer INTO known FROM idempotency_keys WHERE key = the_key AND owner = the_customer;
    IF FOUND THEN
        RETURN known::BIGINT;
    END IF;
    SELECT * INTO payer FROM customers WHERE id = the_customer FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'customer_not_found';
    END IF;
    -- In the order of ids, so that two orders never wait for each other.
    PERFORM id FROM products WHERE id = ANY (wanted) ORDER BY id FOR UPDATE;
    SELECT sum(price), sum(CASE WHEN stock < 1 OR status <> 'active' THEN 1 ELSE 0 END)
        INTO the_total, short FROM products WHERE id = ANY (wanted);
    IF short > 0 THEN
        RAISE EXCEPTION 'insufficient_stock';
    END IF;
    IF payer.balance < the_total THEN
        RAISE EXCEPTION 'insufficient_balance';
    END IF;
    UPDATE products SET stock = stock - 1 WHERE id = ANY (wanted);
    the_order := nextval('next_order');
    entry := nextval('next_entry');
    INSERT INTO orders (id, customer_id, status, subtotal, discount, paid, refunded, created_at,
                        paid_at, previous)
    VALUES (the_order, the_customer, 0, the_total, 0, the_total, 0, now_at, now_at,
            payer.last_order);
    INSERT INTO order_lines (order_id, position, customer_id, product_id, name, unit_price, quantity)
    SELECT the_order, row_number() OVER (ORDER BY id) - 1, the_customer, id, name, price, 1
    FROM products WHERE id = ANY (wanted);
    UPDATE customers SET balance = balance - the_total, last_order = the_order, last_entry = entry
    WHERE id = the_customer;
    INSERT INTO ledger (id, customer_id, kind, amount, balance_after, order_id, created_at, previous)
    VALUES (entry, the_customer, 0, -the_total, payer.balance - the_total, the_order, now_at,
            payer.last_entry);
    INSERT INTO events (id, kind, order_id, customer_id, created_at)
    VALUES (nextval('next_event'), 0, the_order, the_customer, now_at);
    INSERT INTO idempotency_keys (key, owner, fingerprint, answer, created_at)
    VALUES (the_key, the_customer, 0, the_order::TEXT, now_at);
    RETURN the_order;
END
$$;
