//! Loading what a batch may touch: each kind by its own prepared statement.

use super::rows::{self, ACCOUNT, CHARGE, COUPON, EVENT, OWNED_COUPON, PRODUCT};
use super::{auth, deliveries, read};
use crate::clock::Timestamp;
use crate::error::StoreError;
use crate::id::OrderId;
use crate::limits::EXPIRY_BATCH;
use crate::model::cart::CartLines;
use crate::state::{Needs, NextIds, Rows, State};
use crate::store::columns::{TABLES_WITH_IDS, next_ids as next_ids_after};
use rusqlite::{Connection, OptionalExtension, Row, ToSql, params};
use std::collections::BTreeSet;
use std::hash::Hash;
use std::sync::LazyLock;

/// The greatest id of each kind in use; asked for in every transaction.
static NEWEST_IDS: LazyLock<String> = LazyLock::new(|| {
    let newest = TABLES_WITH_IDS.map(|table| format!("(SELECT max(id) FROM {table})"));
    format!("SELECT {}", newest.join(", "))
});

pub(super) fn load(db: &Connection, needs: &Needs, state: &mut State) -> Result<(), StoreError> {
    by_id(db, "customers", ACCOUNT, &needs.accounts, &mut state.accounts, rows::account)?;
    by_id(db, "products", PRODUCT, &needs.products, &mut state.products, rows::product)?;
    by_id(db, "coupons", COUPON, &needs.coupons, &mut state.coupons, rows::coupon)?;
    by_id(
        db,
        "owned_coupons",
        OWNED_COUPON,
        &needs.owned_coupons,
        &mut state.owned_coupons,
        rows::owned_coupon,
    )?;
    by_id(db, "charges", CHARGE, &needs.charges, &mut state.charges, rows::charge)?;
    load_pending_charges(db, needs, state)?;
    by_id(db, "events", EVENT, &needs.events, &mut state.known_events, rows::event)?;
    deliveries::load(db, needs, &mut state.deliveries)?;
    load_carts(db, needs, state)?;
    load_claims(db, needs, state)?;
    load_keys(db, needs, state)?;
    auth::load(db, needs, state)?;
    for id in &needs.orders {
        state.orders.provide(*id, read::order(db, *id)?);
    }
    if let Some(now) = needs.due_orders {
        load_due_orders(db, now, state)?;
    }
    if needs.ids {
        state.ids = Some(next_ids(db)?);
    }
    Ok(())
}

fn by_id<K: Copy + Ord + Hash + ToSql, V>(
    db: &Connection,
    table: &str,
    columns: &str,
    ids: &BTreeSet<K>,
    into: &mut Rows<K, V>,
    read: fn(&Row<'_>) -> rusqlite::Result<V>,
) -> Result<(), StoreError> {
    if ids.is_empty() {
        return Ok(());
    }
    let mut select = db.prepare_cached(&format!("SELECT {columns} FROM {table} WHERE id = ?1"))?;
    for id in ids {
        into.provide(*id, select.query_row([id], read).optional()?);
    }
    Ok(())
}

fn load_pending_charges(
    db: &Connection,
    needs: &Needs,
    state: &mut State,
) -> Result<(), StoreError> {
    if needs.pending_charges.is_empty() {
        return Ok(());
    }
    let mut select = db.prepare_cached(&format!(
        "SELECT {CHARGE} FROM charges WHERE status = 'pending' AND customer_id = ?1"
    ))?;
    for customer in &needs.pending_charges {
        for row in select.query_map([customer], rows::charge)? {
            let row = row?;
            state.charges.provide(row.id, Some(row));
        }
        state.pending_charges.insert(*customer);
    }
    Ok(())
}

fn load_carts(db: &Connection, needs: &Needs, state: &mut State) -> Result<(), StoreError> {
    for customer in &needs.carts {
        let lines: CartLines = read::cart(db, *customer)?;
        state.carts.provide(*customer, Some((*customer, lines)));
    }
    Ok(())
}

fn load_claims(db: &Connection, needs: &Needs, state: &mut State) -> Result<(), StoreError> {
    if needs.claims.is_empty() {
        return Ok(());
    }
    let mut select = db.prepare_cached(&format!(
        "SELECT {OWNED_COUPON} FROM owned_coupons WHERE coupon_id = ?1 AND customer_id = ?2"
    ))?;
    for claim in &needs.claims {
        let owned =
            select.query_row([claim.0.get(), claim.1.get()], rows::owned_coupon).optional()?;
        state.claims.provide(*claim, owned.as_ref().map(|owned| owned.id));
        if let Some(owned) = owned {
            state.owned_coupons.provide(owned.id, Some(owned));
        }
    }
    Ok(())
}

fn load_keys(db: &Connection, needs: &Needs, state: &mut State) -> Result<(), StoreError> {
    if needs.keys.is_empty() {
        return Ok(());
    }
    let mut select = db.prepare_cached(
        "SELECT fingerprint, answer, created_at, digest FROM idempotency_keys WHERE key = ?1 AND owner = ?2",
    )?;
    for (key, owner) in &needs.keys {
        let read = |row: &Row<'_>| rows::key_record(row, 0);
        let record = select.query_row(params![key.as_str(), owner], read).optional()?;
        state.provide_key(key.clone(), *owner, record);
    }
    Ok(())
}

fn load_due_orders(db: &Connection, now: Timestamp, state: &mut State) -> Result<(), StoreError> {
    let mut select = db.prepare_cached(
        "SELECT id FROM orders WHERE status = 'pending' AND expires_at <= ?1
         ORDER BY expires_at, id LIMIT ?2",
    )?;
    let limit = i64::try_from(EXPIRY_BATCH).unwrap_or(i64::MAX);
    let due = select.query_map(params![now, limit], |row| row.get(0))?;
    let due: Vec<OrderId> = due.collect::<rusqlite::Result<_>>()?;
    for id in &due {
        state.orders.provide(*id, read::order(db, *id)?);
    }
    state.due_orders = Some(due);
    Ok(())
}

fn next_ids(db: &Connection) -> Result<NextIds, StoreError> {
    let mut select = db.prepare_cached(&NEWEST_IDS)?;
    Ok(select.query_row([], |row| next_ids_after(row))?)
}
