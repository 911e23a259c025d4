//! What the engine and the reads ask of a store. Stores move rows; they decide nothing.

use crate::clock::Timestamp;
use crate::digest::{Digest, Digested};
use crate::error::StoreError;
use crate::id::{
    ChargeId, CouponId, CustomerId, EventId, Key, LedgerEntryId, OrderId, OwnedCouponId, ProductId,
};
use crate::model::coupon::{Coupon, OwnedCoupon};
use crate::model::delivery::Outbox;
use crate::model::event::Epoch;
use crate::model::order::Order;
use crate::model::product::{Product, StockMovement};
use crate::model::wallet::{Customer, LedgerEntry, Role};
use crate::money::Currency;
use crate::{text, threads};
use std::sync::Arc;

pub mod columns;
pub mod deliveries;
pub(crate) mod memory;
pub mod pool;
pub mod sales_rollup;
pub(crate) mod sqlite;

pub use crate::model::auth::{
    Credentials, LoginAttempts, LoginHash, PasswordHash, SessionRow, TokenHash,
};
pub use crate::model::cart::CartLines;
pub use crate::model::delivery::DeliveryRow;
pub use crate::model::event::EventRow;
pub use crate::model::idempotency::{IdempotencyRecord, StoredResult};
pub use crate::model::wallet::{Account, ChargeRow, ChargeSource};
pub use crate::state::{
    Change, Deliveries, DueEventsQuery, Needs, NextIds, Rows, Sale, SessionChange, State,
};

/// Where everything is kept.
pub trait Store: Send + Sync {
    /// The one currency of the store.
    fn currency(&self) -> Currency;

    /// Begins the one transaction that writes; waits while others write.
    ///
    /// # Errors
    ///
    /// [`StoreError::Busy`] when others write for too long, and whatever else is wrong with the store.
    fn begin(&self) -> Result<Box<dyn Transaction + '_>, StoreError>;

    /// As [`Store::begin`], but `None` when another process is writing.
    ///
    /// # Errors
    ///
    /// Whatever is wrong with the store.
    fn try_begin(&self) -> Result<Option<Box<dyn Transaction + '_>>, StoreError>;

    /// A view of the store as it is when it is first read from, which later commits do not change.
    ///
    /// # Errors
    ///
    /// Whatever is wrong with the store.
    fn snapshot(&self) -> Result<Box<dyn Snapshot + '_>, StoreError>;

    /// Gets what reads that overlap will need, so that a server finds out before it takes requests.
    ///
    /// # Errors
    ///
    /// Whatever cannot be had.
    fn prepare(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Brings all that was committed from a log into the store itself, where there is one and no reader needs
    /// it: a process that is about to end leaves one file that is the whole store.
    ///
    /// # Errors
    ///
    /// Whatever is wrong with the store; all that was committed is safe nevertheless.
    fn flush(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// A store may be shared: by a shop and by who looks at its rows.
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

    fn snapshot(&self) -> Result<Box<dyn Snapshot + '_>, StoreError> {
        (**self).snapshot()
    }

    fn prepare(&self) -> Result<(), StoreError> {
        (**self).prepare()
    }

    fn flush(&self) -> Result<(), StoreError> {
        (**self).flush()
    }
}

/// A transaction that writes. Dropped without [`Transaction::commit`], it leaves nothing behind.
pub trait Transaction {
    /// Puts what is needed into the state: every row asked for, or the knowledge that there is none. A load
    /// after which the same rows are still needed fails the commands with [`StoreError::ConstraintViolation`].
    ///
    /// # Errors
    ///
    /// Whatever is wrong with the store; the transaction is then of no use any more.
    fn load(&mut self, needs: &Needs, state: &mut State) -> Result<(), StoreError>;

