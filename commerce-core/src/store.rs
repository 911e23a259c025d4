//! The extension API for stores: implement [`Store`], [`Transaction`] and [`Snapshot`] to keep the rows elsewhere.
//! A store moves rows and decides nothing.
//!
//! The engine calls [`Transaction::load`] with the read set of a batch ([`Needs`]), runs the rules on the loaded
//! [`State`], and has its changes saved by [`Transaction::apply`] and [`Transaction::commit`]. A store on an SQL
//! database finds its statements in [`columns`], [`deliveries`] and [`sales_rollup`].

use crate::clock::Timestamp;
use crate::digest::Digest;
use crate::error::StoreError;
use crate::id::{
    AuditEntryId, ChargeId, CouponId, CustomerId, EventId, Key, LedgerEntryId, OrderId,
    OwnedCouponId, ProductId, RefundId, StockMovementId, TokenId,
};
use crate::model::audit_trail::Actor;
use crate::model::coupon::{Coupon, OwnedCoupon};
use crate::model::delivery::Outbox;
use crate::model::order::{LineCancellation, Order, OrderStatus};
use crate::model::product::Product;
use crate::model::wallet::{Customer, LedgerEntry, Role};
use crate::money::{Currency, Money};
use crate::{entropy, text, threads};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

pub mod columns;
pub mod deliveries;
pub mod lists;
pub(crate) mod memory;
pub mod pool;
mod record_digest;
pub mod sales_rollup;
pub(crate) mod sqlite;
pub mod values;

pub use crate::digest::Digested;
pub use crate::idempotency::{IdempotencyRecord, RefusedRequest, StoredResult};
pub use crate::model::audit_trail::AuditEntry;
pub use crate::model::auth::{
    Credentials, LoginAttempts, LoginHash, PasswordHash, SessionRow, TokenHash,
};
pub use crate::model::cart::CartLines;
pub use crate::model::coupon::CouponUsage;
pub use crate::model::delivery::DeliveryRow;
pub use crate::model::event::{Epoch, EventRow};
pub use crate::model::order::PartPosition;
pub use crate::model::product::{Purchase, StockMovement};
pub use crate::model::refund::RefundRow;
pub use crate::model::sale::{Figure, Figures, FirstOrder, Sale, Sold};
pub use crate::model::settings::Settings;
pub use crate::model::token::Token;
pub use crate::model::wallet::{Account, ChargeRow, ChargeSource};
pub use crate::query::filter::{ChargeFilter, OrderFilter};
pub use crate::state::{
    Change, Deliveries, DueEventsQuery, Erasure, Needs, NextIds, PersonalData, Purchases, Rows,
    SessionChange, State, may_be_personal,
};
pub use lists::{Direction, IdRange};

/// Stores begin an epoch when they are created, and when they are copied or restored.
impl Epoch {
    /// Begins an epoch with a random name.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] if the system has no random numbers.
    pub fn begin(first_event: EventId) -> Result<Self, StoreError> {
        Ok(Self { first_event, name: entropy::hex::<8>()? })
    }
}

/// A place where the rows of the service are kept.
pub trait Store: Send + Sync {
    /// Returns the currency of the store, which all its amounts are in.
    fn currency(&self) -> Currency;

    /// Begins the transaction that writes, one at a time; it or its first load waits while another one writes.
    ///
    /// # Errors
    ///
    /// [`StoreError::Busy`] when others write for too long, and any other failure of the store.
    fn begin(&self) -> Result<Box<dyn Transaction + '_>, StoreError>;

    /// Begins a transaction as [`Store::begin`] does, but returns `None` while another process writes.
    ///
    /// # Errors
    ///
    /// Any failure of the store.
    fn try_begin(&self) -> Result<Option<Box<dyn Transaction + '_>>, StoreError>;

    /// Returns true if a transaction begins at once. A store on a server may have to connect first, which can take longer
    /// than a caller waits.
    fn begins_at_once(&self) -> bool {
        true
    }

    /// Begins a snapshot: a consistent view of the store as of its first read.
    ///
    /// # Errors
    ///
    /// Any failure of the store.
    fn snapshot(&self) -> Result<Box<dyn Snapshot + '_>, StoreError>;

    /// Returns true if a snapshot never waits for another machine, so that an async program may read on the threads of
    /// its executor.
    fn reads_locally(&self) -> bool {
        false
    }

