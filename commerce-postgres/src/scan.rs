//! Reads whole tables for the audit and for copies. A cursor fetches some rows at a time, so that neither side
//! holds the table in memory.

use crate::connection::Connection;
use crate::error::Failure;
use crate::query::Query;
use crate::rows::{Row, read};
use crate::sales;
use commerce_core::store::columns::{
    CREDENTIALS, Entity, KEY_RECORD, LINE, LINE_COLUMNS, PURCHASE, SETTINGS, credentials,
    key_record, line, purchase, session, settings,
};
use commerce_core::store::deliveries::{EPOCHS, NEXT_EVENT};
use commerce_core::store::values::get;
use commerce_core::store::{Record, Table, TokenHash, sales_rollup, visit_with_digest};
use commerce_core::{LineCancellation, Order, OrderId, OrderLine, StoreError};
use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::time::Duration;

/// Rows of a fetch: enough that round trips do not matter, few enough to hold in memory.
const FETCH_ROWS: usize = 1_000;

/// The timeout of a fetch of rows that are not in the server's memory yet: longer than the server's own.
const TIMEOUT: Duration = Duration::from_secs(40);

type Visit<'a> = &'a mut dyn FnMut(Record) -> ControlFlow<()>;

pub(crate) fn scan(
    connection: &mut Connection,
    table: Table,
    visit: Visit<'_>,
) -> Result<(), StoreError> {
    match table {
        Table::Accounts => entity(connection, visit, Record::Account),
        Table::Products => entity(connection, visit, Record::Product),
        Table::StockMovements => entity(connection, visit, Record::StockMovement),
        Table::Carts => {
            let sql = "SELECT customer_id, product_id, quantity FROM cart_lines ORDER BY 1, 2";
            records(connection, sql, visit, |row| {
                let (customer_id, product_id, quantity) =
                    (get(row, 0)?, get(row, 1)?, get(row, 2)?);
                Ok(Record::CartLine { customer_id, product_id, quantity })
            })
        }
        Table::Coupons => entity(connection, visit, Record::Coupon),
        Table::OwnedCoupons => with_digest(connection, visit, Record::OwnedCoupon),
        Table::Orders => orders(connection, visit),
        Table::Purchases => {
            let sql = format!("SELECT {PURCHASE} FROM purchases ORDER BY 1, 2");
            records(connection, &sql, visit, |row| purchase(row).map(Record::Purchase))
        }
        Table::Charges => with_digest(connection, visit, Record::Charge),
        Table::Refunds => with_digest(connection, visit, Record::Refund),
        Table::Ledger => with_digest(connection, visit, Record::LedgerEntry),
        Table::Events => entity(connection, visit, Record::Event),
        Table::Epochs => records(connection, EPOCHS, visit, |row| read(row).map(Record::Epoch)),
        Table::Relay => {
            records(connection, NEXT_EVENT, visit, |row| get(row, 0).map(Record::NextEvent))
        }
        Table::Deliveries => entity(connection, visit, Record::Delivery),
        Table::Keys => {
            let sql =
                format!("SELECT key, owner, {KEY_RECORD} FROM idempotency_keys ORDER BY 1, 2");
            records(connection, &sql, visit, |row| {
                let (key, owner, record) = (get(row, 0)?, get(row, 1)?, key_record(row, 2)?);
                Ok(Record::Key { key, owner, record })
            })
        }
        Table::Sales => {
            let sql = format!("SELECT {} FROM sales ORDER BY id", sales::BUCKET);
            each(connection, &sql, |row| {
                let (id, row) = sales::bucket(row)?;
                let mut flow = ControlFlow::Continue(());
                sales_rollup::visit_counts(id, &row, &mut |record| {
                    if flow.is_continue() {
                        flow = visit(record);
                    }
                })?;
                Ok(flow)
            })
        }
        Table::Settings => {
            records(connection, SETTINGS, visit, |row| settings(row).map(Record::Settings))
        }
        Table::Credentials => {
            let sql = format!(
                "SELECT {CREDENTIALS} FROM customers JOIN credentials ON customer_id = id ORDER BY 1"
            );
            records(connection, &sql, visit, |row| credentials(row).map(Record::Credentials))
        }
        Table::Tokens => entity(connection, visit, Record::Token),
        Table::AuditTrail => entity(connection, visit, Record::AuditEntry),
        Table::Sessions => {
            let sql =
                "SELECT customer_id, created_at, expires_at, token FROM sessions ORDER BY token";
            records(connection, sql, visit, |row| session(row, token(row, 3)?).map(Record::Session))
        }
    }
}

