//! Credentials, sessions and failed logins: loading and saving.

use crate::query::{Query, QueryBatch};
use crate::rows::is_storable;
use commerce_core::limits::{LOGIN_MEMORY, MAX_CLOCK_SKEW};
use commerce_core::store::values::get;
use commerce_core::store::{LoginAttempts, LoginHash, Needs, SessionChange, State};
use commerce_core::{CustomerId, Role, StoreError};
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

pub(crate) fn apply(state: &State, queries: &mut Vec<Query<'static>>) {
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
    // Before the attempts: an end in the middle of the batch must not remove attempts that were recorded after it.
    queries.extend(state.sessions.iter().map(session_change));
    attempts(state, queries);
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
