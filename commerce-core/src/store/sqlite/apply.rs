//! Saves the changes of a batch table by table, referenced rows before the rows that refer to them.

use super::query::{insert, insert_rows, insert_values, save, text, upsert};
use super::rows::first_line;
use super::{auth, deliveries, sales};
use crate::error::StoreError;
use crate::model::order::Order;
use crate::state::{Change, State};
use crate::store::columns::{LINE, LINE_COLUMNS, PURCHASE};
use crate::store::values::IntoValue;
use rusqlite::{Connection, params};

pub(super) fn apply(db: &Connection, state: &State) -> Result<(), StoreError> {
    save(db, state, &state.accounts.changed())?;
    save(db, state, &state.products.changed())?;
    insert(db, state, &state.stock_movements)?;
    save(db, state, &state.coupons.changed())?;
    save(db, state, &state.owned_coupons.changed())?;
    let orders = state.orders.changed();
    save(db, state, &orders)?;
    insert_lines(db, &orders)?;
    insert(db, state, &state.cancellations)?;
    purchases(db, state)?;
    save(db, state, &state.charges.changed())?;
    save(db, state, &state.refunds.changed())?;
    insert(db, state, &state.ledger)?;
    insert(db, state, &state.events)?;
    save(db, state, &state.tokens.changed())?;
    insert(db, state, &state.audit_trail)?;
    upsert(db, state, &state.epochs)?;
    deliveries::apply(db, state)?;
    carts(db, state)?;
    keys(db, state)?;
    auth::apply(db, state)?;
    sales::apply(db, &state.sales)?;
    if let Some(settings) = state.settings {
        db.execute("UPDATE store SET zone = ?1", [settings.zone.name()])?;
    }
    Ok(())
}

fn insert_lines(db: &Connection, orders: &[(&Order, Change)]) -> Result<(), StoreError> {
    let new = orders.iter().filter(|(_, change)| *change == Change::Inserted);
    let lines: Vec<_> =
        new.flat_map(|(order, _)| (first_line(order.id)..).zip(&order.lines)).collect();
    let sql = |size| {
        text("order_lines", "insert", size, || {
            insert_rows(&format!("order_lines (id, {LINE})"), LINE_COLUMNS.saturating_add(1), size)
        })
    };
    insert_values(db, sql, &lines, |(id, line)| {
        [
            id.into_value(),
            line.product_id.into_value(),
            line.name.as_str().into_value(),
            line.unit_price.into_value(),
            line.quantity.into_value(),
            line.reduced_from().into_value(),
        ]
    })
}

fn purchases(db: &Connection, state: &State) -> Result<(), StoreError> {
    for product in state.purchases.cleared() {
        db.prepare_cached("DELETE FROM purchases WHERE product_id = ?1")?.execute([product])?;
    }
    let (kept, gone) = state.purchases.changed();
    for row in gone {
        let sql = "DELETE FROM purchases WHERE product_id = ?1 AND customer_id = ?2";
        db.prepare_cached(sql)?.execute(params![row.product_id, row.customer_id])?;
    }
    for row in kept {
        let sql = format!(
            "INSERT INTO purchases ({PURCHASE}) VALUES (?1, ?2, ?3)
             ON CONFLICT (product_id, customer_id) DO UPDATE SET units = excluded.units"
        );
        let values = params![row.product_id, row.customer_id, row.units];
        db.prepare_cached(&sql)?.execute(values)?;
    }
    Ok(())
}

fn carts(db: &Connection, state: &State) -> Result<(), StoreError> {
    for ((customer, lines), _) in state.carts.changed() {
        db.prepare_cached("DELETE FROM cart_lines WHERE customer_id = ?1")?.execute([customer])?;
        for (product, quantity) in lines {
            db.prepare_cached(
                "INSERT INTO cart_lines (customer_id, product_id, quantity) VALUES (?1, ?2, ?3)",
            )?
            .execute(params![customer, product, quantity])?;
        }
    }
    Ok(())
}

fn keys(db: &Connection, state: &State) -> Result<(), StoreError> {
    let new = state.new_keys();
    if new.is_empty() {
        return Ok(());
    }
    let unwritable = |error: serde_json::Error| StoreError::Corrupt(error.to_string());
    let mut rows = Vec::with_capacity(new.len());
    for (key, owner, record) in new {
        let answer = serde_json::to_string(&record.answer).map_err(unwritable)?;
        let request = record.request.as_ref().map(serde_json::to_string).transpose();
        rows.push((key, owner, record, answer, request.map_err(unwritable)?));
    }
    let into = "idempotency_keys (key, owner, fingerprint, answer, created_at, digest, request)";
    let sql = |size| text("idempotency_keys", "insert", size, || insert_rows(into, 7, size));
    insert_values(db, sql, &rows, |(key, owner, record, answer, request)| {
        [
            key.as_str().into_value(),
            owner.into_value(),
            record.fingerprint.into_value(),
            answer.as_str().into_value(),
            record.created_at.into_value(),
            record.digest.into_value(),
            request.as_deref().into_value(),
        ]
    })
}