/// Visits the rows of an entity, in the order of their key.
fn entity<T: Entity>(
    connection: &mut Connection,
    visit: Visit<'_>,
    record: fn(T) -> Record,
) -> Result<(), StoreError> {
    let sql = format!("SELECT {} FROM {} ORDER BY 1", T::SELECT, T::TABLE);
    records(connection, &sql, visit, |row| read(row).map(record))
}

/// Visits the rows of an entity with a digest, each after its digest.
fn with_digest<T: Entity>(
    connection: &mut Connection,
    visit: Visit<'_>,
    record: fn(T) -> Record,
) -> Result<(), StoreError> {
    each(connection, &select_with_digest::<T>(), |row| {
        Ok(visit_with_digest(record(read(row)?), last_column(row)?, visit))
    })
}

fn select_with_digest<T: Entity>() -> String {
    format!("SELECT {}, digest FROM {} ORDER BY id", T::SELECT, T::TABLE)
}

/// Returns the digest of a row, which is its last column.
fn last_column(row: &Row) -> Result<Option<i64>, StoreError> {
    get(row, row.0.len().saturating_sub(1))
}

/// Reads the hash of a token.
pub(crate) fn token(row: &Row, column: usize) -> Result<TokenHash, StoreError> {
    let invalid = |_| StoreError::Corrupt("a token is not 32 bytes long".to_owned());
    Ok(TokenHash::new(bytes(row, column)?.try_into().map_err(invalid)?))
}

fn bytes(row: &Row, column: usize) -> Result<&[u8], StoreError> {
    row.try_get(column).map_err(|error| StoreError::Corrupt(error.to_string()))
}

fn records(
    connection: &mut Connection,
    sql: &str,
    visit: Visit<'_>,
    read: impl Fn(&Row) -> Result<Record, StoreError>,
) -> Result<(), StoreError> {
    each(connection, sql, |row| read(row).map(&mut *visit))
}

/// A cursor of the server, with the rows fetched last.
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
            let fetch = Query::new(format!("FETCH {FETCH_ROWS} FROM {}", self.name)).unprepared();
            let rows = connection
                .execute_with_timeout(TIMEOUT, &[fetch])
                .map_err(Failure::before_commit)?;
            self.fetched = rows.into_iter().flatten().collect();
            self.ended = self.fetched.len() < FETCH_ROWS;
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
    mut visit: impl FnMut(&Row) -> Result<ControlFlow<()>, StoreError>,
) -> Result<(), StoreError> {
    let mut cursor = Cursor::open(connection, "scanned", sql)?;
    while let Some(row) = cursor.next(connection)? {
        if visit(&row)?.is_break() {
            break;
        }
    }
    cursor.close(connection)
}

/// Visits orders with their lines and cancellations: a merge of three scans in the order of the order's id.
fn orders(connection: &mut Connection, visit: Visit<'_>) -> Result<(), StoreError> {
    let select = select_with_digest::<Order>();
    let select_lines =
        format!("SELECT {LINE}, order_id FROM order_lines ORDER BY order_id, position");
    let mut orders = Cursor::open(connection, "scanned", &select)?;
    let mut lines = Cursor::open(connection, "scanned_lines", &select_lines)?;
    let select_parts = format!(
        "SELECT {} FROM {} ORDER BY order_id, number",
        LineCancellation::SELECT,
        LineCancellation::TABLE
    );
    let mut parts = Cursor::open(connection, "scanned_parts", &select_parts)?;
    let mut next: Option<(OrderId, OrderLine)> = next_line(&mut lines, connection)?;
    let mut next_part: Option<LineCancellation> = next_entity(&mut parts, connection)?;
    while let Some(row) = orders.next(connection)? {
        let mut order: Order = read(&row)?;
        while let Some((_, line)) = next.take_if(|(id, _)| *id == order.id) {
            order.lines.push(line);
            next = next_line(&mut lines, connection)?;
        }
        while let Some(part) = next_part.take_if(|part| part.order_id <= order.id) {
            if part.order_id == order.id {
                order.cancellations.push(part);
            }
            next_part = next_entity(&mut parts, connection)?;
        }
        if visit_with_digest(Record::Order(order), last_column(&row)?, visit).is_break() {
            break;
        }
    }
    orders.close(connection)?;
    parts.close(connection)?;
    lines.close(connection)
}

fn next_entity<T: Entity>(
    rows: &mut Cursor,
    connection: &mut Connection,
) -> Result<Option<T>, StoreError> {
    rows.next(connection)?.map(|row| read(&row)).transpose()
}

fn next_line(
    lines: &mut Cursor,
    connection: &mut Connection,
) -> Result<Option<(OrderId, OrderLine)>, StoreError> {
    let row = lines.next(connection)?;
    row.map(|row| Ok((get(&row, LINE_COLUMNS)?, line(&row)?))).transpose()
}
