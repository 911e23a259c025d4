-- The staff of a shop: roles, disabled and erased customers, tokens of programs, and the audit trail. Tokens and the audit
-- trail stay on the coordinator of a cluster.
-- One change of a constraint at a time, as a cluster needs it.
ALTER TABLE customers DROP CONSTRAINT customers_role_check;
ALTER TABLE customers ADD CONSTRAINT customers_role_check
    CHECK (role IN ('customer', 'reader', 'clerk', 'admin'));
ALTER TABLE customers ADD COLUMN status TEXT NOT NULL DEFAULT 'active'
    CHECK (status IN ('active', 'disabled', 'erased'));
ALTER TABLE customers ADD CONSTRAINT customers_erased_check CHECK (status <> 'erased' OR login IS NULL);

-- The number of admins is asked for before one of them loses the role.
CREATE INDEX customers_staff ON customers (role, id) WHERE role <> 'customer';

-- Tokens are random in all bits, so that a plain SHA-256 of one is kept, in hexadecimal digits.
CREATE TABLE tokens (
    id BIGINT PRIMARY KEY,
    name TEXT NOT NULL CHECK (name <> ''),
    role TEXT NOT NULL CHECK (role IN ('reader', 'clerk', 'admin')),
    hash TEXT NOT NULL UNIQUE CHECK (length(hash) = 64),
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    revoked_at BIGINT,
    last_used_at BIGINT
);

CREATE TABLE audit_trail (
    id BIGINT PRIMARY KEY,
    created_at BIGINT NOT NULL,
    actor TEXT NOT NULL CHECK (actor IN ('cli', 'customer', 'token')),
    actor_id BIGINT CHECK ((actor_id IS NULL) = (actor = 'cli')),
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    subject_id BIGINT CHECK ((subject_id IS NULL) = (subject = 'shop')),
    changes TEXT
);

CREATE INDEX audit_trail_by_actor ON audit_trail (actor, actor_id, id);
CREATE INDEX audit_trail_by_subject ON audit_trail (subject, subject_id);

ALTER TABLE stock_movements ADD COLUMN actor TEXT;
ALTER TABLE stock_movements ADD COLUMN actor_id BIGINT;
ALTER TABLE stock_movements ADD CONSTRAINT stock_movements_actor_check
    CHECK ((actor_id IS NULL) = (actor IS NULL OR actor = 'cli'));

-- Sessions of a customer are listed in the order of their tokens.
DROP INDEX sessions_by_customer;
CREATE INDEX sessions_by_customer ON sessions (customer_id, token);

ALTER TABLE store
    ADD COLUMN last_audit_trail BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN last_tokens BIGINT NOT NULL DEFAULT 0;
