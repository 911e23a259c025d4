//! Credentials, sessions and failed logins: loading and saving.

use crate::query::{Query, QueryBatch};
use crate::rows::is_storable;
use commerce_core::limits::{LOGIN_MEMORY, MAX_CLOCK_SKEW};
use commerce_core::store::columns::{ADMINS, CREDENTIALS, credentials};
use commerce_core::store::values::get;
use commerce_core::store::{Erasure, LoginAttempts, LoginHash, Needs, SessionChange, State};
use commerce_core::{Customer, CustomerId, Role, StoreError};
use std::collections::HashMap;

pub(crate) fn load<'a>(batch: &mut QueryBatch<'a>, needs: &'a Needs) {
    if !needs.logins.is_empty() {
        let logins = needs.logins.iter().map(String::as_str);
        let logins: Vec<&str> = logins.filter(|login| is_storable(login)).collect();
        let sql = "SELECT login, id FROM customers WHERE login = ANY($1::text[])";
        batch.add(Query::new(sql).with(logins), |rows, state| {
            let mut owners: HashMap<String, CustomerId> = HashMap::new();
            for row in &rows {
                owners.insert(get(row, 0)?, get(row, 1)?);
            }
            for login in &needs.logins {
                state.provide_login(login.clone(), owners.get(login).copied());
            }
            Ok(())
        });
    }
    if !needs.credentials.is_empty() {
        let customers: Vec<i64> = needs.credentials.iter().map(|id| id.get()).collect();
        let sql = format!(
            "SELECT {CREDENTIALS} FROM customers JOIN credentials ON customer_id = id
             WHERE id = ANY($1::bigint[])"
        );
        batch.add(Query::new(sql).with(customers), |rows, state| {
            for row in &rows {
                let row = credentials(row)?;
                state.known_credentials.provide(row.customer_id, Some(row));
            }
            for customer in &needs.credentials {
                state.known_credentials.provide(*customer, None);
            }
            Ok(())
        });
    }
    if needs.admins {
        admins(batch);
    }
    if !needs.attempts.is_empty() {
        let logins: Vec<Vec<u8>> =
            needs.attempts.iter().map(|login| login.as_bytes().to_vec()).collect();
        let sql = "SELECT login, failures, last_at FROM login_attempts
                   WHERE login = ANY($1::bytea[])";
        batch.add(Query::new(sql).with(logins), |rows, state| {
            for row in &rows {
                let hash = row.try_get::<&[u8]>(0).unwrap_or_default();
                let hash = <[u8; 32]>::try_from(hash).map(LoginHash::new);
                let invalid =
                    |_| StoreError::Corrupt("the hash of a login is not 32 bytes long".to_owned());
                let login = hash.map_err(invalid)?;
                let attempts =
                    LoginAttempts { login, failures: get(row, 1)?, last_at: get(row, 2)? };
                state.attempts.provide(login, Some(attempts));
            }
            for login in &needs.attempts {
                state.attempts.provide(*login, None);
            }
            Ok(())
        });
    }
}

fn admins(batch: &mut QueryBatch<'_>) {
    batch.add(Query::new(ADMINS), |rows, state| {
        if let Some(row) = rows.first() {
            state.provide_admins(get(row, 0)?);
        }
        Ok(())
    });
}

pub(crate) fn apply(state: &State, queries: &mut Vec<Query<'static>>) -> Result<(), StoreError> {
    // In the order of the changes, so that a login that moved to another customer within the batch violates no
    // constraint.
    for row in &state.credentials {
        let id = row.customer_id;
        let role = state.accounts.get(id).map_or(Role::Customer, |account| account.customer.role);
        let sql = "UPDATE customers SET login = $2, role = $3 WHERE id = $1";
        let update = Query::new(sql).with(id.get()).with(row.login.clone()).with(role.as_str());
        queries.push(update.changing(1));
        let sql = "INSERT INTO credentials (customer_id, password) VALUES ($1, $2)
                   ON CONFLICT (customer_id) DO UPDATE SET password = excluded.password";
        let password = row.password.as_str().to_owned();
        queries.push(Query::new(sql).with(id.get()).with(password).changing(1));
    }
    queries.extend(state.profiles.iter().filter_map(|id| profile(*id, state)));
    for erasure in &state.erasures {
        erase(erasure, queries)?;
    }
    // Before the attempts: an end in the middle of the batch must not remove attempts that were recorded after it.
    queries.extend(state.sessions.iter().map(session_change));
    attempts(state, queries);
    Ok(())
}

/// Saves the name, login, role and status, which the update of a balance leaves out. By then all logins of the batch are
/// where they end.
fn profile(id: CustomerId, state: &State) -> Option<Query<'static>> {
    let Customer { name, login, role, status, .. } = &state.accounts.get(id)?.customer;
    let sql = "UPDATE customers SET name = $2, login = $3, role = $4, status = $5 WHERE id = $1";
    let update = Query::new(sql).with(id.get()).with(name.clone()).with(login.clone());
    Some(update.with(role.as_str()).with(status.as_str()).changing(1))
}

