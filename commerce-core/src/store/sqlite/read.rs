//! Snapshots: each list is read by its key, each history backwards along its chain.

use super::connection::{ConnectionManager, Reader};
use super::error::failed_read;
use super::query::{limit, many, one, read, select};
use super::rows::first_line;
use super::{auth, sales, scan};
use crate::clock::Timestamp;
use crate::error::StoreError;
use crate::id::{
    AuditEntryId, ChargeId, CouponId, CustomerId, EventId, Key, LedgerEntryId, OrderId,
    OwnedCouponId, ProductId, RefundId, StockMovementId, TokenId,
};
use crate::idempotency::IdempotencyRecord;
use crate::model::audit_trail::{Actor, AuditEntry, SubjectKind};
use crate::model::auth::{Credentials, LoginAttempts, LoginHash, SessionRow, TokenHash};
use crate::model::cart::CartLines;
use crate::model::coupon::{Coupon, OwnedCoupon};
use crate::model::delivery::{DeliveryRow, Outbox};
use crate::model::event::{Epoch, EventRow};
use crate::model::order::{LineCancellation, Order, OrderStatus, PartPosition};
use crate::model::product::{Product, StockMovement};
use crate::model::refund::RefundRow;
use crate::model::sale::{Figures, Sold};
use crate::model::settings::Settings;
use crate::model::token::Token;
use crate::model::wallet::{Account, ChargeRow, Customer, LedgerEntry, Role};
use crate::store::columns::{
    Entity, KEY_RECORD, LINE, SETTINGS, key_record, line, overdue, settings, wrong_payment,
    wrong_payments,
};
use crate::store::deliveries::{
    EPOCHS, NEXT_EVENT, OUTBOX, deliveries_from, has_due_events, no_store, outbox_counts,
};
use crate::store::lists::{self, IS_RESTOCK, RELEASED_AT, is_released, of_status};
use crate::store::{
    ChargeFilter, DeliveryFilter, Direction, IdRange, LedgerFilter, OrderFilter, Record,
    SalesLevel, Snapshot, StoreSize, Table,
};
use rusqlite::{Connection, params, params_from_iter};
use std::ops::ControlFlow;

/// A read transaction on a reading connection. Keep it short: the log cannot be reset meanwhile.
pub(super) struct SqliteSnapshot<'a>(Reader<'a>, &'a ConnectionManager);

impl<'a> SqliteSnapshot<'a> {
    pub(super) fn begin(
        connection: Reader<'a>,
        connections: &'a ConnectionManager,
    ) -> Result<Self, StoreError> {
        connections.check_unchanged()?;
        connection.prepare_cached("BEGIN DEFERRED")?.execute([])?;
        Ok(Self(connection, connections))
    }
}

impl Drop for SqliteSnapshot<'_> {
    fn drop(&mut self) {
        // A connection that cannot end its transaction is closed before its next use.
        let _ = self.0.prepare_cached("COMMIT").and_then(|mut commit| commit.execute([]));
    }
}

/// Returns the rows of an entity in id order, from `start` on.
fn from<T: Entity>(db: &Connection, start: i64, rows: usize) -> Result<Vec<T>, StoreError> {
    let sql = select::<T>("WHERE id >= ?1 ORDER BY id LIMIT ?2");
    many(db, &sql, params![start, limit(rows)], read)
}

/// Returns the row of an entity with that id.
fn by_id<T: Entity>(db: &Connection, id: i64) -> Result<Option<T>, StoreError> {
    one(db, &select::<T>("WHERE id = ?1"), [id], read)
}

pub(super) fn order(db: &Connection, id: OrderId) -> Result<Option<Order>, StoreError> {
    let order = by_id::<Order>(db, id.get())?;
    Ok(with_lines(db, order.into_iter().collect())?.pop())
}

/// Adds the lines of orders.
fn with_lines(db: &Connection, mut orders: Vec<Order>) -> Result<Vec<Order>, StoreError> {
    for order in &mut orders {
        let sql = format!("SELECT {LINE} FROM order_lines WHERE id >= ?1 AND id < ?2 ORDER BY id");
        let next = OrderId::new(order.id.get().saturating_add(1));
        let range = [first_line(order.id), first_line(next)];
        order.lines = many(db, &sql, range, |row| line(row))?;
        let sql = select::<LineCancellation>("WHERE order_id = ?1 ORDER BY number");
        order.cancellations = many(db, &sql, [order.id], read)?;
    }
    Ok(orders)
}

