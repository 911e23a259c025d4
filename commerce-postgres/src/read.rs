//! Snapshots: each list is read by its key, each history backwards along its chain, in one round trip each.

use crate::connection::Connection;
use crate::connection_manager::Reader;
use crate::error::Failure;
use crate::query::Query;
use crate::rows::{OF_ORDERS, Row, is_storable, limit, lines, read, select_lines};
use crate::statements::select;
use crate::{durability, integrity, sales, scan};
use commerce_core::store::Epoch;
use commerce_core::store::columns::{
    CREDENTIALS, Entity, KEY_RECORD, SETTINGS, credentials, key_record, overdue, session, settings,
};
use commerce_core::store::deliveries::{
    EPOCHS, NEXT_EVENT, OUTBOX, deliveries_from, has_due_events, no_store, outbox_counts,
};
use commerce_core::store::lists::{
    self, Conditions, IS_RESTOCK, RELEASED_AT, is_released, of_status,
};
use commerce_core::store::sales_rollup::levels;
use commerce_core::store::values::{Value, get};
use commerce_core::store::{
    Account, AuditEntry, CartLines, ChargeFilter, ChargeRow, Credentials, DeliveryFilter,
    DeliveryRow, Direction, EventRow, Figures, IdRange, IdempotencyRecord, LedgerFilter,
    LoginAttempts, LoginHash, OrderFilter, PartPosition, Record, RefundRow, SalesLevel, SessionRow,
    Settings, Snapshot, Sold, StockMovement, StoreSize, Table, TokenHash,
};
use commerce_core::{
    Actor, AuditEntryId, ChargeId, Coupon, CouponId, Customer, CustomerId, EntryKind, EventId, Key,
    LedgerEntry, LedgerEntryId, LineCancellation, Order, OrderId, OrderStatus, Outbox, OwnedCoupon,
    OwnedCouponId, Product, ProductId, RefundId, Role, StockMovementId, StoreError, Timestamp,
    Token, TokenId,
};
use std::cell::{RefCell, RefMut};
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::time::Duration;

/// The timeout of beginning a snapshot. A server that does not respond is gone, and another connection finds the
/// one that has taken its place.
const BEGIN_TIMEOUT: Duration = Duration::from_secs(3);

/// Lets a snapshot idle for an hour: a receiver of its rows may pause, but a forgotten one must not keep the server from
/// removing old rows for days.
const EXPECT_PAUSES: &str = "SET LOCAL idle_in_transaction_session_timeout = '1h'";

/// A read transaction on a reading connection. It is `REPEATABLE READ`, so that all reads see the same commits.
pub(crate) struct PostgresSnapshot<'a>(RefCell<Reader<'a>>);

impl<'a> PostgresSnapshot<'a> {
    pub(crate) fn begin(mut connection: Reader<'a>) -> Result<Self, Failure> {
        // The first read takes the snapshot, not BEGIN.
        let first = if connection.flushes_later() {
            durability::wait_for_veil()
        } else {
            Query::new("SELECT pg_backend_pid() FROM store WHERE id = 1")
        };
        let queries = [Query::new("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"), first];
        let results = connection.execute_with_timeout(BEGIN_TIMEOUT, &queries);
        if results.is_err() {
            // It may be in a failed transaction.
            connection.mark_broken();
        }
        connection.check_backend(results?.get(1), 0)?;
        Ok(Self(RefCell::new(connection)))
    }

    fn connection(&self) -> Result<RefMut<'_, Reader<'a>>, StoreError> {
        let in_use = |_| StoreError::Unavailable("the snapshot is in use already".to_owned());
        self.0.try_borrow_mut().map_err(in_use)
    }

    fn rows(&self, query: Query<'_>) -> Result<Vec<Row>, StoreError> {
        let answers = self.connection()?.execute(&[query]).map_err(Failure::before_commit)?;
        Ok(answers.into_iter().next().unwrap_or_default())
    }

    fn many<T>(
        &self,
        query: Query<'_>,
        read: fn(&Row) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        self.rows(query)?.iter().map(read).collect()
    }

    fn one<T>(
        &self,
        query: Query<'_>,
        read: fn(&Row) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        self.rows(query)?.first().map(read).transpose()
    }

    /// Returns the row of an entity with that id.
    fn by_id<T: Entity>(&self, id: i64) -> Result<Option<T>, StoreError> {
        self.one(select::<T>("WHERE id = $1").with(id), read)
    }

