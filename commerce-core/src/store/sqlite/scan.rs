//! Reads whole tables row by row, for the audit and for copies.

use super::query::{read, select};
use super::rows::first_line;
use super::{auth, sales};
use crate::error::StoreError;
use crate::id::OrderId;
use crate::model::auth::TokenHash;
use crate::model::order::{LineCancellation, Order};
use crate::store::columns::{self, Entity, KEY_RECORD, LINE, LINE_COLUMNS, PURCHASE, SETTINGS};
use crate::store::deliveries::{EPOCHS, NEXT_EVENT};
use crate::store::values::get;
use crate::store::{Record, Table, visit_with_digest};
use rusqlite::{Connection, Row};
use std::ops::ControlFlow;

type Visit<'a> = &'a mut dyn FnMut(Record) -> ControlFlow<()>;

pub(super) fn scan(db: &Connection, table: Table, visit: Visit<'_>) -> Result<(), StoreError> {
    match table {
        Table::Accounts => entity(db, visit, Record::Account),
        Table::Products => entity(db, visit, Record::Product),
        Table::StockMovements => entity(db, visit, Record::StockMovement),
        Table::Carts => {
            let sql = "SELECT customer_id, product_id, quantity FROM cart_lines ORDER BY 1, 2";
            each(db, sql, visit, |row| {
                let (customer_id, product_id, quantity) = (row.get(0)?, row.get(1)?, row.get(2)?);
                Ok(Record::CartLine { customer_id, product_id, quantity })
            })
        }
        Table::Coupons => entity(db, visit, Record::Coupon),
        Table::OwnedCoupons => with_digest(db, visit, Record::OwnedCoupon),
        Table::Orders => orders(db, visit),
        Table::Purchases => {
            let sql = format!("SELECT {PURCHASE} FROM purchases ORDER BY 1, 2");
            each(db, &sql, visit, |row| columns::purchase(row).map(Record::Purchase))
        }
        Table::Charges => with_digest(db, visit, Record::Charge),
        Table::Refunds => with_digest(db, visit, Record::Refund),
        Table::Ledger => with_digest(db, visit, Record::LedgerEntry),
        Table::Events => entity(db, visit, Record::Event),
        Table::Epochs => each(db, EPOCHS, visit, |row| read(row).map(Record::Epoch)),
        Table::Relay => each(db, NEXT_EVENT, visit, |row| row.get(0).map(Record::NextEvent)),
        Table::Deliveries => entity(db, visit, Record::Delivery),
        Table::Keys => {
            let sql =
                format!("SELECT key, owner, {KEY_RECORD} FROM idempotency_keys ORDER BY 1, 2");
            each(db, &sql, visit, |row| {
                let (key, owner) = (get(row, 0)?, row.get(1)?);
                Ok(Record::Key { key, owner, record: columns::key_record(row, 2)? })
            })
        }
        Table::Sales => {
            let mut flow = ControlFlow::Continue(());
            sales::scan(db, &mut |record| {
                if flow.is_continue() {
                    flow = visit(record);
                }
            })
        }
        Table::Credentials => {
            let sql = format!("{} ORDER BY 1", auth::credentials_from());
            each(db, &sql, visit, |row| columns::credentials(row).map(Record::Credentials))
        }
        Table::Settings => {
            each(db, SETTINGS, visit, |row| columns::settings(row).map(Record::Settings))
        }
        Table::Tokens => entity(db, visit, Record::Token),
        Table::AuditTrail => entity(db, visit, Record::AuditEntry),
        Table::Sessions => {
            let sql =
                "SELECT customer_id, created_at, expires_at, token FROM sessions ORDER BY token";
            each(db, sql, visit, |row| {
                let token = TokenHash::new(row.get(3)?);
                columns::session(row, token).map(Record::Session)
            })
        }
    }
}

/// Visits the rows of an entity, in the order of their key.
fn entity<T: Entity>(
    db: &Connection,
    visit: Visit<'_>,
    record: fn(T) -> Record,
) -> Result<(), StoreError> {
    each(db, &select::<T>("ORDER BY 1"), visit, |row| read(row).map(record))
}

/// Visits the rows of an entity with a digest, each after its digest.
fn with_digest<T: Entity>(
    db: &Connection,
    visit: Visit<'_>,
    record: fn(T) -> Record,
) -> Result<(), StoreError> {
    let mut select = db.prepare_cached(&select_with_digest::<T>())?;
    let last = select.column_count().saturating_sub(1);
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        if visit_with_digest(record(read(row)?), row.get(last)?, visit).is_break() {
            break;
        }
    }
    Ok(())
}

fn select_with_digest<T: Entity>() -> String {
    format!("SELECT {}, digest FROM {} ORDER BY id", T::SELECT, T::TABLE)
}

fn each(
    db: &Connection,
    sql: &str,
    visit: Visit<'_>,
    read: impl Fn(&Row<'_>) -> rusqlite::Result<Record>,
) -> Result<(), StoreError> {
    let mut select = db.prepare_cached(sql)?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        if visit(read(row)?).is_break() {
            break;
        }
    }
    Ok(())
}

/// Visits orders with their lines and cancellations: a merge of three scans in the order of the order's id.
fn orders(db: &Connection, visit: Visit<'_>) -> Result<(), StoreError> {
    let parts_sql = select::<LineCancellation>("ORDER BY order_id, number");
    let mut select = db.prepare_cached(&select_with_digest::<Order>())?;
    let last = select.column_count().saturating_sub(1);
    let mut select_lines =
        db.prepare_cached(&format!("SELECT {LINE}, id FROM order_lines ORDER BY id"))?;
    let mut lines = select_lines.query([])?;
    let mut line = lines.next()?;
    let mut select_parts = db.prepare_cached(&parts_sql)?;
    let mut parts = select_parts.query_map([], read::<LineCancellation>)?.peekable();
    let mut orders = select.query([])?;
    while let Some(row) = orders.next()? {
        let mut order: Order = read(row)?;
        let digest = row.get(last)?;
        let end = first_line(OrderId::new(order.id.get().saturating_add(1)));
        while let Some(row) = line {
            let id: i64 = row.get(LINE_COLUMNS)?;
            if id >= end {
                break;
            }
            // The foreign key check finds lines without an order.
            if let Some(index) = id.checked_sub(first_line(order.id)).filter(|index| *index >= 0) {
                if usize::try_from(index) != Ok(order.lines.len()) {
                    let detail = format!(
                        "order {} has a line at index {index} and none before it",
                        order.id
                    );
                    return Err(StoreError::Corrupt(detail));
                }
                order.lines.push(columns::line(row)?);
            }
            line = lines.next()?;
        }
        // The foreign key check finds cancellations without an order.
        let is_of_order = |part: &rusqlite::Result<LineCancellation>| {
            part.as_ref().map_or(true, |part| part.order_id <= order.id)
        };
        while let Some(part) = parts.next_if(is_of_order) {
            let part = part?;
            if part.order_id == order.id {
                order.cancellations.push(part);
            }
        }
        if visit_with_digest(Record::Order(order), digest, visit).is_break() {
            break;
        }
    }
    Ok(())
}
