//! Reading whole tables, row by row, for the audit and for copies.

use super::apply::first_line;
use super::rows::{
    self, ACCOUNT, CHARGE, COUPON, DELIVERY, EVENT, LEDGER, LINE, MOVEMENT, ORDER, OWNED_COUPON,
    PRODUCT,
};
use super::{auth, sales};
use crate::error::StoreError;
use crate::id::OrderId;
use crate::model::auth::TokenHash;
use crate::model::order::Order;
use crate::store::columns::KEY_RECORD;
use crate::store::deliveries::{EPOCHS, NEXT_EVENT};
use crate::store::{Record, Table, visit_with_digest};
use rusqlite::{Connection, Row};

type Visit<'a> = &'a mut dyn FnMut(Record);

pub(super) fn scan(db: &Connection, table: Table, visit: Visit<'_>) -> Result<(), StoreError> {
    let by_id = |columns: &str, name: &str| format!("SELECT {columns} FROM {name} ORDER BY id");
    let with_digest = |columns: &str, name: &str| by_id(&format!("{columns}, digest"), name);
    match table {
        Table::Accounts => each(db, &by_id(ACCOUNT, "customers"), visit, |row| {
            rows::account(row).map(Record::Account)
        }),
        Table::Products => each(db, &by_id(PRODUCT, "products"), visit, |row| {
            rows::product(row).map(Record::Product)
        }),
        Table::StockMovements => each(db, &by_id(MOVEMENT, "stock_movements"), visit, |row| {
            rows::movement(row).map(Record::StockMovement)
        }),
        Table::Carts => {
            let sql = "SELECT customer_id, product_id, quantity FROM cart_lines ORDER BY 1, 2";
            each(db, sql, visit, |row| {
                let (customer_id, product_id, quantity) = (row.get(0)?, row.get(1)?, row.get(2)?);
                Ok(Record::CartLine { customer_id, product_id, quantity })
            })
        }
        Table::Coupons => {
            each(db, &by_id(COUPON, "coupons"), visit, |row| rows::coupon(row).map(Record::Coupon))
        }
        Table::OwnedCoupons => {
            digested(db, &with_digest(OWNED_COUPON, "owned_coupons"), visit, |row| {
                rows::owned_coupon(row).map(Record::OwnedCoupon)
            })
        }
        Table::Orders => orders(db, visit),
        Table::Charges => digested(db, &with_digest(CHARGE, "charges"), visit, |row| {
            rows::charge(row).map(Record::Charge)
        }),
        Table::Ledger => digested(db, &with_digest(LEDGER, "ledger"), visit, |row| {
            rows::ledger_entry(row).map(Record::LedgerEntry)
        }),
        Table::Events => {
            each(db, &by_id(EVENT, "events"), visit, |row| rows::event(row).map(Record::Event))
        }
        Table::Epochs => each(db, EPOCHS, visit, |row| rows::epoch(row).map(Record::Epoch)),
        Table::Relay => each(db, NEXT_EVENT, visit, |row| row.get(0).map(Record::NextEvent)),
        Table::Deliveries => {
            let sql = format!("SELECT {DELIVERY} FROM deliveries ORDER BY event_id");
            each(db, &sql, visit, |row| rows::delivery(row).map(Record::Delivery))
        }
        Table::Keys => {
            let sql =
                format!("SELECT key, owner, {KEY_RECORD} FROM idempotency_keys ORDER BY 1, 2");
            each(db, &sql, visit, |row| {
                let (key, owner, record) =
                    (rows::get(row, 0)?, row.get(1)?, rows::key_record(row, 2)?);
                Ok(Record::Key { key, owner, record })
            })
        }
        Table::Sales => sales::scan(db, visit),
        Table::Credentials => {
            let sql = format!("{} ORDER BY 1", auth::credentials_from());
            each(db, &sql, visit, |row| rows::credentials(row).map(Record::Credentials))
        }
        Table::Sessions => {
            let sql =
                "SELECT customer_id, created_at, expires_at, token FROM sessions ORDER BY token";
            each(db, sql, visit, |row| {
                let token = TokenHash::new(row.get(3)?);
                rows::session(row, token).map(Record::Session)
            })
        }
    }
}

fn each(
    db: &Connection,
    sql: &str,
    visit: Visit<'_>,
    read: fn(&Row<'_>) -> rusqlite::Result<Record>,
) -> Result<(), StoreError> {
    let mut select = db.prepare_cached(sql)?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        visit(read(row)?);
    }
    Ok(())
}

/// As [`each`], where the last column is the row's digest.
fn digested(
    db: &Connection,
    sql: &str,
    visit: Visit<'_>,
    read: fn(&Row<'_>) -> rusqlite::Result<Record>,
) -> Result<(), StoreError> {
    let mut select = db.prepare_cached(sql)?;
    let last = select.column_count().saturating_sub(1);
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        visit_with_digest(read(row)?, row.get(last)?, visit);
    }
    Ok(())
}

/// Orders and lines, read side by side: both are in the order of the order's id.
fn orders(db: &Connection, visit: Visit<'_>) -> Result<(), StoreError> {
    let mut select =
        db.prepare_cached(&format!("SELECT {ORDER}, digest FROM orders ORDER BY id"))?;
    let last = select.column_count().saturating_sub(1);
    let mut select_lines =
        db.prepare_cached(&format!("SELECT {LINE} FROM order_lines ORDER BY id"))?;
    let mut lines = select_lines.query([])?;
    let mut line = lines.next()?;
    let mut orders = select.query([])?;
    while let Some(row) = orders.next()? {
        let mut order: Order = rows::order(row)?;
        let digest = row.get(last)?;
        let end = first_line(OrderId::new(order.id.get().saturating_add(1)));
        while let Some(row) = line {
            let id: i64 = row.get(4)?;
            if id >= end {
                break;
            }
            // Lines of no order at all are found by the check of foreign keys.
            if let Some(index) = id.checked_sub(first_line(order.id)).filter(|index| *index >= 0) {
                if usize::try_from(index) != Ok(order.lines.len()) {
                    let detail = format!(
                        "order {} has a line at index {index} and none before it",
                        order.id
                    );
                    return Err(StoreError::Corrupt(detail));
                }
                order.lines.push(rows::line(row)?);
            }
            line = lines.next()?;
        }
        visit_with_digest(Record::Order(order), digest, visit);
    }
    Ok(())
}