    /// Acquires the resources of overlapping reads, so that a server fails before it accepts requests.
    ///
    /// # Errors
    ///
    /// A resource that is missing.
    fn prepare(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Returns a text about each machine behind the store that does not answer. A store on one machine has none.
    ///
    /// # Errors
    ///
    /// Any failure of the store.
    fn unreachable_machines(&self) -> Result<Vec<String>, StoreError> {
        Ok(Vec::new())
    }

    /// Copies all commits from a log into the store itself, if there is a log and no reader needs it: a process
    /// that is about to end leaves one file that is the whole store.
    ///
    /// # Errors
    ///
    /// Any failure of the store; all commits are safe nevertheless.
    fn flush(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// A store may be shared, by a shop and by code that reads its rows.
impl<S: Store + ?Sized> Store for Arc<S> {
    fn currency(&self) -> Currency {
        (**self).currency()
    }

    fn begin(&self) -> Result<Box<dyn Transaction + '_>, StoreError> {
        (**self).begin()
    }

    fn try_begin(&self) -> Result<Option<Box<dyn Transaction + '_>>, StoreError> {
        (**self).try_begin()
    }

    fn begins_at_once(&self) -> bool {
        (**self).begins_at_once()
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot + '_>, StoreError> {
        (**self).snapshot()
    }

    fn reads_locally(&self) -> bool {
        (**self).reads_locally()
    }

    fn prepare(&self) -> Result<(), StoreError> {
        (**self).prepare()
    }

    fn unreachable_machines(&self) -> Result<Vec<String>, StoreError> {
        (**self).unreachable_machines()
    }

    fn flush(&self) -> Result<(), StoreError> {
        (**self).flush()
    }
}

/// A transaction that writes. Dropping it without [`Transaction::commit`] rolls it back.
pub trait Transaction {
    /// Adds the read set to the state: every row in `needs`, or the knowledge that it does not exist. A load
    /// after which the same rows are still needed fails the commands with [`StoreError::ConstraintViolation`].
    ///
    /// # Errors
    ///
    /// [`StoreError::Busy`] from the first load when others write, as from [`Store::begin`]: the commands are tried again
    /// together. Any other failure of the store; the transaction cannot be used after it.
    fn load(&mut self, needs: &Needs, state: &mut State) -> Result<(), StoreError>;

