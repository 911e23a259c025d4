//! Saving what a batch has changed, kind by kind, those that others refer to first.

use super::rows::paid_and_refunded;
use super::{auth, deliveries, sales};
use crate::error::StoreError;
use crate::model::coupon::{Coupon, Discount};
use crate::model::event::Epoch;
use crate::model::order::Order;
use crate::state::{Change, State};
use rusqlite::{CachedStatement, Connection, params};

/// The place of a line in its order, within the key of `order_lines`.
pub(super) const LINE_BITS: u32 = 10;
const _: () = assert!(crate::limits::MAX_ORDER_LINES < 1 << LINE_BITS, "every line has a place");

pub(super) fn apply(db: &Connection, state: &State) -> Result<(), StoreError> {
    accounts(db, state)?;
    products(db, state)?;
    stock_movements(db, state)?;
    coupons(db, state)?;
    owned_coupons(db, state)?;
    orders(db, state)?;
    charges(db, state)?;
    ledger(db, state)?;
    events(db, state)?;
    state.epochs.iter().try_for_each(|epoch| put_epoch(db, epoch))?;
    deliveries::apply(db, &state.deliveries)?;
    carts(db, state)?;
    keys(db, state)?;
    auth::apply(db, state)?;
    sales::apply(db, &state.sales)
}

/// Saves an epoch, in place of the one that begins with the same event.
pub(super) fn put_epoch(db: &Connection, epoch: &Epoch) -> Result<(), StoreError> {
    let sql = "INSERT INTO epochs (first_event, name) VALUES (?1, ?2)
               ON CONFLICT (first_event) DO UPDATE SET name = excluded.name";
    db.prepare_cached(sql)?.execute(params![epoch.first_event, epoch.name])?;
    Ok(())
}

fn accounts(db: &Connection, state: &State) -> Result<(), StoreError> {
    for (account, change) in state.accounts.changed() {
        let customer = &account.customer;
        match change {
            Change::Inserted => db
                .prepare_cached(
                    "INSERT INTO customers
                     (id, name, role, created_at, balance, last_entry, last_order)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                )?
                .execute(params![
                    customer.id,
                    customer.name,
                    customer.role,
                    customer.created_at,
                    account.balance,
                    account.last_entry,
                    account.last_order
                ])?,
            Change::Updated | Change::None => db
                .prepare_cached(
                    "UPDATE customers SET balance = ?2, last_entry = ?3, last_order = ?4 WHERE id = ?1",
                )?
                .execute(params![customer.id, account.balance, account.last_entry, account.last_order])?,
        };
    }
    Ok(())
}

fn products(db: &Connection, state: &State) -> Result<(), StoreError> {
    for (product, change) in state.products.changed() {
        let sql = match change {
            Change::Inserted => {
                "INSERT INTO products (id, name, price, stock, status) VALUES (?1, ?2, ?3, ?4, ?5)"
            }
            Change::Updated | Change::None => {
                "UPDATE products SET name = ?2, price = ?3, stock = ?4, status = ?5 WHERE id = ?1"
            }
        };
        db.prepare_cached(sql)?.execute(params![
            product.id,
            product.name,
            product.price,
            product.stock,
            product.status
        ])?;
    }
    Ok(())
}

fn stock_movements(db: &Connection, state: &State) -> Result<(), StoreError> {
    for row in &state.stock_movements {
        db.prepare_cached(
            "INSERT INTO stock_movements (id, product_id, delta, reason, created_at)
             VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![
            row.id,
            row.product_id,
            row.delta,
            row.reason,
            row.created_at
        ])?;
    }
    Ok(())
}

fn coupons(db: &Connection, state: &State) -> Result<(), StoreError> {
    for (coupon, change) in state.coupons.changed() {
        match change {
            Change::Inserted => insert_coupon(db, coupon)?,
            Change::Updated | Change::None => {
                db.prepare_cached("UPDATE coupons SET issued = ?2 WHERE id = ?1")?
                    .execute(params![coupon.id, coupon.issued])?;
            }
        }
    }
    Ok(())
}

fn insert_coupon(db: &Connection, coupon: &Coupon) -> Result<(), StoreError> {
    let (amount, percent, max_amount) = match coupon.discount {
        Discount::Fixed { amount } => (Some(amount), None, None),
        Discount::Percent { percent, max_amount } => (None, Some(percent), max_amount),
    };
    db.prepare_cached(
        "INSERT INTO coupons (id, name, amount, percent, max_amount, min_order_amount, quantity, issued,
                              valid_from, valid_until)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    )?
    .execute(params![
        coupon.id,
        coupon.name,
        amount,
        percent,
        max_amount,
        coupon.min_order_amount,
        coupon.quantity,
        coupon.issued,
        coupon.valid_from,
        coupon.valid_until
    ])?;
    Ok(())
}

