//! Reading whole tables for the audit and for copies, some rows at a time: a cursor keeps its target, and
//! neither side ever holds the table.

use crate::connection::{Connection, Query};
use crate::error::Failure;
use crate::rows::Row;
use crate::rows::{self, LINE};
use commerce_core::store::columns::{
    ACCOUNT, CHARGE, COUPON, CREDENTIALS, DELIVERY, EVENT, KEY_RECORD, LEDGER, MOVEMENT, ORDER,
    OWNED_COUPON, PRODUCT, get, key_record, line, session,
};
use commerce_core::store::deliveries::{EPOCHS, NEXT_EVENT};
use commerce_core::store::{Record, Table, TokenHash, sales_rollup, visit_with_digest};
use commerce_core::{OrderId, OrderLine, StoreError};
use std::collections::VecDeque;
use std::time::Duration;

/// Rows fetched at a time: enough that round trips do not count, few enough to hold.
const FETCHED: usize = 1_000;

/// How long they may take, where none of them is in memory yet: longer than the server lets them.
const TIMEOUT: Duration = Duration::from_secs(40);

type Visit<'a> = &'a mut dyn FnMut(Record);

pub(crate) fn scan(
    connection: &mut Connection,
    table: Table,
    visit: Visit<'_>,
) -> Result<(), StoreError> {
    let by_id = |columns: &str, name: &str| format!("SELECT {columns} FROM {name} ORDER BY id");
    let mut each = |sql: &str, read: fn(&Row) -> Result<Record, StoreError>| {
        each(connection, sql, |row| read(row).map(&mut *visit))
    };
    match table {
        Table::Accounts => {
            each(&by_id(ACCOUNT, "customers"), |row| rows::account(row).map(Record::Account))
        }
        Table::Products => {
            each(&by_id(PRODUCT, "products"), |row| rows::product(row).map(Record::Product))
        }
        Table::StockMovements => each(&by_id(MOVEMENT, "stock_movements"), |row| {
            rows::movement(row).map(Record::StockMovement)
        }),
        Table::Carts => {
            each("SELECT customer_id, product_id, quantity FROM cart_lines ORDER BY 1, 2", |row| {
                let (customer_id, product_id, quantity) =
                    (get(row, 0)?, get(row, 1)?, get(row, 2)?);
                Ok(Record::CartLine { customer_id, product_id, quantity })
            })
        }
        Table::Coupons => {
            each(&by_id(COUPON, "coupons"), |row| rows::coupon(row).map(Record::Coupon))
        }
        Table::OwnedCoupons => digested(
            connection,
            &by_id(&format!("{OWNED_COUPON}, digest"), "owned_coupons"),
            visit,
            |row| rows::owned_coupon(row).map(Record::OwnedCoupon),
        ),
        Table::Orders => orders(connection, visit),
        Table::Charges => {
            digested(connection, &by_id(&format!("{CHARGE}, digest"), "charges"), visit, |row| {
                rows::charge(row).map(Record::Charge)
            })
        }
        Table::Ledger => {
            digested(connection, &by_id(&format!("{LEDGER}, digest"), "ledger"), visit, |row| {
                rows::ledger_entry(row).map(Record::LedgerEntry)
            })
        }
        Table::Events => each(&by_id(EVENT, "events"), |row| rows::event(row).map(Record::Event)),
        Table::Epochs => each(EPOCHS, |row| rows::epoch(row).map(Record::Epoch)),
        Table::Relay => each(NEXT_EVENT, |row| get(row, 0).map(Record::NextEvent)),
        Table::Deliveries => {
            each(&format!("SELECT {DELIVERY} FROM deliveries ORDER BY event_id"), |row| {
                rows::delivery(row).map(Record::Delivery)
            })
        }
        Table::Keys => {
            let sql =
                format!("SELECT key, owner, {KEY_RECORD} FROM idempotency_keys ORDER BY 1, 2");
            each(&sql, |row| {
                let (key, owner, record) = (get(row, 0)?, get(row, 1)?, key_record(row, 2)?);
                Ok(Record::Key { key, owner, record })
            })
        }
        Table::Sales => {
            crate::scan::each(connection, "SELECT id, counts FROM sales ORDER BY id", |row| {
                sales_rollup::show(get(row, 0)?, bytes(row, 1)?, visit)
            })
        }
        Table::Credentials => {
            let sql = format!(
                "SELECT {CREDENTIALS} FROM customers JOIN credentials ON customer_id = id ORDER BY 1"
            );
            each(&sql, |row| rows::credentials(row).map(Record::Credentials))
        }
        Table::Sessions => {
            let sql =
                "SELECT customer_id, created_at, expires_at, token FROM sessions ORDER BY token";
            each(sql, |row| {
                let wrong = |_| StoreError::Corrupt("a token is not 32 bytes long".to_owned());
                let token = TokenHash::new(bytes(row, 3)?.try_into().map_err(wrong)?);
                session(row, token).map(Record::Session)
            })
        }
    }
}