    /// Says that what is to be saved may be long in coming, as the rows of another store are: a transaction
    /// that stands still meanwhile is not given up. It is called after something was loaded.
    ///
    /// # Errors
    ///
    /// Whatever is wrong with the store; the transaction is then of no use any more.
    fn expect_pauses(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Saves what has changed in the state.
    ///
    /// # Errors
    ///
    /// [`StoreError::ConstraintViolation`] when a constraint fired, [`StoreError::Full`] and whatever else is wrong
    /// with the store; the transaction is then of no use any more.
    fn apply(&mut self, state: &State) -> Result<(), StoreError>;

    /// Makes it last. On return it is on disk, with all that it has read, even when it changed nothing.
    ///
    /// # Errors
    ///
    /// [`StoreError::CommitUnknown`] when it may or may not have happened; with any other error it has not.
    fn commit(self: Box<Self>) -> Result<(), StoreError>;
}

/// A consistent view to read from.
///
/// Lists that start somewhere include that row. Every method fails with what is wrong with the store.
#[expect(clippy::missing_errors_doc, reason = "said once, above")]
pub trait Snapshot {
    /// One customer with their money.
    fn account(&self, id: CustomerId) -> Result<Option<Account>, StoreError>;
    /// What a customer logs in with, by that name.
    fn credentials(&self, login: &str) -> Result<Option<Credentials>, StoreError>;
    /// The session of a token, and what its customer may do now.
    fn session(&self, token: TokenHash) -> Result<Option<(SessionRow, Role)>, StoreError>;
    /// Customers by id, from `start` on.
    fn customers(&self, start: CustomerId, limit: usize) -> Result<Vec<Customer>, StoreError>;
    /// One product.
    fn product(&self, id: ProductId) -> Result<Option<Product>, StoreError>;
    /// Active products by id, from `start` on.
    fn products(&self, start: ProductId, limit: usize) -> Result<Vec<Product>, StoreError>;
    /// What is in a cart.
    fn cart(&self, customer: CustomerId) -> Result<CartLines, StoreError>;
    /// One campaign.
    fn coupon(&self, id: CouponId) -> Result<Option<Coupon>, StoreError>;
    /// Campaigns by id, from `start` on.
    fn coupons(&self, start: CouponId, limit: usize) -> Result<Vec<Coupon>, StoreError>;
    /// A customer's coupons by campaign, from `start` on.
    fn owned_coupons(
        &self,
        customer: CustomerId,
        start: CouponId,
        limit: usize,
    ) -> Result<Vec<OwnedCoupon>, StoreError>;
    /// One coupon of a customer; none when it is another's.
    fn owned_coupon(
        &self,
        customer: CustomerId,
        id: OwnedCouponId,
    ) -> Result<Option<OwnedCoupon>, StoreError>;
    /// One order.
    fn order(&self, id: OrderId) -> Result<Option<Order>, StoreError>;
    /// A customer's orders, newest first, from `start` back. None when `start` is another's.
    fn orders(
        &self,
        customer: CustomerId,
        start: OrderId,
        limit: usize,
    ) -> Result<Vec<Order>, StoreError>;
    /// A customer's ledger, newest first, from `start` back. None when `start` is another's.
    fn ledger(
        &self,
        customer: CustomerId,
        start: LedgerEntryId,
        limit: usize,
        filter: LedgerFilter,
    ) -> Result<Vec<LedgerEntry>, StoreError>;
    /// One charge.
    fn charge(&self, id: ChargeId) -> Result<Option<ChargeRow>, StoreError>;
    /// The charge that a gateway knows by that reference.
    fn charge_by_reference(&self, reference: &str) -> Result<Option<ChargeRow>, StoreError>;
    /// Charges whose gateway has not answered, by customer and id, from `start` on.
    fn pending_charges(
        &self,
        start: (CustomerId, ChargeId),
        limit: usize,
    ) -> Result<Vec<ChargeRow>, StoreError>;
    /// How many charges there are whose gateway has not answered.
    fn count_pending_charges(&self) -> Result<u64, StoreError>;
    /// Whether an unpaid order is overdue at `now`.
    fn has_due_orders(&self, now: Timestamp) -> Result<bool, StoreError>;
    /// Events by number, from `start` on.
    fn events(&self, start: EventId, limit: usize) -> Result<Vec<EventRow>, StoreError>;
    /// The epochs of events, by their first event.
    fn epochs(&self) -> Result<Vec<Epoch>, StoreError>;
    /// The first event that no relay has taken up yet.
    fn next_event(&self) -> Result<EventId, StoreError>;
    /// Deliveries that are not over, by event, from `start` on.
    fn deliveries(
        &self,
        start: EventId,
        limit: usize,
        filter: DeliveryFilter,
    ) -> Result<Vec<DeliveryRow>, StoreError>;
    /// Whether there is an event that may be sent at `now`.
    fn has_due_events(&self, now: Timestamp) -> Result<bool, StoreError>;
    /// What waits to be delivered.
    fn outbox(&self) -> Result<Outbox, StoreError>;
    /// The products that sold most in `(after, until]`: most units first, ties by id.
    fn best_sellers(
        &self,
        after: Timestamp,
        until: Timestamp,
        limit: usize,
    ) -> Result<Vec<(ProductId, i64)>, StoreError>;
    /// Every row of a table, in the order of its key; a row's digest, where it has one, comes before it.
    fn scan(&self, table: Table, visit: &mut dyn FnMut(Record)) -> Result<(), StoreError>;
    /// The kinds of buckets that sales are counted in.
    fn sales_levels(&self) -> Result<Vec<SalesLevel>, StoreError>;
    /// How much room the store takes; nothing where it takes none on a disk.
    fn size(&self) -> Result<StoreSize, StoreError> {
        Ok(StoreSize::default())
    }
    /// What the storage engine itself finds wrong with its files; nothing when it finds nothing.
    fn integrity(&self) -> Result<Vec<String>, StoreError> {
        Ok(Vec::new())
    }
}

/// How much room a store takes on its disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreSize {
    /// Bytes of the data.
    pub data: u64,
    /// Bytes of the log that belongs to it, where it is a file of its own.
    pub log: u64,
}

/// Which ledger entries are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LedgerFilter {
    /// All of them.
    All,
    /// Payments and refunds of orders.
    Payments,
}