    /// Returns the rows of an entity in id order, from `start` on.
    fn from<T: Entity>(&self, start: i64, rows: usize) -> Result<Vec<T>, StoreError> {
        let query = select::<T>("WHERE id >= $1 ORDER BY id LIMIT $2");
        self.many(query.with(start).with(limit(rows)), read)
    }

    /// Adds the lines and the cancellations of orders.
    fn with_lines(&self, mut orders: Vec<Order>) -> Result<Vec<Order>, StoreError> {
        if orders.is_empty() {
            return Ok(orders);
        }
        let ids: Vec<i64> = orders.iter().map(|order| order.id.get()).collect();
        let rows = self.rows(Query::new(select_lines()).with(ids.clone()))?;
        let parts = select::<LineCancellation>(OF_ORDERS).with(ids);
        let parts: Vec<LineCancellation> = self.many(parts, read)?;
        let mut by_id: HashMap<OrderId, &mut Order> =
            orders.iter_mut().map(|order| (order.id, order)).collect();
        lines(&rows, |id, line| {
            if let Some(order) = by_id.get_mut(&id) {
                order.lines.push(line);
            }
        })?;
        for part in parts {
            if let Some(order) = by_id.get_mut(&part.order_id) {
                order.cancellations.push(part);
            }
        }
        Ok(orders)
    }
}

impl Drop for PostgresSnapshot<'_> {
    fn drop(&mut self) {
        // A connection that cannot end its transaction is closed before its next use.
        let connection: &mut Connection = self.0.get_mut();
        if !connection.is_lost() && connection.execute(&[Query::new("COMMIT")]).is_err() {
            connection.mark_broken();
        }
    }
}

/// Selects a chain of rows of one customer, from the newest back, until `counted` of its rows add up to the wanted
/// number. A chain with a row that leads forward is corrupt and would not end.
fn chain<T: Entity>(counted: &str) -> String {
    let (table, columns) = (T::TABLE, T::SELECT);
    let of_table: Vec<String> =
        columns.split(", ").map(|column| format!("older.{column}")).collect();
    let of_table = of_table.join(", ");
    format!(
        "WITH RECURSIVE chain AS (
             SELECT {columns}, {counted} AS so_far FROM {table} WHERE id = $1 AND customer_id = $2
             UNION ALL
             SELECT {of_table}, chain.so_far + older.counts
             FROM chain JOIN LATERAL (
                 SELECT *, {counted} AS counts FROM {table}
                 WHERE id = chain.previous AND id < chain.id AND customer_id = $2 OFFSET 0
             ) AS older ON chain.so_far < $3
         )
         SELECT {columns}, so_far FROM chain ORDER BY id DESC"
    )
}

/// The condition of the lines of an order in a range. The range lets the server read the lines once; the customer, on the
/// machine of the order.
const LINES_OF_ORDER: &str = "order_id = orders.id AND order_lines.customer_id = orders.customer_id
    AND order_id <= $1 AND order_id >= $2";

