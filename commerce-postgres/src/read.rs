//! Reading: each list by its key, each history backwards along its own chain, in one round trip each.

use crate::connection::{Connection, Query};
use crate::connection_manager::Reader;
use crate::error::Failure;
use crate::rows::Row;
use crate::{integrity, rows, sales, scan};
use commerce_core::store::columns::{
    ACCOUNT, CHARGE, COUPON, CREDENTIALS, EVENT, LEDGER, ORDER, OWNED_COUPON, PRODUCT, get, session,
};
use commerce_core::store::deliveries::{
    EPOCHS, NEXT_EVENT, OUTBOX, deliveries_from, has_due_events, no_store, outbox_counts,
};
use commerce_core::store::sales_rollup::levels;
use commerce_core::store::{
    Account, CartLines, ChargeRow, Credentials, DeliveryFilter, DeliveryRow, EventRow,
    LedgerFilter, Record, SalesLevel, SessionRow, Snapshot, StoreSize, Table, TokenHash,
};
use commerce_core::{
    ChargeId, Coupon, CouponId, Customer, CustomerId, Epoch, EventId, LedgerEntry, LedgerEntryId,
    Order, OrderId, Outbox, OwnedCoupon, OwnedCouponId, Product, ProductId, Role, StoreError,
    Timestamp,
};
use std::cell::{RefCell, RefMut};
use std::time::Duration;

/// How long a server may take to begin. One that does not answer this is gone, and another connection finds
/// the one that has taken its target.
const BEGIN_TIMEOUT: Duration = Duration::from_secs(3);

/// A read transaction on a reading connection: repeatable, so that all it reads is of one instant.
pub(crate) struct PostgresSnapshot<'a>(RefCell<Reader<'a>>);

impl<'a> PostgresSnapshot<'a> {
    pub(crate) fn begin(mut connection: Reader<'a>) -> Result<Self, Failure> {
        // The view is that of the first read, not of BEGIN.
        let steps = [
            Query::new("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"),
            Query::new("SELECT id FROM store WHERE id = 1"),
        ];
        connection.execute_with_timeout(BEGIN_TIMEOUT, &steps)?;
        Ok(Self(RefCell::new(connection)))
    }

    fn connection(&self) -> Result<RefMut<'_, Reader<'a>>, StoreError> {
        let again = |_| StoreError::Unavailable("a snapshot is read by two at once".to_owned());
        self.0.try_borrow_mut().map_err(again)
    }

    fn rows(&self, step: Query<'_>) -> Result<Vec<Row>, StoreError> {
        let answers = self.connection()?.execute(&[step]).map_err(Failure::before_commit)?;
        Ok(answers.into_iter().next().unwrap_or_default())
    }

    fn many<T>(
        &self,
        step: Query<'_>,
        read: fn(&Row) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        self.rows(step)?.iter().map(read).collect()
    }

    fn one<T>(
        &self,
        step: Query<'_>,
        read: fn(&Row) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        self.rows(step)?.first().map(read).transpose()
    }

    /// A row of a table by id.
    fn by_id<T>(
        &self,
        (table, columns, id): (&str, &str, i64),
        read: fn(&Row) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        self.one(Query::new(format!("SELECT {columns} FROM {table} WHERE id = $1")).with(id), read)
    }

    /// Rows of a table by id, from `start` on.
    fn from<T>(
        &self,
        (table, columns, start): (&str, &str, i64),
        limit: usize,
        read: fn(&Row) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        let sql = format!("SELECT {columns} FROM {table} WHERE id >= $1 ORDER BY id LIMIT $2");
        self.many(Query::new(sql).with(start).with(wanted(limit)), read)
    }

