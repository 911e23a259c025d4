-- Credentials. A password is kept as an Argon2id hash in PHC format, which contains its parameters.
CREATE TABLE credentials (
    customer_id INTEGER PRIMARY KEY REFERENCES customers,
    password TEXT NOT NULL CHECK (password LIKE '$argon2id$%')
) STRICT;

-- Tokens are random in all bits, so that a plain SHA-256 of one is kept.
CREATE TABLE sessions (
    token BLOB PRIMARY KEY CHECK (length(token) = 32),
    customer_id INTEGER NOT NULL REFERENCES customers,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX sessions_by_end ON sessions (expires_at);
CREATE INDEX sessions_by_customer ON sessions (customer_id);

-- Recent failed login attempts, by the SHA-256 of the login, whether or not it exists.
CREATE TABLE login_attempts (
    login BLOB PRIMARY KEY CHECK (length(login) = 32),
    failures INTEGER NOT NULL CHECK (failures >= 0),
    last_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX login_attempts_by_age ON login_attempts (last_at);