/// Selects the rows of a list.
fn listed<T: Entity>(rest: Conditions<'_>) -> Query<'_> {
    let query = match &rest.rows {
        None => select::<T>(&rest.sql),
        Some(rows) => {
            Query::new(format!("SELECT {} FROM {rows} AS {} {}", T::SELECT, T::TABLE, rest.sql))
        }
    };
    rest.values.into_iter().fold(query, |query, value| match value {
        Value::Integer(value) => query.with(value),
        Value::Text(value) => query.with(value),
    })
}

impl Snapshot for PostgresSnapshot<'_> {
    fn account(&self, id: CustomerId) -> Result<Option<Account>, StoreError> {
        self.by_id(id.get())
    }

    fn credentials(&self, login: &str) -> Result<Option<Credentials>, StoreError> {
        if !is_storable(login) {
            return Ok(None);
        }
        let sql = format!(
            "SELECT {CREDENTIALS} FROM customers JOIN credentials ON customer_id = id WHERE login = $1"
        );
        self.one(Query::new(sql).with(login), credentials)
    }

    fn login_attempts(&self, login: LoginHash) -> Result<Option<LoginAttempts>, StoreError> {
        let sql = "SELECT failures, last_at FROM login_attempts WHERE login = $1";
        let rows = self.rows(Query::new(sql).with(login.as_bytes().to_vec()))?;
        let read =
            |row: &Row| Ok(LoginAttempts { login, failures: get(row, 0)?, last_at: get(row, 1)? });
        rows.first().map(read).transpose()
    }

    fn session(&self, token: TokenHash) -> Result<Option<(SessionRow, Role)>, StoreError> {
        let sql = "SELECT sessions.customer_id, sessions.created_at, sessions.expires_at, role
                   FROM sessions JOIN customers ON customers.id = sessions.customer_id
                   WHERE token = $1";
        let rows = self.rows(Query::new(sql).with(token.as_bytes().as_slice()))?;
        rows.first().map(|row| Ok((session(row, token)?, get(row, 3)?))).transpose()
    }

    fn sessions(
        &self,
        customer: Option<CustomerId>,
        start: TokenHash,
        rows: usize,
    ) -> Result<Vec<SessionRow>, StoreError> {
        let of = if customer.is_some() { "customer_id = $1" } else { "$1::bigint IS NULL" };
        let sql = format!(
            "SELECT customer_id, created_at, expires_at, token FROM sessions
             WHERE {of} AND token >= $2 ORDER BY token LIMIT $3"
        );
        let query = Query::new(sql).with(customer.map(CustomerId::get));
        let query = query.with(start.as_bytes().as_slice()).with(limit(rows));
        self.many(query, |row| session(row, scan::token(row, 3)?))
    }

    fn token(&self, hash: &str) -> Result<Option<Token>, StoreError> {
        self.one(select::<Token>("WHERE hash = $1").with(hash), read)
    }

    fn tokens(&self, start: TokenId, rows: usize) -> Result<Vec<Token>, StoreError> {
        self.from(start.get(), rows)
    }

    fn audit_trail(
        &self,
        actor: Option<Actor>,
        start: AuditEntryId,
        rows: usize,
    ) -> Result<Vec<AuditEntry>, StoreError> {
        let of = |actor: &str, order: &str| {
            let query = select::<AuditEntry>(&format!(
                "WHERE {actor}id <= $1 ORDER BY {order}id DESC LIMIT $2"
            ));
            query.with(start.get()).with(limit(rows))
        };
        let query = match actor.map(Actor::parts) {
            None => of("", ""),
            Some((kind, None)) => {
                // In the whole order of the index: the planner does not know that one value is left of `actor_id`.
                of("actor = $3::text AND actor_id IS NULL AND ", "actor_id DESC, ")
                    .with(kind.as_str())
            }
            Some((kind, Some(id))) => of("actor = $3::text AND actor_id = $4::bigint AND ", "")
                .with(kind.as_str())
                .with(id),
        };
        self.many(query, read)
    }

    fn audit_trail_of_orders(&self, orders: &[OrderId]) -> Result<Vec<AuditEntry>, StoreError> {
        let ids: Vec<i64> = orders.iter().map(|id| id.get()).collect();
        let of = "WHERE subject = 'order' AND subject_id = ANY($1::bigint[])";
        self.many(select::<AuditEntry>(of).with(ids), read)
    }

    fn customers(&self, start: CustomerId, limit: usize) -> Result<Vec<Customer>, StoreError> {
        let accounts: Vec<Account> = self.from(start.get(), limit)?;
        Ok(accounts.into_iter().map(|account| account.customer).collect())
    }

    fn product(&self, id: ProductId) -> Result<Option<Product>, StoreError> {
        self.by_id(id.get())
    }

    fn products(&self, start: ProductId, rows: usize) -> Result<Vec<Product>, StoreError> {
        let query = select::<Product>("WHERE id >= $1 AND status = 'active' ORDER BY id LIMIT $2");
        self.many(query.with(start.get()).with(limit(rows)), read)
    }

    fn all_products(&self, start: ProductId, limit: usize) -> Result<Vec<Product>, StoreError> {
        self.from(start.get(), limit)
    }

    fn stock_movements(
        &self,
        product: ProductId,
        start: StockMovementId,
        direction: Direction,
        rows: usize,
    ) -> Result<Vec<StockMovement>, StoreError> {
        let (comparison, word) = (direction.comparison(), direction.word());
        let query = select::<StockMovement>(&format!(
            "WHERE product_id = $1 AND id {comparison} $2 ORDER BY id {word} LIMIT $3"
        ));
        self.many(query.with(product.get()).with(start.get()).with(limit(rows)), read)
    }

    fn cart(&self, customer: CustomerId) -> Result<CartLines, StoreError> {
        let sql = "SELECT product_id, quantity FROM cart_lines WHERE customer_id = $1";
        let rows = self.rows(Query::new(sql).with(customer.get()))?;
        rows.iter().map(|row| Ok((get(row, 0)?, get(row, 1)?))).collect()
    }

    fn coupon(&self, id: CouponId) -> Result<Option<Coupon>, StoreError> {
        self.by_id(id.get())
    }

    fn coupons(&self, start: CouponId, limit: usize) -> Result<Vec<Coupon>, StoreError> {
        self.from(start.get(), limit)
    }

    fn owned_coupons(
        &self,
        customer: CustomerId,
        start: CouponId,
        rows: usize,
    ) -> Result<Vec<OwnedCoupon>, StoreError> {
        let query = select::<OwnedCoupon>(
            "WHERE customer_id = $1 AND coupon_id >= $2 ORDER BY coupon_id LIMIT $3",
        );
        self.many(query.with(customer.get()).with(start.get()).with(limit(rows)), read)
    }

    fn owned_coupon(
        &self,
        customer: CustomerId,
        id: OwnedCouponId,
    ) -> Result<Option<OwnedCoupon>, StoreError> {
        let query = select::<OwnedCoupon>("WHERE id = $1 AND customer_id = $2");
        self.one(query.with(id.get()).with(customer.get()), read)
    }

    fn order(&self, id: OrderId) -> Result<Option<Order>, StoreError> {
        let order = self.by_id(id.get())?;
        Ok(self.with_lines(order.into_iter().collect())?.pop())
    }

    fn orders_by_id(&self, ids: &[OrderId]) -> Result<Vec<Order>, StoreError> {
        let ids: Vec<i64> = ids.iter().map(|id| id.get()).collect();
        let query = select::<Order>("WHERE id = ANY ($1)");
        self.with_lines(self.many(query.with(ids), read)?)
    }

    fn claims(
        &self,
        coupon: CouponId,
        start: i64,
        rows: usize,
    ) -> Result<Vec<OwnedCoupon>, StoreError> {
        let query =
            select::<OwnedCoupon>("WHERE coupon_id = $1 AND rank >= $2 ORDER BY rank LIMIT $3");
        self.many(query.with(coupon.get()).with(start).with(limit(rows)), read)
    }

    fn last_order(&self) -> Result<Option<OrderId>, StoreError> {
        let sql = "SELECT id FROM orders ORDER BY id DESC LIMIT 1";
        self.one(Query::new(sql), |row| get(row, 0))
    }

    fn orders_in(
        &self,
        range: IdRange<OrderId>,
        filter: &OrderFilter,
        rows: usize,
    ) -> Result<Vec<Order>, StoreError> {
        if filter.reference.as_deref().is_some_and(|reference| !is_storable(reference)) {
            return Ok(Vec::new());
        }
        let rest = lists::orders('$', range, filter, LINES_OF_ORDER, limit(rows));
        self.with_lines(self.many(listed::<Order>(rest), read)?)
    }

    fn oldest_of_status(
        &self,
        status: OrderStatus,
        start: OrderId,
        rows: usize,
    ) -> Result<Option<OrderId>, StoreError> {
        let sql = format!(
            "SELECT min(id), count(*) FROM (
                 SELECT id FROM orders WHERE id <= $1 AND {} ORDER BY id DESC LIMIT $2
             ) AS counted",
            of_status(status)
        );
        let query = Query::new(sql).with(start.get()).with(limit(rows));
        let found = self.one(query, |row| Ok((get(row, 0)?, get(row, 1)?)))?;
        let found = found.filter(|(_, count): &(Option<OrderId>, i64)| *count >= limit(rows));
        Ok(found.and_then(|(oldest, _)| oldest))
    }

    fn released_orders(
        &self,
        (at, id): (Timestamp, OrderId),
        direction: Direction,
        rows: usize,
    ) -> Result<Vec<Order>, StoreError> {
        let (comparison, word) = (direction.comparison(), direction.word());
        let is_released = is_released();
        let query = select::<Order>(&format!(
            "WHERE {is_released} AND ({RELEASED_AT}, id) {comparison} ($1, $2)
             ORDER BY {RELEASED_AT} {word}, id {word} LIMIT $3"
        ));
        let query = query.with(at.unix()).with(id.get()).with(limit(rows));
        self.with_lines(self.many(query, read)?)
    }

    fn restocked_parts(
        &self,
        product: ProductId,
        (at, order, number): PartPosition,
        direction: Direction,
        rows: usize,
    ) -> Result<Vec<LineCancellation>, StoreError> {
        let (comparison, word) = (direction.comparison(), direction.word());
        let query = select::<LineCancellation>(&format!(
            "WHERE product_id = $1 AND {IS_RESTOCK} AND (created_at, order_id, number) {comparison} ($2, $3, $4)
             ORDER BY created_at {word}, order_id {word}, number {word} LIMIT $5"
        ));
        let query = query.with(product.get()).with(at.unix()).with(order.get()).with(number);
        self.many(query.with(limit(rows)), read)
    }

    fn orders(
        &self,
        customer: CustomerId,
        start: OrderId,
        rows: usize,
    ) -> Result<Vec<Order>, StoreError> {
        let query = Query::new(chain::<Order>("1::bigint"));
        let query = query.with(start.get()).with(customer.get()).with(limit(rows));
        let mut orders = self.many(query, read)?;
        orders.truncate(rows);
        self.with_lines(orders)
    }

    fn ledger(
        &self,
        customer: CustomerId,
        start: LedgerEntryId,
        rows: usize,
        filter: LedgerFilter,
    ) -> Result<Vec<LedgerEntry>, StoreError> {
        let counted = match filter {
            LedgerFilter::All => "1::bigint".to_owned(),
            LedgerFilter::Payments => format!(
                "CASE WHEN kind IN ({}, {}) THEN 1::bigint ELSE 0 END",
                EntryKind::Payment.code(),
                EntryKind::Refund.code()
            ),
        };
        let query = Query::new(chain::<LedgerEntry>(&counted));
        let query = query.with(start.get()).with(customer.get()).with(limit(rows));
        let mut entries: Vec<LedgerEntry> = self.many(query, read)?;
        entries.retain(|entry| filter == LedgerFilter::All || entry.as_payment().is_some());
        entries.truncate(rows);
        Ok(entries)
    }

    fn charge(&self, id: ChargeId) -> Result<Option<ChargeRow>, StoreError> {
        self.by_id(id.get())
    }

    fn last_charge(&self) -> Result<Option<ChargeId>, StoreError> {
        let sql = "SELECT id FROM charges ORDER BY id DESC LIMIT 1";
        self.one(Query::new(sql), |row| get(row, 0))
    }

    fn charges_in(
        &self,
        range: IdRange<ChargeId>,
        filter: ChargeFilter,
        rows: usize,
    ) -> Result<Vec<ChargeRow>, StoreError> {
        self.many(listed::<ChargeRow>(lists::charges('$', range, filter, limit(rows))), read)
    }

    fn charge_by_reference(&self, reference: &str) -> Result<Option<ChargeRow>, StoreError> {
        if !is_storable(reference) {
            return Ok(None);
        }
        self.one(select::<ChargeRow>("WHERE reference = $1").with(reference.to_owned()), read)
    }

    fn pending_charges(
        &self,
        (customer, id): (CustomerId, ChargeId),
        rows: usize,
    ) -> Result<Vec<ChargeRow>, StoreError> {
        let query = select::<ChargeRow>(
            "WHERE status = 'pending' AND (customer_id, id) >= ($1, $2)
             ORDER BY customer_id, id LIMIT $3",
        );
        self.many(query.with(customer.get()).with(id.get()).with(limit(rows)), read)
    }

    fn count_pending_charges(&self) -> Result<u64, StoreError> {
        let sql = "SELECT count(*) FROM charges WHERE status = 'pending'";
        let count: Option<i64> = self.one(Query::new(sql), |row| get(row, 0))?;
        Ok(count.and_then(|count| u64::try_from(count).ok()).unwrap_or(0))
    }

    fn refund(&self, id: RefundId) -> Result<Option<RefundRow>, StoreError> {
        self.by_id(id.get())
    }

    fn refunds_of(
        &self,
        charge: ChargeId,
        start: RefundId,
        rows: usize,
    ) -> Result<Vec<RefundRow>, StoreError> {
        let query = select::<RefundRow>("WHERE charge_id = $1 AND id >= $2 ORDER BY id LIMIT $3");
        self.many(query.with(charge.get()).with(start.get()).with(limit(rows)), read)
    }

    fn pending_refunds(&self, start: RefundId, rows: usize) -> Result<Vec<RefundRow>, StoreError> {
        let query = select::<RefundRow>(
            "WHERE status = 'pending' AND kind = 'requested' AND id >= $1 ORDER BY id LIMIT $2",
        );
        self.many(query.with(start.get()).with(limit(rows)), read)
    }

    fn count_pending_refunds(&self) -> Result<u64, StoreError> {
        let sql = "SELECT count(*) FROM refunds WHERE status = 'pending' AND kind = 'requested'";
        let count: Option<i64> = self.one(Query::new(sql), |row| get(row, 0))?;
        Ok(count.and_then(|count| u64::try_from(count).ok()).unwrap_or(0))
    }

    fn keys(&self, key: &Key) -> Result<Vec<(CustomerId, IdempotencyRecord)>, StoreError> {
        let sql = format!(
            "SELECT owner, {KEY_RECORD} FROM idempotency_keys WHERE key = $1 ORDER BY owner"
        );
        let query = Query::new(sql).with(key.as_str().to_owned());
        self.many(query, |row| Ok((get(row, 0)?, key_record(row, 1)?)))
    }

    fn has_due_orders(&self, now: Timestamp) -> Result<bool, StoreError> {
        let sql = format!("SELECT 1 FROM orders WHERE {} LIMIT 1", overdue("$1"));
        Ok(!self.rows(Query::new(sql).with(now.unix()))?.is_empty())
    }

    fn events(&self, start: EventId, limit: usize) -> Result<Vec<EventRow>, StoreError> {
        self.from(start.get(), limit)
    }

    fn epochs(&self) -> Result<Vec<Epoch>, StoreError> {
        self.many(Query::new(EPOCHS), read)
    }

    fn last_event(&self) -> Result<Option<EventId>, StoreError> {
        let sql = "SELECT id FROM events ORDER BY id DESC LIMIT 1";
        self.one(Query::new(sql), |row| get(row, 0))
    }

    fn next_event(&self) -> Result<EventId, StoreError> {
        self.one(Query::new(NEXT_EVENT), |row| get(row, 0))?.ok_or_else(no_store)
    }

    fn deliveries(
        &self,
        start: EventId,
        rows: usize,
        filter: DeliveryFilter,
    ) -> Result<Vec<DeliveryRow>, StoreError> {
        let query = Query::new(deliveries_from(filter, "$1", "$2"));
        self.many(query.with(start.get()).with(limit(rows)), read)
    }

    fn has_due_events(&self, now: Timestamp) -> Result<bool, StoreError> {
        Ok(!self.rows(Query::new(has_due_events("$1")).with(now.unix()))?.is_empty())
    }

    fn outbox(&self) -> Result<Outbox, StoreError> {
        let counts = self.one(Query::new(OUTBOX), outbox_counts)?.ok_or_else(no_store)?;
        let oldest = self.events(counts.oldest(), 1)?.first().map(|event| event.created_at);
        Ok(counts.outbox(oldest))
    }

    fn best_sellers(
        &self,
        after: Timestamp,
        until: Timestamp,
        limit: usize,
    ) -> Result<Vec<(ProductId, i64)>, StoreError> {
        sales::best_sellers(&mut *self.connection()?, after, until, limit)
    }

    fn product_sales(
        &self,
        after: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<(ProductId, Sold)>, StoreError> {
        sales::products(&mut *self.connection()?, after, until)
    }

    fn sales_totals(&self, edges: &[Timestamp]) -> Result<Vec<Figures>, StoreError> {
        sales::totals(&mut *self.connection()?, edges)
    }

    fn settings(&self) -> Result<Settings, StoreError> {
        self.one(Query::new(SETTINGS), settings)?.ok_or_else(no_store)
    }

    fn scan_while(
        &self,
        table: Table,
        visit: &mut dyn FnMut(Record) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        scan::scan(&mut *self.connection()?, table, visit)
    }

    fn expect_pauses(&self) -> Result<(), StoreError> {
        self.connection()?.run(EXPECT_PAUSES).map_err(Failure::before_commit)
    }

    fn size(&self) -> Result<StoreSize, StoreError> {
        // The log belongs to the server and is shared by all its databases.
        let query = Query::new("SELECT pg_database_size(current_database())");
        let bytes: Option<i64> = self.one(query, |row| get(row, 0))?;
        let data = bytes.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(0);
        Ok(StoreSize { data, log: 0 })
    }

    fn integrity(&self) -> Result<Vec<String>, StoreError> {
        integrity::check(&mut *self.connection()?)
    }

    fn sales_levels(&self) -> Result<Vec<SalesLevel>, StoreError> {
        sales::watermarks(&self.rows(sales::select_watermarks())?).map(levels)
    }
}
