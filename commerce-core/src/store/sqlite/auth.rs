//! Credentials, sessions and failed logins: loading, saving and reading.

use super::query::{limit, many, one};
use crate::error::StoreError;
use crate::id::CustomerId;
use crate::limits::{LOGIN_MEMORY, MAX_CLOCK_SKEW};
use crate::model::auth::{Credentials, LoginAttempts, LoginHash, SessionRow, TokenHash};
use crate::model::wallet::{Customer, Role};
use crate::state::{Erasure, Needs, SessionChange, State};
use crate::store::columns::{self, ADMINS, CREDENTIALS};
use crate::store::values::get;
use rusqlite::{Connection, OptionalExtension, Row, params};

pub(super) fn load(db: &Connection, needs: &Needs, state: &mut State) -> Result<(), StoreError> {
    for login in &needs.logins {
        let sql = "SELECT id FROM customers WHERE login = ?1";
        let owner = db.prepare_cached(sql)?.query_row([login], |row| row.get(0)).optional()?;
        state.provide_login(login.clone(), owner);
    }
    for &customer in &needs.credentials {
        let sql = format!("{} WHERE id = ?1", credentials_from());
        let credentials = one(db, &sql, [customer], |row| columns::credentials(row))?;
        state.known_credentials.provide(customer, credentials);
    }
    for &login in &needs.attempts {
        state.attempts.provide(login, login_attempts(db, login)?);
    }
    if needs.admins {
        state.provide_admins(db.prepare_cached(ADMINS)?.query_row([], |row| row.get(0))?);
    }
    Ok(())
}

pub(super) fn login_attempts(
    db: &Connection,
    login: LoginHash,
) -> Result<Option<LoginAttempts>, StoreError> {
    let sql = "SELECT failures, last_at FROM login_attempts WHERE login = ?1";
    let read =
        |row: &Row<'_>| Ok(LoginAttempts { login, failures: row.get(0)?, last_at: row.get(1)? });
    Ok(db.prepare_cached(sql)?.query_row([login.as_bytes()], read).optional()?)
}

pub(super) fn apply(db: &Connection, state: &State) -> Result<(), StoreError> {
    for row in &state.credentials {
        save_credentials(db, row, state)?;
    }
    if !state.erasures.is_empty() {
        // What is overwritten and deleted is zeroed in its pages, too.
        db.execute_batch("PRAGMA secure_delete = ON;")?;
    }
    for &customer in &state.profiles {
        save_profile(db, customer, state)?;
    }
    for erasure in &state.erasures {
        erase(db, erasure)?;
    }
    if !state.erasures.is_empty() {
        db.execute_batch("PRAGMA secure_delete = OFF;")?;
    }
    // Before the attempts: an end in the middle of the batch must not remove attempts that were recorded after it.
    state.sessions.iter().try_for_each(|change| change_sessions(db, change))?;
    for (row, _) in state.attempts.changed() {
        let sql =
            "INSERT OR REPLACE INTO login_attempts (login, failures, last_at) VALUES (?1, ?2, ?3)";
        db.prepare_cached(sql)?.execute(params![
            row.login.as_bytes(),
            row.failures,
            row.last_at
        ])?;
    }
    Ok(())
}

fn save_credentials(db: &Connection, row: &Credentials, state: &State) -> Result<(), StoreError> {
    let role = state.accounts.get(row.customer_id).map_or(Role::Customer, |of| of.customer.role);
    // In the order of the changes, so that a login that moved to another customer within the batch violates no
    // constraint.
    db.prepare_cached("UPDATE customers SET login = ?2, role = ?3 WHERE id = ?1")?
        .execute(params![row.customer_id, row.login, role.as_str()])?;
    db.prepare_cached(
        "INSERT OR REPLACE INTO credentials (customer_id, password) VALUES (?1, ?2)",
    )?
    .execute(params![row.customer_id, row.password.as_str()])?;
    Ok(())
}

/// Saves the name, login, role and status, which the update of a balance leaves out. By then all logins of the batch are
/// where they end.
fn save_profile(db: &Connection, customer: CustomerId, state: &State) -> Result<(), StoreError> {
    let Some(account) = state.accounts.get(customer) else { return Ok(()) };
    let Customer { name, login, role, status, .. } = &account.customer;
    db.prepare_cached(
        "UPDATE customers SET name = ?2, login = ?3, role = ?4, status = ?5 WHERE id = ?1",
    )?
    .execute(params![customer, name, login, role.as_str(), status.as_str()])?;
    Ok(())
}

