-- Who may log in. A password is kept as an Argon2id hash, which says itself how it was made.
CREATE TABLE credentials (
    customer_id INTEGER PRIMARY KEY REFERENCES customers,
    password TEXT NOT NULL CHECK (password LIKE '$argon2id$%')
) STRICT;

-- Tokens are random through and through, so that what is kept of one is its SHA-256.
CREATE TABLE sessions (
    token BLOB PRIMARY KEY CHECK (length(token) = 32),
    customer_id INTEGER NOT NULL REFERENCES customers,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX sessions_by_end ON sessions (expires_at);
CREATE INDEX sessions_by_customer ON sessions (customer_id);

-- Logins tried in vain of late, by the SHA-256 of the name, whether anybody has it or not.
CREATE TABLE login_attempts (
    login BLOB PRIMARY KEY CHECK (length(login) = 32),
    failures INTEGER NOT NULL CHECK (failures >= 0),
    last_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX login_attempts_by_age ON login_attempts (last_at);