/// Shows each row after its digest, which is its last column.
fn digested(
    connection: &mut Connection,
    sql: &str,
    visit: Visit<'_>,
    read: fn(&Row) -> Result<Record, StoreError>,
) -> Result<(), StoreError> {
    each(connection, sql, |row| {
        visit_with_digest(read(row)?, last_column(row)?, visit);
        Ok(())
    })
}

/// The digest of a row, which is read last.
fn last_column(row: &Row) -> Result<Option<i64>, StoreError> {
    get(row, row.0.len().saturating_sub(1))
}

fn bytes(row: &Row, column: usize) -> Result<&[u8], StoreError> {
    row.try_get(column).map_err(|error| StoreError::Corrupt(error.to_string()))
}

/// A cursor, which keeps its target in what a statement answers.
struct Cursor {
    name: &'static str,
    fetched: VecDeque<Row>,
    ended: bool,
}

impl Cursor {
    fn open(
        connection: &mut Connection,
        name: &'static str,
        sql: &str,
    ) -> Result<Self, StoreError> {
        let declare = format!("DECLARE {name} NO SCROLL CURSOR FOR {sql}");
        connection.run(&declare).map_err(Failure::before_commit)?;
        Ok(Self { name, fetched: VecDeque::new(), ended: false })
    }

    fn next(&mut self, connection: &mut Connection) -> Result<Option<Row>, StoreError> {
        if self.fetched.is_empty() && !self.ended {
            let fetch = Query::new(format!("FETCH {FETCHED} FROM {}", self.name)).unprepared();
            let rows = connection
                .execute_with_timeout(TIMEOUT, &[fetch])
                .map_err(Failure::before_commit)?;
            self.fetched = rows.into_iter().flatten().collect();
            self.ended = self.fetched.len() < FETCHED;
        }
        Ok(self.fetched.pop_front())
    }

    fn close(self, connection: &mut Connection) -> Result<(), StoreError> {
        connection.run(&format!("CLOSE {}", self.name)).map_err(Failure::before_commit)
    }
}

fn each(
    connection: &mut Connection,
    sql: &str,
    mut take: impl FnMut(&Row) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut rows = Cursor::open(connection, "scanned", sql)?;
    while let Some(row) = rows.next(connection)? {
        take(&row)?;
    }
    rows.close(connection)
}

/// Orders and lines, read side by side: both are in the order of the order's id.
fn orders(connection: &mut Connection, visit: Visit<'_>) -> Result<(), StoreError> {
    let select = format!("SELECT {ORDER}, digest FROM orders ORDER BY id");
    let select_lines = format!("SELECT {LINE} FROM order_lines ORDER BY order_id, position");
    let mut orders = Cursor::open(connection, "scanned", &select)?;
    let mut lines = Cursor::open(connection, "scanned_lines", &select_lines)?;
    let mut next: Option<(OrderId, OrderLine)> = next_line(&mut lines, connection)?;
    while let Some(row) = orders.next(connection)? {
        let mut order = rows::order(&row)?;
        while let Some((_, line)) = next.take_if(|(id, _)| *id == order.id) {
            order.lines.push(line);
            next = next_line(&mut lines, connection)?;
        }
        visit_with_digest(Record::Order(order), last_column(&row)?, visit);
    }
    orders.close(connection)?;
    lines.close(connection)
}

fn next_line(
    lines: &mut Cursor,
    connection: &mut Connection,
) -> Result<Option<(OrderId, OrderLine)>, StoreError> {
    let row = lines.next(connection)?;
    row.map(|row| Ok((get(&row, 4)?, line(&row)?))).transpose()
}