fn erase(db: &Connection, erasure: &Erasure) -> Result<(), StoreError> {
    let delete = "DELETE FROM credentials WHERE customer_id = ?1";
    db.prepare_cached(delete)?.execute([erasure.customer_id])?;
    if let Some(login) = erasure.login {
        let delete = "DELETE FROM login_attempts WHERE login = ?1";
        db.prepare_cached(delete)?.execute([login.as_bytes()])?;
    }
    let mut update =
        db.prepare_cached("UPDATE ledger SET note = NULL, digest = ?2 WHERE id = ?1")?;
    for (id, digest) in &erasure.notes {
        update.execute(params![id, digest])?;
    }
    let sql = "UPDATE charges SET payment_method = NULL, digest = ?2 WHERE id = ?1";
    let mut update = db.prepare_cached(sql)?;
    for (id, digest) in &erasure.payment_methods {
        update.execute(params![id, digest])?;
    }
    let sql = "UPDATE idempotency_keys SET answer = ?3 WHERE key = ?1 AND owner = ?2";
    let mut update = db.prepare_cached(sql)?;
    for (key, scope, answer) in &erasure.answers {
        let answer = serde_json::to_string(answer);
        let answer = answer.map_err(|error| StoreError::Corrupt(error.to_string()))?;
        update.execute(params![key.as_str(), scope, answer])?;
    }
    Ok(())
}

fn change_sessions(db: &Connection, change: &SessionChange) -> Result<(), StoreError> {
    match change {
        SessionChange::Opened(row) => db
            .prepare_cached(
                "INSERT OR REPLACE INTO sessions (token, customer_id, created_at, expires_at)
                 VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![
                row.token.as_bytes(),
                row.customer_id,
                row.created_at,
                row.expires_at
            ])?,
        SessionChange::Closed(token) => db
            .prepare_cached("DELETE FROM sessions WHERE token = ?1")?
            .execute([token.as_bytes()])?,
        SessionChange::ClosedAll(customer) => {
            db.prepare_cached("DELETE FROM sessions WHERE customer_id = ?1")?.execute([customer])?
        }
        SessionChange::ClosedOthers(customer, token) => db
            .prepare_cached("DELETE FROM sessions WHERE customer_id = ?1 AND token <> ?2")?
            .execute(params![customer, token.as_bytes()])?,
        SessionChange::Ended(now) => {
            let forgotten = now.plus_seconds(LOGIN_MEMORY.saturating_neg());
            let ahead = now.plus_seconds(MAX_CLOCK_SKEW);
            db.prepare_cached("DELETE FROM login_attempts WHERE last_at < ?1 OR last_at > ?2")?
                .execute([forgotten, ahead])?;
            db.prepare_cached("DELETE FROM sessions WHERE expires_at <= ?1 OR created_at > ?2")?
                .execute([*now, ahead])?
        }
    };
    Ok(())
}

/// Selects the [`CREDENTIALS`] of all customers with a login.
pub(super) fn credentials_from() -> String {
    format!("SELECT {CREDENTIALS} FROM customers JOIN credentials ON customer_id = id")
}

pub(super) fn credentials(db: &Connection, login: &str) -> Result<Option<Credentials>, StoreError> {
    let sql = format!("{} WHERE login = ?1", credentials_from());
    one(db, &sql, [login], |row| columns::credentials(row))
}

pub(super) fn sessions(
    db: &Connection,
    customer: Option<CustomerId>,
    start: TokenHash,
    rows: usize,
) -> Result<Vec<SessionRow>, StoreError> {
    const SESSION: &str = "SELECT customer_id, created_at, expires_at, token FROM sessions WHERE";
    let read = |row: &Row<'_>| columns::session(row, TokenHash::new(row.get(3)?));
    if let Some(customer) = customer {
        let sql = format!("{SESSION} customer_id = ?1 AND token >= ?2 ORDER BY token LIMIT ?3");
        return many(db, &sql, params![customer, start.as_bytes(), limit(rows)], read);
    }
    let sql = format!("{SESSION} token >= ?1 ORDER BY token LIMIT ?2");
    many(db, &sql, params![start.as_bytes(), limit(rows)], read)
}

pub(super) fn session(
    db: &Connection,
    token: TokenHash,
) -> Result<Option<(SessionRow, Role)>, StoreError> {
    let sql = "SELECT customer_id, s.created_at, expires_at, role
               FROM sessions s JOIN customers ON id = customer_id WHERE token = ?1";
    let read = |row: &Row<'_>| Ok((columns::session(row, token)?, get(row, 3)?));
    Ok(db.prepare_cached(sql)?.query_row([token.as_bytes()], read).optional()?)
}