/// Which deliveries are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryFilter {
    /// All of them.
    All,
    /// Those that were given up.
    Parked,
}

/// A kind of rows.
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
    Charges,
    Ledger,
    Events,
    Epochs,
    Relay,
    Deliveries,
    Keys,
    Sales,
    Credentials,
    Sessions,
}

impl Table {
    /// Every table, those that others refer to first.
    pub const ALL: [Self; 17] = [
        Self::Accounts,
        Self::Products,
        Self::StockMovements,
        Self::Carts,
        Self::Coupons,
        Self::OwnedCoupons,
        Self::Orders,
        Self::Charges,
        Self::Ledger,
        Self::Events,
        Self::Epochs,
        Self::Relay,
        Self::Deliveries,
        Self::Keys,
        Self::Sales,
        Self::Credentials,
        Self::Sessions,
    ];

    /// What it is called in reports.
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
            Self::Charges => "charges",
            Self::Ledger => "ledger",
            Self::Events => "events",
            Self::Epochs => "epochs",
            Self::Relay => "relay",
            Self::Deliveries => "deliveries",
            Self::Keys => "keys",
            Self::Sales => "sales",
            Self::Credentials => "credentials",
            Self::Sessions => "sessions",
        }
    }
}

/// One row of a table, as it is kept.
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
    Charge(ChargeRow),
    LedgerEntry(LedgerEntry),
    Event(EventRow),
    Epoch(Epoch),
    /// The first event that no relay has taken up yet; the one row of its table.
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
    /// The digest of the row that comes right after it, which is of the same table; no row of its own.
    Digest {
        of: Digested,
        digest: i64,
    },
}

/// A kind of buckets of time, and how far it is filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SalesLevel {
    /// How many seconds a bucket is long.
    pub seconds: i64,
    /// Sales before this instant are counted at this level; later ones at finer levels only.
    pub until: Timestamp,
}

/// Units of a product paid for in a bucket of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SalesCount {
    /// How many seconds the bucket is long.
    pub seconds: i64,
    /// When it begins; a multiple of its length.
    pub start: Timestamp,
    /// What was sold.
    pub product_id: ProductId,
    /// How many units, cancelled orders taken out.
    pub units: i64,
}

/// The digest that a new row is saved with.
#[must_use]
pub fn digest(state: &State, row: &impl Digest) -> Option<i64> {
    state.digest(row)
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
pub fn visit_with_digest(record: Record, digest: Option<i64>, visit: &mut dyn FnMut(Record)) {
    if let Some(((of, _), digest)) = record.hashed().zip(digest) {
        visit(Record::Digest { of, digest });
    }
    visit(record);
}
