-- The staff of a shop: roles, disabled and erased customers, tokens of programs, and the audit trail.
CREATE TABLE new_customers (
    id INTEGER PRIMARY KEY CHECK (id > 0),
    name TEXT NOT NULL CHECK (name <> ''),
    login TEXT,
    role TEXT NOT NULL CHECK (role IN ('customer', 'reader', 'clerk', 'admin')),
    balance INTEGER NOT NULL CHECK (balance >= 0),
    last_entry INTEGER,
    last_order INTEGER,
    created_at INTEGER NOT NULL,
    first_order INTEGER,
    first_paid_at INTEGER,
    first_cancelled INTEGER NOT NULL DEFAULT 0 CHECK (first_cancelled IN (0, 1)),
    status TEXT NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'disabled', 'erased')),
    CHECK (status <> 'erased' OR login IS NULL)
) STRICT;

INSERT INTO new_customers (id, name, login, role, balance, last_entry, last_order, created_at, first_order, first_paid_at,
                           first_cancelled)
SELECT id, name, login, role, balance, last_entry, last_order, created_at, first_order, first_paid_at, first_cancelled
FROM customers;
DROP TABLE customers;
ALTER TABLE new_customers RENAME TO customers;
CREATE UNIQUE INDEX customers_by_login ON customers (login) WHERE login IS NOT NULL;

-- The number of admins is asked for before one of them loses the role.
CREATE INDEX customers_staff ON customers (role, id) WHERE role <> 'customer';

-- Tokens are random in all bits, so that a plain SHA-256 of one is kept, in hexadecimal digits.
CREATE TABLE tokens (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL CHECK (name <> ''),
    role TEXT NOT NULL CHECK (role IN ('reader', 'clerk', 'admin')),
    hash TEXT NOT NULL UNIQUE CHECK (length(hash) = 64),
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    revoked_at INTEGER,
    last_used_at INTEGER
) STRICT;

CREATE TABLE audit_trail (
    id INTEGER PRIMARY KEY,
    created_at INTEGER NOT NULL,
    actor TEXT NOT NULL CHECK (actor IN ('cli', 'customer', 'token')),
    actor_id INTEGER CHECK ((actor_id IS NULL) = (actor = 'cli')),
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    subject_id INTEGER CHECK ((subject_id IS NULL) = (subject = 'shop')),
    changes TEXT
) STRICT;

CREATE INDEX audit_trail_by_actor ON audit_trail (actor, actor_id, id);
CREATE INDEX audit_trail_by_subject ON audit_trail (subject, subject_id);

ALTER TABLE stock_movements ADD COLUMN actor TEXT;
ALTER TABLE stock_movements ADD COLUMN actor_id INTEGER CHECK ((actor_id IS NULL) = (actor IS NULL OR actor = 'cli'));