    /// Announces a copy: rows are saved without loading those that they refer to, and with long pauses, while another store
    /// is read. The transaction is not aborted for being idle. It is called after a load.
    ///
    /// # Errors
    ///
    /// Any failure of the store; the transaction cannot be used after it.
    fn expect_copy(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Limits how long the transaction waits for locks of others, counted from now: it rather fails as
    /// [`StoreError::Busy`]. It is called before the first load, which may wait for other writers, and again after it, with
    /// the time until the earliest deadline of a caller or less.
    fn limit_waits(&mut self, _limit: Duration) {}

    /// Saves the changes of the state.
    ///
    /// # Errors
    ///
    /// [`StoreError::ConstraintViolation`] when a constraint of the store refused a row, [`StoreError::Busy`] when
    /// another session keeps a row or table locked, [`StoreError::Full`] and any other failure of the store; the
    /// transaction cannot be used after it. After the first two, each command of the batch is tried by itself.
    fn apply(&mut self, state: &State) -> Result<(), StoreError>;

    /// Ends a transaction that has changed nothing: it is rolled back. On return every commit that it has read is durable,
    /// so that its answers are not based on one that may get lost. By default it does nothing more: that is right for a
    /// store in which commits become visible once they are durable.
    ///
    /// # Errors
    ///
    /// Any failure of the store.
    fn end_unchanged(self: Box<Self>) -> Result<(), StoreError> {
        Ok(())
    }

    /// Commits. On return the changes are on disk, and so is every commit that the transaction has read, even
    /// if it changed no row.
    ///
    /// # Errors
    ///
    /// [`StoreError::CommitUnknown`] when the changes may or may not be saved; with any other error they are not.
    fn commit(self: Box<Self>) -> Result<(), StoreError>;
}

/// A consistent view of the store.
///
/// Lists with a start include that row (keyset pagination). Every method returns the failure of the store.
#[expect(clippy::missing_errors_doc, reason = "documented at the trait")]
pub trait Snapshot {
    /// Returns a customer with the balance.
    fn account(&self, id: CustomerId) -> Result<Option<Account>, StoreError>;
    /// Returns the credentials of a login.
    fn credentials(&self, login: &str) -> Result<Option<Credentials>, StoreError>;
    /// Returns the count of failed attempts of a login.
    fn login_attempts(&self, login: LoginHash) -> Result<Option<LoginAttempts>, StoreError>;
    /// Returns the session of a token, with the present role of its customer.
    fn session(&self, token: TokenHash) -> Result<Option<(SessionRow, Role)>, StoreError>;
    /// Returns the sessions of a customer, or all of them, in the order of their hashes from `start` on, whether or not they
    /// have expired.
    fn sessions(
        &self,
        customer: Option<CustomerId>,
        start: TokenHash,
        limit: usize,
    ) -> Result<Vec<SessionRow>, StoreError>;
    /// Returns the token of a program with that hash ([`Token::hash`]).
    fn token(&self, hash: &str) -> Result<Option<Token>, StoreError>;
    /// Returns tokens in id order, from `start` on.
    fn tokens(&self, start: TokenId, limit: usize) -> Result<Vec<Token>, StoreError>;
    /// Returns entries of the audit trail, of one actor or all, newest first, from `start` back.
    fn audit_trail(
        &self,
        actor: Option<Actor>,
        start: AuditEntryId,
        limit: usize,
    ) -> Result<Vec<AuditEntry>, StoreError>;
    /// Returns the entries of the audit trail about these orders.
    fn audit_trail_of_orders(&self, orders: &[OrderId]) -> Result<Vec<AuditEntry>, StoreError>;
    /// Returns customers in id order, from `start` on.
    fn customers(&self, start: CustomerId, limit: usize) -> Result<Vec<Customer>, StoreError>;
    /// Returns a product.
    fn product(&self, id: ProductId) -> Result<Option<Product>, StoreError>;
    /// Returns active products in id order, from `start` on.
    fn products(&self, start: ProductId, limit: usize) -> Result<Vec<Product>, StoreError>;
    /// Returns active and archived products in id order, from `start` on.
    fn all_products(&self, start: ProductId, limit: usize) -> Result<Vec<Product>, StoreError>;
    /// Returns the manual changes of the stock of a product, from `start` on.
    fn stock_movements(
        &self,
        product: ProductId,
        start: StockMovementId,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<StockMovement>, StoreError>;
    /// Returns the lines of a cart.
    fn cart(&self, customer: CustomerId) -> Result<CartLines, StoreError>;
    /// Returns a coupon campaign.
    fn coupon(&self, id: CouponId) -> Result<Option<Coupon>, StoreError>;
    /// Returns coupon campaigns in id order, from `start` on.
    fn coupons(&self, start: CouponId, limit: usize) -> Result<Vec<Coupon>, StoreError>;
    /// Returns the claimed coupons of a customer in campaign order, from `start` on.
    fn owned_coupons(
        &self,
        customer: CustomerId,
        start: CouponId,
        limit: usize,
    ) -> Result<Vec<OwnedCoupon>, StoreError>;
    /// Returns a claimed coupon; `None` if it belongs to another customer.
    fn owned_coupon(
        &self,
        customer: CustomerId,
        id: OwnedCouponId,
    ) -> Result<Option<OwnedCoupon>, StoreError>;
    /// Returns the claims of a coupon campaign by rank, from `start` on.
    fn claims(
        &self,
        coupon: CouponId,
        start: i64,
        limit: usize,
    ) -> Result<Vec<OwnedCoupon>, StoreError>;
    /// Returns an order.
    fn order(&self, id: OrderId) -> Result<Option<Order>, StoreError>;
    /// Returns the orders with these ids that exist, in any order.
    fn orders_by_id(&self, ids: &[OrderId]) -> Result<Vec<Order>, StoreError> {
        let orders = ids.iter().map(|id| self.order(*id));
        Ok(orders.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
    }
    /// Returns the id of the newest order.
    fn last_order(&self) -> Result<Option<OrderId>, StoreError>;
    /// Returns the orders in a range of ids that match a filter, newest first. It may examine each order of the range.
    fn orders_in(
        &self,
        range: IdRange<OrderId>,
        filter: &OrderFilter,
        limit: usize,
    ) -> Result<Vec<Order>, StoreError>;
    /// Returns the id of the last of `rows` orders with a rare status, any but paid, from `start` back; `None` if there are
    /// fewer. It examines no others.
    fn oldest_of_status(
        &self,
        status: OrderStatus,
        start: OrderId,
        rows: usize,
    ) -> Result<Option<OrderId>, StoreError>;
    /// Returns the cancelled and expired orders by the instant at which they gave their stock back, and by id, from `start`
    /// on.
    fn released_orders(
        &self,
        start: (Timestamp, OrderId),
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<Order>, StoreError>;
    /// Returns the cancellations of parts that put units of a product back to its stock, along their instant, order and
    /// number, from `start`.
    fn restocked_parts(
        &self,
        product: ProductId,
        start: PartPosition,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<LineCancellation>, StoreError>;
    /// Returns the orders of a customer, newest first, from `start` back; none if `start` belongs to another
    /// customer.
    fn orders(
        &self,
        customer: CustomerId,
        start: OrderId,
        limit: usize,
    ) -> Result<Vec<Order>, StoreError>;
    /// Returns the ledger of a customer, newest first, from `start` back; none if `start` belongs to another
    /// customer.
    fn ledger(
        &self,
        customer: CustomerId,
        start: LedgerEntryId,
        limit: usize,
        filter: LedgerFilter,
    ) -> Result<Vec<LedgerEntry>, StoreError>;
    /// Returns a charge.
    fn charge(&self, id: ChargeId) -> Result<Option<ChargeRow>, StoreError>;
    /// Returns the id of the newest charge.
    fn last_charge(&self) -> Result<Option<ChargeId>, StoreError>;
    /// Returns the charges in a range of ids that match a filter, newest first. It may examine each charge of the range.
    fn charges_in(
        &self,
        range: IdRange<ChargeId>,
        filter: ChargeFilter,
        limit: usize,
    ) -> Result<Vec<ChargeRow>, StoreError>;
    /// Returns the charge with that reference at its gateway.
    fn charge_by_reference(&self, reference: &str) -> Result<Option<ChargeRow>, StoreError>;
    /// Returns pending charges, with an unknown result at the gateway, in order of customer and id, from `start` on.
    fn pending_charges(
        &self,
        start: (CustomerId, ChargeId),
        limit: usize,
    ) -> Result<Vec<ChargeRow>, StoreError>;
    /// Returns the number of pending charges.
    fn count_pending_charges(&self) -> Result<u64, StoreError>;
    /// Returns a refund or dispute of a charge.
    fn refund(&self, id: RefundId) -> Result<Option<RefundRow>, StoreError>;
    /// Returns the refunds and disputes of a charge, oldest first, from `start` on.
    fn refunds_of(
        &self,
        charge: ChargeId,
        start: RefundId,
        limit: usize,
    ) -> Result<Vec<RefundRow>, StoreError>;
    /// Returns the requested refunds with an unknown result at the gateway, oldest first, from `start` on.
    fn pending_refunds(&self, start: RefundId, limit: usize) -> Result<Vec<RefundRow>, StoreError>;
    /// Returns the number of requested refunds with an unknown result at the gateway.
    fn count_pending_refunds(&self) -> Result<u64, StoreError>;
    /// Returns the records of an idempotency key in all scopes, by scope.
    fn keys(&self, key: &Key) -> Result<Vec<(CustomerId, IdempotencyRecord)>, StoreError>;
    /// Returns true if an unpaid order is overdue at `now`.
    fn has_due_orders(&self, now: Timestamp) -> Result<bool, StoreError>;
    /// Returns events in id order, from `start` on.
    fn events(&self, start: EventId, limit: usize) -> Result<Vec<EventRow>, StoreError>;
    /// Returns the epochs of events, in order of their first event.
    fn epochs(&self) -> Result<Vec<Epoch>, StoreError>;
    /// Returns the id of the newest event.
    fn last_event(&self) -> Result<Option<EventId>, StoreError>;
    /// Returns the id of the first event that no relay has leased yet.
    fn next_event(&self) -> Result<EventId, StoreError>;
    /// Returns unfinished deliveries in event order, from `start` on.
    fn deliveries(
        &self,
        start: EventId,
        limit: usize,
        filter: DeliveryFilter,
    ) -> Result<Vec<DeliveryRow>, StoreError>;
    /// Returns true if an event may be sent at `now`.
    fn has_due_events(&self, now: Timestamp) -> Result<bool, StoreError>;
    /// Returns the numbers of events that wait to be delivered.
    fn outbox(&self) -> Result<Outbox, StoreError>;
    /// Returns the best-selling products of `(after, until]`: most units first, ties by id.
    fn best_sellers(
        &self,
        after: Timestamp,
        until: Timestamp,
        limit: usize,
    ) -> Result<Vec<(ProductId, i64)>, StoreError>;
    /// Visits every row of a table in key order, until a visit breaks; the digest of a row, if it has one, comes before it.
    /// A store fetches some rows at a time, so that no table must fit in memory.
    fn scan_while(
        &self,
        table: Table,
        visit: &mut dyn FnMut(Record) -> ControlFlow<()>,
    ) -> Result<(), StoreError>;
    /// Visits every row of a table as [`Snapshot::scan_while`] does.
    fn scan(&self, table: Table, visit: &mut dyn FnMut(Record)) -> Result<(), StoreError> {
        self.scan_while(table, &mut |record| {
            visit(record);
            ControlFlow::Continue(())
        })
    }
    /// Announces long pauses inside scans, such as those of a receiver that is slow to take the rows: the snapshot is not
    /// ended for being idle.
    fn expect_pauses(&self) -> Result<(), StoreError> {
        Ok(())
    }
    /// Returns the products sold in `(after, until]` with the units and the money, in no order.
    fn product_sales(
        &self,
        after: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<(ProductId, Sold)>, StoreError>;
    /// Returns the figures of each `(edges[i], edges[i + 1]]`; edges ascend.
    fn sales_totals(&self, edges: &[Timestamp]) -> Result<Vec<Figures>, StoreError>;
    /// Returns the settings of the shop.
    fn settings(&self) -> Result<Settings, StoreError>;
    /// Returns the levels of the sales roll-up.
    fn sales_levels(&self) -> Result<Vec<SalesLevel>, StoreError>;
    /// Returns the size of the store on disk; zero for a store in memory.
    fn size(&self) -> Result<StoreSize, StoreError> {
        Ok(StoreSize::default())
    }
    /// Runs the integrity check of the storage engine and returns its findings.
    fn integrity(&self) -> Result<Vec<String>, StoreError> {
        Ok(Vec::new())
    }
}

/// The size of a store on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreSize {
    /// Bytes of the data.
    pub data: u64,
    /// Bytes of the log, if the store has one of its own.
    pub log: u64,
}

/// A filter of ledger entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LedgerFilter {
    /// All entries.
    All,
    /// Payments and refunds of orders.
    Payments,
}

/// A filter of deliveries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryFilter {
    /// All deliveries.
    All,
    /// Parked deliveries (dead letters).
    Parked,
}

/// A table of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each is named after the record it holds")]
pub enum Table {
    Accounts,
    Products,
    StockMovements,
    Carts,
    Coupons,
    OwnedCoupons,
    Orders,
    Purchases,
    Charges,
    Refunds,
    Ledger,
    Events,
    Epochs,
    Relay,
    Deliveries,
    Keys,
    Sales,
    Credentials,
    Sessions,
    Settings,
    Tokens,
    AuditTrail,
}

impl Table {
    /// All tables, referenced ones before those that refer to them.
    pub const ALL: [Self; 22] = [
        Self::Accounts,
        Self::Products,
        Self::StockMovements,
        Self::Carts,
        Self::Coupons,
        Self::OwnedCoupons,
        Self::Orders,
        Self::Purchases,
        Self::Charges,
        Self::Refunds,
        Self::Ledger,
        Self::Events,
        Self::Epochs,
        Self::Relay,
        Self::Deliveries,
        Self::Tokens,
        Self::Keys,
        Self::Sales,
        Self::Credentials,
        Self::Sessions,
        Self::Settings,
        Self::AuditTrail,
    ];

    /// Returns the name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Accounts => "customers",
            Self::Products => "products",
            Self::StockMovements => "stock_movements",
            Self::Carts => "carts",
            Self::Coupons => "coupons",
            Self::OwnedCoupons => "owned_coupons",
            Self::Orders => "orders",
            Self::Purchases => "purchases",
            Self::Charges => "charges",
            Self::Refunds => "refunds",
            Self::Ledger => "ledger",
            Self::Events => "events",
            Self::Epochs => "epochs",
            Self::Relay => "relay",
            Self::Deliveries => "deliveries",
            Self::Keys => "keys",
            Self::Sales => "sales",
            Self::Credentials => "credentials",
            Self::Sessions => "sessions",
            Self::Settings => "settings",
            Self::Tokens => "tokens",
            Self::AuditTrail => "audit_trail",
        }
    }
}

/// A row of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is named after what it holds")]
pub enum Record {
    Account(Account),
    Product(Product),
    StockMovement(StockMovement),
    CartLine {
        customer_id: CustomerId,
        product_id: ProductId,
        quantity: i64,
    },
    Coupon(Coupon),
    OwnedCoupon(OwnedCoupon),
    Order(Order),
    Purchase(Purchase),
    Charge(ChargeRow),
    Refund(RefundRow),
    LedgerEntry(LedgerEntry),
    Event(EventRow),
    Epoch(Epoch),
    /// The first event that no relay has leased yet; the one row of its table.
    NextEvent(EventId),
    Delivery(DeliveryRow),
    Key {
        key: Key,
        owner: CustomerId,
        record: IdempotencyRecord,
    },
    SalesCount(SalesCount),
    Credentials(Credentials),
    Session(SessionRow),
    /// The settings of the shop; the one row of its table.
    Settings(Settings),
    Token(Token),
    AuditEntry(AuditEntry),
    /// The digest of the row that follows it, which is of the same table; not a row of its own.
    Digest {
        of: Digested,
        digest: i64,
    },
}

/// A level of the sales roll-up, with its watermark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SalesLevel {
    /// The length of a bucket in seconds.
    pub seconds: i64,
    /// The watermark: sales before it are counted at this level, later ones at finer levels only.
    pub until: Timestamp,
    /// True if its buckets have the units and the money of products.
    pub has_products: bool,
    /// True if its buckets have figures.
    pub has_totals: bool,
}

/// A count of a bucket of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SalesCount {
    /// The length of the bucket in seconds.
    pub seconds: i64,
    /// The start of the bucket; a multiple of its length.
    pub start: Timestamp,
    /// The quantity that is counted.
    pub of: Counted,
    /// The count.
    pub count: i64,
}