fn owned_coupons(db: &Connection, state: &State) -> Result<(), StoreError> {
    for (owned, change) in state.owned_coupons.changed() {
        match change {
            Change::Inserted => db
                .prepare_cached(
                    "INSERT INTO owned_coupons (id, coupon_id, customer_id, rank, order_id, claimed_at, digest)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                )?
                .execute(params![
                    owned.id,
                    owned.coupon_id,
                    owned.customer_id,
                    owned.rank,
                    owned.order_id,
                    owned.claimed_at,
                    state.digest(owned)
                ])?,
            Change::Updated | Change::None => db
                .prepare_cached("UPDATE owned_coupons SET order_id = ?2 WHERE id = ?1")?
                .execute(params![owned.id, owned.order_id])?,
        };
    }
    Ok(())
}

fn orders(db: &Connection, state: &State) -> Result<(), StoreError> {
    let changed = state.orders.changed();
    if changed.is_empty() {
        return Ok(());
    }
    let mut insert = db.prepare_cached(
        "INSERT INTO orders (id, customer_id, reference, status, subtotal, discount, total, paid, refunded,
                             owned_coupon_id, created_at, expires_at, paid_at, cancelled_at, previous,
                             digest)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
    )?;
    let mut insert_line = db.prepare_cached(
        "INSERT INTO order_lines (id, product_id, name, unit_price, quantity) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    let mut update = db.prepare_cached(
        "UPDATE orders SET status = ?2, paid = ?3, refunded = ?4, paid_at = ?5, cancelled_at = ?6
         WHERE id = ?1",
    )?;
    for (order, change) in changed {
        let (paid, refunded) = paid_and_refunded(order);
        if change == Change::Inserted {
            insert.execute(params![
                order.id,
                order.customer_id,
                order.reference,
                order.status,
                order.subtotal,
                order.discount,
                order.total,
                paid,
                refunded,
                order.owned_coupon_id,
                order.created_at,
                order.expires_at,
                order.paid_at,
                order.cancelled_at,
                order.previous,
                state.digest(order)
            ])?;
            insert_lines(&mut insert_line, order)?;
        } else {
            let (paid_at, cancelled_at) = (order.paid_at, order.cancelled_at);
            update.execute(params![
                order.id,
                order.status,
                paid,
                refunded,
                paid_at,
                cancelled_at
            ])?;
        }
    }
    Ok(())
}

fn insert_lines(insert: &mut CachedStatement<'_>, order: &Order) -> Result<(), StoreError> {
    for (id, line) in (first_line(order.id)..).zip(&order.lines) {
        insert.execute(params![id, line.product_id, line.name, line.unit_price, line.quantity])?;
    }
    Ok(())
}

/// The key of an order's first line.
pub(super) fn first_line(order: crate::id::OrderId) -> i64 {
    order.get() << LINE_BITS
}

fn charges(db: &Connection, state: &State) -> Result<(), StoreError> {
    for (row, change) in state.charges.changed() {
        let source = row.source.as_ref();
        match change {
            Change::Inserted => db
                .prepare_cached(
                    "INSERT INTO charges (id, customer_id, amount, status, created_at, gateway, reference,
                                          payment_method, failure, settled_at, balance_after,
                                          digest)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
                )?
                .execute(params![
                    row.id,
                    row.customer_id,
                    row.amount,
                    row.status,
                    row.created_at,
                    source.map(|source| &source.gateway),
                    source.map(|source| &source.reference),
                    source.and_then(|source| source.payment_method.as_ref()),
                    row.failure,
                    row.settled_at,
                    row.balance_after,
                    state.digest(row)
                ])?,
            Change::Updated | Change::None => db
                .prepare_cached(
                    "UPDATE charges SET status = ?2, failure = ?3, settled_at = ?4, balance_after = ?5
                     WHERE id = ?1",
                )?
                .execute(params![
                    row.id,
                    row.status,
                    row.failure,
                    row.settled_at,
                    row.balance_after
                ])?,
        };
    }
    Ok(())
}

fn ledger(db: &Connection, state: &State) -> Result<(), StoreError> {
    if state.ledger.is_empty() {
        return Ok(());
    }
    let mut insert = db.prepare_cached(
        "INSERT INTO ledger (id, customer_id, kind, amount, balance_after, order_id, charge_id, note,
                             created_at, previous, digest)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    )?;
    for entry in &state.ledger {
        insert.execute(params![
            entry.id,
            entry.customer_id,
            entry.kind,
            entry.amount,
            entry.balance_after,
            entry.order_id,
            entry.charge_id,
            entry.note,
            entry.created_at,
            entry.previous,
            state.digest(entry)
        ])?;
    }
    Ok(())
}

fn events(db: &Connection, state: &State) -> Result<(), StoreError> {
    if state.events.is_empty() {
        return Ok(());
    }
    let mut insert = db.prepare_cached(
        "INSERT INTO events (id, kind, order_id, trace, created_at) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    for event in &state.events {
        insert.execute(params![
            event.id,
            event.kind,
            event.order_id,
            event.trace,
            event.created_at
        ])?;
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
    let mut insert = db.prepare_cached(
        "INSERT INTO idempotency_keys (key, owner, fingerprint, answer, created_at, digest)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    for (key, owner, record) in new {
        let answer = serde_json::to_string(&record.answer);
        let answer = answer.map_err(|error| StoreError::Corrupt(error.to_string()))?;
        insert.execute(params![
            key.as_str(),
            owner,
            record.fingerprint,
            answer,
            record.created_at,
            record.digest
        ])?;
    }
    Ok(())
}