fn erase(erasure: &Erasure, queries: &mut Vec<Query<'static>>) -> Result<(), StoreError> {
    let customer = erasure.customer_id.get();
    let delete = "DELETE FROM credentials WHERE customer_id = $1";
    queries.push(Query::new(delete).with(customer));
    if let Some(login) = erasure.login {
        let delete = "DELETE FROM login_attempts WHERE login = $1";
        queries.push(Query::new(delete).with(login.as_bytes().to_vec()));
    }
    let mut empty = |table: &str, column: &str, rows: Vec<(i64, Option<i64>)>| {
        if !rows.is_empty() {
            let sql = format!(
                "UPDATE {table} SET {column} = NULL, digest = new.digest
                 FROM unnest($2::bigint[], $3::bigint[]) AS new (id, digest)
                 WHERE {table}.customer_id = $1 AND {table}.id = new.id"
            );
            let (count, (ids, digests)) = (rows.len(), rows.into_iter().unzip());
            let (ids, digests): (Vec<i64>, Vec<Option<i64>>) = (ids, digests);
            queries.push(Query::new(sql).with(customer).with(ids).with(digests).changing(count));
        }
    };
    let numbers = erasure.notes.iter().map(|(id, digest)| (id.get(), *digest));
    empty("ledger", "note", numbers.collect());
    let numbers = erasure.payment_methods.iter().map(|(id, digest)| (id.get(), *digest));
    empty("charges", "payment_method", numbers.collect());
    if erasure.answers.is_empty() {
        return Ok(());
    }
    let (mut keys, mut owners, mut answers) = (Vec::new(), Vec::new(), Vec::new());
    for (key, owner, answer) in &erasure.answers {
        keys.push(key.as_str().to_owned());
        owners.push(owner.get());
        let answer = serde_json::to_string(answer);
        answers.push(answer.map_err(|error| StoreError::Corrupt(error.to_string()))?);
    }
    let sql = "UPDATE idempotency_keys SET answer = new.answer
               FROM unnest($1::text[], $2::bigint[], $3::text[]) AS new (key, owner, answer)
               WHERE idempotency_keys.key = new.key AND idempotency_keys.owner = new.owner
                 AND idempotency_keys.key = ANY($1)";
    let count = keys.len();
    queries.push(Query::new(sql).with(keys).with(owners).with(answers).changing(count));
    Ok(())
}

fn attempts(state: &State, queries: &mut Vec<Query<'static>>) {
    let changed = state.attempts.changed();
    if changed.is_empty() {
        return;
    }
    let logins: Vec<Vec<u8>> =
        changed.iter().map(|(row, _)| row.login.as_bytes().to_vec()).collect();
    let failures: Vec<i64> = changed.iter().map(|(row, _)| row.failures).collect();
    let last: Vec<i64> = changed.iter().map(|(row, _)| row.last_at.unix()).collect();
    let sql = "INSERT INTO login_attempts (login, failures, last_at)
               SELECT * FROM unnest($1::bytea[], $2::bigint[], $3::bigint[])
               ON CONFLICT (login) DO UPDATE
               SET failures = excluded.failures, last_at = excluded.last_at";
    queries.push(Query::new(sql).with(logins).with(failures).with(last));
}

fn session_change(change: &SessionChange) -> Query<'static> {
    match change {
        SessionChange::Opened(row) => {
            let sql = "INSERT INTO sessions (token, customer_id, created_at, expires_at)
                       VALUES ($1, $2, $3, $4)
                       ON CONFLICT (token) DO UPDATE SET customer_id = excluded.customer_id,
                           created_at = excluded.created_at, expires_at = excluded.expires_at";
            Query::new(sql)
                .with(row.token.as_bytes().to_vec())
                .with(row.customer_id.get())
                .with(row.created_at.unix())
                .with(row.expires_at.unix())
        }
        SessionChange::Closed(token) => {
            Query::new("DELETE FROM sessions WHERE token = $1").with(token.as_bytes().to_vec())
        }
        SessionChange::ClosedAll(customer) => {
            Query::new("DELETE FROM sessions WHERE customer_id = $1").with(customer.get())
        }
        SessionChange::ClosedOthers(customer, token) => {
            Query::new("DELETE FROM sessions WHERE customer_id = $1 AND token <> $2")
                .with(customer.get())
                .with(token.as_bytes().to_vec())
        }
        SessionChange::Ended(now) => {
            let sql = "WITH expired AS (
                           DELETE FROM login_attempts WHERE last_at < $2 OR last_at > $3
                       ) DELETE FROM sessions WHERE expires_at <= $1 OR created_at > $3";
            let forgotten = now.plus_seconds(LOGIN_MEMORY.saturating_neg());
            let ahead = now.plus_seconds(MAX_CLOCK_SKEW);
            Query::new(sql).with(now.unix()).with(forgotten.unix()).with(ahead.unix())
        }
    }
}