/// A quantity that is counted in buckets of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Counted {
    /// Units of a product, without those of cancelled orders.
    Units(ProductId),
    /// The money for these units, after discounts.
    Net(ProductId),
    /// A figure of all orders.
    Figure(Figure),
}

impl Sale {
    /// Returns its counts.
    pub(crate) fn counts(&self) -> impl Iterator<Item = (Counted, i64)> + '_ {
        let products = self.products.iter().flat_map(|(product, sold)| {
            [(Counted::Units(*product), sold.units), (Counted::Net(*product), sold.net.minor())]
        });
        products.chain(self.figures.iter().map(|(figure, count)| (Counted::Figure(figure), count)))
    }

    /// Returns the sale of one count.
    pub(crate) fn of_count(at: Timestamp, of: Counted, count: i64) -> Self {
        let mut sale = Self { at, figures: Figures::default(), products: Vec::new() };
        match of {
            Counted::Units(product) => {
                sale.products.push((product, Sold { units: count, net: Money::ZERO }));
            }
            Counted::Net(product) => {
                sale.products.push((product, Sold { units: 0, net: Money::from_minor(count) }));
            }
            Counted::Figure(figure) => sale.figures.add(figure, count),
        }
        sale
    }
}

/// The canonical form of a login name, which every store keeps; `None` for an invalid one.
#[must_use]
pub fn canonical_login(login: &str) -> Option<String> {
    text::login(login)
}

/// Calls a library that starts this many threads and panics when the system refuses one. The threads are
/// tried first, so that the caller gets an error instead.
///
/// # Errors
///
/// [`StoreError::Unavailable`] if the system refuses a thread.
pub fn with_threads<T>(threads: usize, make: impl FnOnce() -> T) -> Result<T, StoreError> {
    threads::for_library(threads, make)
}

/// Passes a row to `visit`, preceded by its digest if it has one.
pub fn visit_with_digest(
    record: Record,
    digest: Option<i64>,
    visit: &mut dyn FnMut(Record) -> ControlFlow<()>,
) -> ControlFlow<()> {
    if let Some(((of, _), digest)) = record.hashed().zip(digest) {
        visit(Record::Digest { of, digest })?;
    }
    visit(record)
}