    /// Puts their lines into orders.
    fn with_lines(&self, mut orders: Vec<Order>) -> Result<Vec<Order>, StoreError> {
        if orders.is_empty() {
            return Ok(orders);
        }
        let ids: Vec<i64> = orders.iter().map(|order| order.id.get()).collect();
        let read = self.rows(Query::new(rows::select_lines()).with(ids))?;
        rows::lines(&read, |id, line| {
            if let Some(order) = orders.iter_mut().find(|order| order.id == id) {
                order.lines.push(line);
            }
        })?;
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

fn wanted(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// A chain of rows of one customer, from the newest back, as far as `counted` rows are fewer than wanted.
/// A chain goes back; one that does not is damaged and would never end.
fn chain(table: &str, columns: &str, counted: &str) -> String {
    let of_table: Vec<String> =
        columns.split(", ").map(|column| format!("older.{}", column.trim())).collect();
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

impl Snapshot for PostgresSnapshot<'_> {
    fn account(&self, id: CustomerId) -> Result<Option<Account>, StoreError> {
        self.by_id(("customers", ACCOUNT, id.get()), rows::account)
    }

    fn credentials(&self, login: &str) -> Result<Option<Credentials>, StoreError> {
        if !rows::may_be_kept(login) {
            return Ok(None);
        }
        let sql = format!(
            "SELECT {CREDENTIALS} FROM customers JOIN credentials ON customer_id = id WHERE login = $1"
        );
        self.one(Query::new(sql).with(login), rows::credentials)
    }

    fn session(&self, token: TokenHash) -> Result<Option<(SessionRow, Role)>, StoreError> {
        let sql = "SELECT sessions.customer_id, sessions.created_at, sessions.expires_at, role
                   FROM sessions JOIN customers ON customers.id = sessions.customer_id
                   WHERE token = $1";
        let rows = self.rows(Query::new(sql).with(token.as_bytes().as_slice()))?;
        rows.first().map(|row| Ok((session(row, token)?, get(row, 3)?))).transpose()
    }

    fn customers(&self, start: CustomerId, limit: usize) -> Result<Vec<Customer>, StoreError> {
        self.from(("customers", ACCOUNT, start.get()), limit, rows::customer)
    }

    fn product(&self, id: ProductId) -> Result<Option<Product>, StoreError> {
        self.by_id(("products", PRODUCT, id.get()), rows::product)
    }

    fn products(&self, start: ProductId, limit: usize) -> Result<Vec<Product>, StoreError> {
        let sql = format!(
            "SELECT {PRODUCT} FROM products WHERE id >= $1 AND status = 'active' ORDER BY id LIMIT $2"
        );
        self.many(Query::new(sql).with(start.get()).with(wanted(limit)), rows::product)
    }

    fn cart(&self, customer: CustomerId) -> Result<CartLines, StoreError> {
        let sql = "SELECT product_id, quantity FROM cart_lines WHERE customer_id = $1";
        let rows = self.rows(Query::new(sql).with(customer.get()))?;
        rows.iter().map(|row| Ok((get(row, 0)?, get(row, 1)?))).collect()
    }

    fn coupon(&self, id: CouponId) -> Result<Option<Coupon>, StoreError> {
        self.by_id(("coupons", COUPON, id.get()), rows::coupon)
    }

    fn coupons(&self, start: CouponId, limit: usize) -> Result<Vec<Coupon>, StoreError> {
        self.from(("coupons", COUPON, start.get()), limit, rows::coupon)
    }

    fn owned_coupons(
        &self,
        customer: CustomerId,
        start: CouponId,
        limit: usize,
    ) -> Result<Vec<OwnedCoupon>, StoreError> {
        let sql = format!(
            "SELECT {OWNED_COUPON} FROM owned_coupons WHERE customer_id = $1 AND coupon_id >= $2
             ORDER BY coupon_id LIMIT $3"
        );
        let step = Query::new(sql).with(customer.get()).with(start.get()).with(wanted(limit));
        self.many(step, rows::owned_coupon)
    }

    fn owned_coupon(
        &self,
        customer: CustomerId,
        id: OwnedCouponId,
    ) -> Result<Option<OwnedCoupon>, StoreError> {
        let sql =
            format!("SELECT {OWNED_COUPON} FROM owned_coupons WHERE id = $1 AND customer_id = $2");
        self.one(Query::new(sql).with(id.get()).with(customer.get()), rows::owned_coupon)
    }

    fn order(&self, id: OrderId) -> Result<Option<Order>, StoreError> {
        let sql = format!("SELECT {ORDER} FROM orders WHERE id = $1");
        let order = self.one(Query::new(sql).with(id.get()), rows::order)?;
        Ok(self.with_lines(order.into_iter().collect())?.pop())
    }

    fn orders(
        &self,
        customer: CustomerId,
        start: OrderId,
        limit: usize,
    ) -> Result<Vec<Order>, StoreError> {
        let step = Query::new(chain("orders", ORDER, "1::bigint"));
        let step = step.with(start.get()).with(customer.get()).with(wanted(limit));
        let mut orders = self.many(step, rows::order)?;
        orders.truncate(limit);
        self.with_lines(orders)
    }

    fn ledger(
        &self,
        customer: CustomerId,
        start: LedgerEntryId,
        limit: usize,
        filter: LedgerFilter,
    ) -> Result<Vec<LedgerEntry>, StoreError> {
        let counted = match filter {
            LedgerFilter::All => "1::bigint",
            LedgerFilter::Payments => {
                "CASE WHEN kind IN ('payment', 'refund') THEN 1::bigint ELSE 0 END"
            }
        };
        let step = Query::new(chain("ledger", LEDGER, counted));
        let step = step.with(start.get()).with(customer.get()).with(wanted(limit));
        let mut entries = self.many(step, rows::ledger_entry)?;
        entries.retain(|entry| filter == LedgerFilter::All || entry.as_payment().is_some());
        entries.truncate(limit);
        Ok(entries)
    }

    fn charge(&self, id: ChargeId) -> Result<Option<ChargeRow>, StoreError> {
        self.by_id(("charges", CHARGE, id.get()), rows::charge)
    }

    fn charge_by_reference(&self, reference: &str) -> Result<Option<ChargeRow>, StoreError> {
        if !rows::may_be_kept(reference) {
            return Ok(None);
        }
        let sql = format!("SELECT {CHARGE} FROM charges WHERE reference = $1");
        self.one(Query::new(sql).with(reference.to_owned()), rows::charge)
    }

    fn pending_charges(
        &self,
        (customer, id): (CustomerId, ChargeId),
        limit: usize,
    ) -> Result<Vec<ChargeRow>, StoreError> {
        let sql = format!(
            "SELECT {CHARGE} FROM charges WHERE status = 'pending' AND (customer_id, id) >= ($1, $2)
             ORDER BY customer_id, id LIMIT $3"
        );
        let step = Query::new(sql).with(customer.get()).with(id.get()).with(wanted(limit));
        self.many(step, rows::charge)
    }

    fn count_pending_charges(&self) -> Result<u64, StoreError> {
        let sql = "SELECT count(*) FROM charges WHERE status = 'pending'";
        let count: Option<i64> = self.one(Query::new(sql), |row| get(row, 0))?;
        Ok(count.and_then(|count| u64::try_from(count).ok()).unwrap_or(0))
    }

    fn has_due_orders(&self, now: Timestamp) -> Result<bool, StoreError> {
        let sql = "SELECT 1 FROM orders WHERE status = 'pending' AND expires_at <= $1 LIMIT 1";
        Ok(!self.rows(Query::new(sql).with(now.unix()))?.is_empty())
    }

    fn events(&self, start: EventId, limit: usize) -> Result<Vec<EventRow>, StoreError> {
        self.from(("events", EVENT, start.get()), limit, rows::event)
    }

    fn epochs(&self) -> Result<Vec<Epoch>, StoreError> {
        self.many(Query::new(EPOCHS), rows::epoch)
    }

    fn next_event(&self) -> Result<EventId, StoreError> {
        self.one(Query::new(NEXT_EVENT), |row| get(row, 0))?.ok_or_else(no_store)
    }

    fn deliveries(
        &self,
        start: EventId,
        limit: usize,
        filter: DeliveryFilter,
    ) -> Result<Vec<DeliveryRow>, StoreError> {
        let step = Query::new(deliveries_from(filter, "$1", "$2"));
        self.many(step.with(start.get()).with(wanted(limit)), rows::delivery)
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

    fn scan(&self, table: Table, visit: &mut dyn FnMut(Record)) -> Result<(), StoreError> {
        scan::scan(&mut *self.connection()?, table, visit)
    }

    fn size(&self) -> Result<StoreSize, StoreError> {
        // The log belongs to the server, which keeps it for all its databases.
        let step = Query::new("SELECT pg_database_size(current_database())");
        let bytes: Option<i64> = self.one(step, |row| get(row, 0))?;
        let data = bytes.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(0);
        Ok(StoreSize { data, log: 0 })
    }

    fn integrity(&self) -> Result<Vec<String>, StoreError> {
        integrity::check(&mut *self.connection()?)
    }

    fn sales_levels(&self) -> Result<Vec<SalesLevel>, StoreError> {
        sales::closed(&self.rows(sales::select_closed())?).map(levels)
    }
}