/// The condition of the lines of an order.
const LINES_OF_ORDER: &str =
    "order_lines.id >= orders.id << 10 AND order_lines.id < (orders.id + 1) << 10";

pub(super) fn cart(db: &Connection, customer: CustomerId) -> Result<CartLines, StoreError> {
    let sql =
        "SELECT product_id, quantity FROM cart_lines WHERE customer_id = ?1 ORDER BY product_id";
    let lines = many(db, sql, [customer], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(lines.into_iter().collect())
}

impl Snapshot for SqliteSnapshot<'_> {
    fn account(&self, id: CustomerId) -> Result<Option<Account>, StoreError> {
        by_id(&self.0, id.get())
    }

    fn credentials(&self, login: &str) -> Result<Option<Credentials>, StoreError> {
        auth::credentials(&self.0, login)
    }

    fn login_attempts(&self, login: LoginHash) -> Result<Option<LoginAttempts>, StoreError> {
        auth::login_attempts(&self.0, login)
    }

    fn session(&self, token: TokenHash) -> Result<Option<(SessionRow, Role)>, StoreError> {
        auth::session(&self.0, token)
    }

    fn sessions(
        &self,
        customer: Option<CustomerId>,
        start: TokenHash,
        limit: usize,
    ) -> Result<Vec<SessionRow>, StoreError> {
        auth::sessions(&self.0, customer, start, limit)
    }

    fn token(&self, hash: &str) -> Result<Option<Token>, StoreError> {
        one(&self.0, &select::<Token>("WHERE hash = ?1"), [hash], read)
    }

    fn tokens(&self, start: TokenId, rows: usize) -> Result<Vec<Token>, StoreError> {
        from(&self.0, start.get(), rows)
    }

    fn audit_trail(
        &self,
        actor: Option<Actor>,
        start: AuditEntryId,
        rows: usize,
    ) -> Result<Vec<AuditEntry>, StoreError> {
        let Some((kind, id)) = actor.map(Actor::parts) else {
            let sql = select::<AuditEntry>("WHERE id <= ?1 ORDER BY id DESC LIMIT ?2");
            return many(&self.0, &sql, params![start.get(), limit(rows)], read);
        };
        let sql = select::<AuditEntry>(
            "WHERE actor = ?1 AND actor_id IS ?2 AND id <= ?3 ORDER BY id DESC LIMIT ?4",
        );
        many(&self.0, &sql, params![kind.as_str(), id, start.get(), limit(rows)], read)
    }

    fn audit_trail_of_orders(&self, orders: &[OrderId]) -> Result<Vec<AuditEntry>, StoreError> {
        let sql = select::<AuditEntry>("WHERE subject = ?1 AND subject_id = ?2");
        let kind = SubjectKind::Order.as_str();
        let mut entries = Vec::new();
        for order in orders {
            entries.extend(many(&self.0, &sql, params![kind, order.get()], read::<AuditEntry>)?);
        }
        Ok(entries)
    }

    fn customers(&self, start: CustomerId, limit: usize) -> Result<Vec<Customer>, StoreError> {
        let accounts: Vec<Account> = from(&self.0, start.get(), limit)?;
        Ok(accounts.into_iter().map(|account| account.customer).collect())
    }

    fn product(&self, id: ProductId) -> Result<Option<Product>, StoreError> {
        by_id(&self.0, id.get())
    }

    fn products(&self, start: ProductId, rows: usize) -> Result<Vec<Product>, StoreError> {
        let sql = select::<Product>("WHERE id >= ?1 AND status = 'active' ORDER BY id LIMIT ?2");
        many(&self.0, &sql, params![start, limit(rows)], read)
    }

    fn all_products(&self, start: ProductId, limit: usize) -> Result<Vec<Product>, StoreError> {
        from(&self.0, start.get(), limit)
    }

    fn stock_movements(
        &self,
        product: ProductId,
        start: StockMovementId,
        direction: Direction,
        rows: usize,
    ) -> Result<Vec<StockMovement>, StoreError> {
        let (comparison, word) = (direction.comparison(), direction.word());
        let sql = select::<StockMovement>(&format!(
            "WHERE product_id = ?1 AND id {comparison} ?2 ORDER BY id {word} LIMIT ?3"
        ));
        many(&self.0, &sql, params![product, start, limit(rows)], read)
    }

    fn cart(&self, customer: CustomerId) -> Result<CartLines, StoreError> {
        cart(&self.0, customer)
    }

    fn coupon(&self, id: CouponId) -> Result<Option<Coupon>, StoreError> {
        by_id(&self.0, id.get())
    }

    fn coupons(&self, start: CouponId, limit: usize) -> Result<Vec<Coupon>, StoreError> {
        from(&self.0, start.get(), limit)
    }

    fn owned_coupons(
        &self,
        customer: CustomerId,
        start: CouponId,
        rows: usize,
    ) -> Result<Vec<OwnedCoupon>, StoreError> {
        let sql = select::<OwnedCoupon>(
            "WHERE customer_id = ?1 AND coupon_id >= ?2 ORDER BY coupon_id LIMIT ?3",
        );
        many(&self.0, &sql, params![customer, start, limit(rows)], read)
    }

    fn owned_coupon(
        &self,
        customer: CustomerId,
        id: OwnedCouponId,
    ) -> Result<Option<OwnedCoupon>, StoreError> {
        let sql = select::<OwnedCoupon>("WHERE id = ?1 AND customer_id = ?2");
        one(&self.0, &sql, params![id, customer], read)
    }

    fn claims(
        &self,
        coupon: CouponId,
        start: i64,
        rows: usize,
    ) -> Result<Vec<OwnedCoupon>, StoreError> {
        let sql =
            select::<OwnedCoupon>("WHERE coupon_id = ?1 AND rank >= ?2 ORDER BY rank LIMIT ?3");
        many(&self.0, &sql, params![coupon, start, limit(rows)], read)
    }

    fn order(&self, id: OrderId) -> Result<Option<Order>, StoreError> {
        order(&self.0, id)
    }

    fn last_order(&self) -> Result<Option<OrderId>, StoreError> {
        Ok(one(&self.0, "SELECT max(id) FROM orders", [], |row| row.get(0))?.flatten())
    }

    fn orders_in(
        &self,
        range: IdRange<OrderId>,
        filter: &OrderFilter,
        rows: usize,
    ) -> Result<Vec<Order>, StoreError> {
        let rest = lists::orders('?', range, filter, LINES_OF_ORDER, limit(rows));
        let sql = select::<Order>(&rest.sql);
        with_lines(&self.0, many(&self.0, &sql, params_from_iter(rest.values), read)?)
    }

    fn oldest_of_status(
        &self,
        status: OrderStatus,
        start: OrderId,
        rows: usize,
    ) -> Result<Option<OrderId>, StoreError> {
        let sql = format!(
            "SELECT min(id), count(*) FROM (
                 SELECT id FROM orders WHERE id <= ?1 AND {} ORDER BY id DESC LIMIT ?2
             )",
            of_status(status)
        );
        let read = |row: &rusqlite::Row<'_>| Ok((row.get::<_, Option<OrderId>>(0)?, row.get(1)?));
        let found = one(&self.0, &sql, params![start, limit(rows)], read)?;
        Ok(found.and_then(|(oldest, count): (_, i64)| oldest.filter(|_| count >= limit(rows))))
    }

    fn released_orders(
        &self,
        (at, id): (Timestamp, OrderId),
        direction: Direction,
        rows: usize,
    ) -> Result<Vec<Order>, StoreError> {
        let (comparison, word) = (direction.comparison(), direction.word());
        let is_released = is_released();
        let sql = select::<Order>(&format!(
            "WHERE {is_released} AND {RELEASED_AT} {comparison} ?1
                 AND ({RELEASED_AT} <> ?1 OR id {comparison} ?2)
             ORDER BY {RELEASED_AT} {word}, id {word} LIMIT ?3"
        ));
        with_lines(&self.0, many(&self.0, &sql, params![at, id, limit(rows)], read)?)
    }

    fn restocked_parts(
        &self,
        product: ProductId,
        (at, order, number): PartPosition,
        direction: Direction,
        rows: usize,
    ) -> Result<Vec<LineCancellation>, StoreError> {
        let (comparison, word) = (direction.comparison(), direction.word());
        let sql = select::<LineCancellation>(&format!(
            "WHERE product_id = ?1 AND {IS_RESTOCK} AND (created_at, order_id, number) {comparison} (?2, ?3, ?4)
             ORDER BY created_at {word}, order_id {word}, number {word} LIMIT ?5"
        ));
        many(&self.0, &sql, params![product, at, order, number, limit(rows)], read)
    }

    fn orders(
        &self,
        customer: CustomerId,
        start: OrderId,
        limit: usize,
    ) -> Result<Vec<Order>, StoreError> {
        let mut orders = Vec::new();
        let mut next = Some(start);
        while orders.len() < limit
            && let Some(order) = next.map(|id| order(&self.0, id)).transpose()?.flatten()
            && order.customer_id == customer
        {
            // A chain with a row that leads forward is corrupt and would not end.
            next = order.previous.filter(|previous| *previous < order.id);
            orders.push(order);
        }
        Ok(orders)
    }

    fn ledger(
        &self,
        customer: CustomerId,
        start: LedgerEntryId,
        limit: usize,
        filter: LedgerFilter,
    ) -> Result<Vec<LedgerEntry>, StoreError> {
        let mut entries = Vec::new();
        let mut next = Some(start);
        while entries.len() < limit
            && let Some(entry) =
                next.map(|id| by_id::<LedgerEntry>(&self.0, id.get())).transpose()?.flatten()
            && entry.customer_id == customer
        {
            next = entry.previous.filter(|previous| *previous < entry.id);
            if filter == LedgerFilter::All || entry.as_payment().is_some() {
                entries.push(entry);
            }
        }
        Ok(entries)
    }

    fn charge(&self, id: ChargeId) -> Result<Option<ChargeRow>, StoreError> {
        by_id(&self.0, id.get())
    }

    fn last_charge(&self) -> Result<Option<ChargeId>, StoreError> {
        Ok(one(&self.0, "SELECT max(id) FROM charges", [], |row| row.get(0))?.flatten())
    }

    fn charges_in(
        &self,
        range: IdRange<ChargeId>,
        filter: ChargeFilter,
        rows: usize,
    ) -> Result<Vec<ChargeRow>, StoreError> {
        let rest = lists::charges('?', range, filter, limit(rows));
        many(&self.0, &select::<ChargeRow>(&rest.sql), params_from_iter(rest.values), read)
    }

    fn charge_by_reference(&self, reference: &str) -> Result<Option<ChargeRow>, StoreError> {
        one(&self.0, &select::<ChargeRow>("WHERE reference = ?1"), [reference], read)
    }

    fn pending_charges(
        &self,
        (customer, id): (CustomerId, ChargeId),
        rows: usize,
    ) -> Result<Vec<ChargeRow>, StoreError> {
        let sql = select::<ChargeRow>(
            "WHERE status = 'pending' AND (customer_id, id) >= (?1, ?2)
             ORDER BY customer_id, id LIMIT ?3",
        );
        many(&self.0, &sql, params![customer, id, limit(rows)], read)
    }

    fn count_pending_charges(&self) -> Result<u64, StoreError> {
        let sql = "SELECT count(*) FROM charges WHERE status = 'pending'";
        let count: Option<i64> = one(&self.0, sql, [], |row| row.get(0))?;
        Ok(count.and_then(|count| u64::try_from(count).ok()).unwrap_or(0))
    }

    fn refund(&self, id: RefundId) -> Result<Option<RefundRow>, StoreError> {
        by_id(&self.0, id.get())
    }

    fn refunds_of(
        &self,
        charge: ChargeId,
        start: RefundId,
        rows: usize,
    ) -> Result<Vec<RefundRow>, StoreError> {
        let sql = select::<RefundRow>("WHERE charge_id = ?1 AND id >= ?2 ORDER BY id LIMIT ?3");
        many(&self.0, &sql, params![charge, start, limit(rows)], read)
    }

    fn pending_refunds(&self, start: RefundId, rows: usize) -> Result<Vec<RefundRow>, StoreError> {
        let sql = select::<RefundRow>(
            "WHERE status = 'pending' AND kind = 'requested' AND id >= ?1 ORDER BY id LIMIT ?2",
        );
        many(&self.0, &sql, params![start, limit(rows)], read)
    }

    fn count_pending_refunds(&self) -> Result<u64, StoreError> {
        let sql = "SELECT count(*) FROM refunds WHERE status = 'pending' AND kind = 'requested'";
        let count: Option<i64> = one(&self.0, sql, [], |row| row.get(0))?;
        Ok(count.and_then(|count| u64::try_from(count).ok()).unwrap_or(0))
    }

    fn keys(&self, key: &Key) -> Result<Vec<(CustomerId, IdempotencyRecord)>, StoreError> {
        let sql = format!(
            "SELECT owner, {KEY_RECORD} FROM idempotency_keys WHERE key = ?1 ORDER BY owner"
        );
        many(&self.0, &sql, [key.as_str()], |row| Ok((row.get(0)?, key_record(row, 1)?)))
    }

    fn has_due_orders(&self, now: Timestamp) -> Result<bool, StoreError> {
        let sql = format!("SELECT 1 FROM orders WHERE {} LIMIT 1", overdue("?1"));
        Ok(one(&self.0, &sql, [now], |_| Ok(()))?.is_some())
    }

    fn events(&self, start: EventId, limit: usize) -> Result<Vec<EventRow>, StoreError> {
        from(&self.0, start.get(), limit)
    }

    fn epochs(&self) -> Result<Vec<Epoch>, StoreError> {
        many(&self.0, EPOCHS, [], read)
    }

    fn last_event(&self) -> Result<Option<EventId>, StoreError> {
        Ok(one(&self.0, "SELECT max(id) FROM events", [], |row| row.get(0))?.flatten())
    }

    fn next_event(&self) -> Result<EventId, StoreError> {
        one(&self.0, NEXT_EVENT, [], |row| row.get(0))?.ok_or_else(no_store)
    }

    fn deliveries(
        &self,
        start: EventId,
        rows: usize,
        filter: DeliveryFilter,
    ) -> Result<Vec<DeliveryRow>, StoreError> {
        let sql = deliveries_from(filter, "?1", "?2");
        many(&self.0, &sql, params![start, limit(rows)], read)
    }

    fn has_due_events(&self, now: Timestamp) -> Result<bool, StoreError> {
        Ok(one(&self.0, &has_due_events("?1"), [now], |_| Ok(()))?.is_some())
    }

    fn outbox(&self) -> Result<Outbox, StoreError> {
        let counts = one(&self.0, OUTBOX, [], |row| outbox_counts(row))?;
        let counts = counts.ok_or_else(no_store)?;
        let oldest = self.events(counts.oldest(), 1)?.first().map(|event| event.created_at);
        Ok(counts.outbox(oldest))
    }

    fn best_sellers(
        &self,
        after: Timestamp,
        until: Timestamp,
        limit: usize,
    ) -> Result<Vec<(ProductId, i64)>, StoreError> {
        sales::best_sellers(&self.0, after, until, limit)
    }

    fn product_sales(
        &self,
        after: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<(ProductId, Sold)>, StoreError> {
        sales::products(&self.0, after, until)
    }

    fn sales_totals(&self, edges: &[Timestamp]) -> Result<Vec<Figures>, StoreError> {
        sales::totals(&self.0, edges)
    }

    fn settings(&self) -> Result<Settings, StoreError> {
        one(&self.0, SETTINGS, [], |row| settings(row))?.ok_or_else(no_store)
    }

    fn scan_while(
        &self,
        table: Table,
        visit: &mut dyn FnMut(Record) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        scan::scan(&self.0, table, visit)?;
        self.1.check_unchanged()
    }

    fn sales_levels(&self) -> Result<Vec<SalesLevel>, StoreError> {
        sales::levels(&self.0)
    }

    fn size(&self) -> Result<StoreSize, StoreError> {
        // A missing file has no size: the log is created by the first change.
        let bytes = |path: &str| std::fs::metadata(path).map_or(0, |file| file.len());
        let path = self.0.path().unwrap_or_default();
        Ok(StoreSize { data: bytes(path), log: bytes(&format!("{path}-wal")) })
    }

    fn integrity(&self) -> Result<Vec<String>, StoreError> {
        let mut wrong = integrity_check(&self.0)?;
        let orphans = many(&self.0, "PRAGMA foreign_key_check", [], |row| {
            let (table, row, parent): (String, Option<i64>, String) =
                (row.get(0)?, row.get(1)?, row.get(2)?);
            Ok(format!("row {} of {table} refers to a missing row of {parent}", row.unwrap_or(0)))
        })?;
        wrong.extend(orphans);
        let payments = many(&self.0, &wrong_payments(), [], |row| row.get(0).map(wrong_payment))?;
        wrong.extend(payments);
        Ok(wrong)
    }
}

/// Runs SQLite's integrity check. Unlike `quick_check`, it compares every index with its table.
fn integrity_check(db: &Connection) -> Result<Vec<String>, StoreError> {
    let mut check = db.prepare_cached("PRAGMA integrity_check")?;
    let mut findings = Vec::new();
    let found = check
        .query_map([], |row| row.get(0))?
        .try_for_each(|finding| finding.map(|finding: String| findings.push(finding)));
    // The check also reports a page that could not be read as damage: the failed read is the cause.
    if let Some(failure) = findings.iter().find_map(|finding| failed_read(finding)) {
        return Err(failure);
    }
    found?;
    findings.retain(|finding| finding != "ok");
    Ok(findings)
}
