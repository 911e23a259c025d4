//! Helpers of all suites: the stores to run on, and short forms of frequent calls.

pub mod citus;
pub mod cluster;
pub mod contest;
pub mod failing;
pub mod insist;
pub mod pooler;

use commerce_core::store::{Snapshot, Transaction};
use commerce_core::{
    AddCoupon, AddCustomer, AddProduct, Coupon, Currency, Customer, Discount, Key, ManualClock,
    MemoryStore, Money, Product, Shop, SqliteStore, Store, StoreError, Timestamp,
};
use commerce_postgres::PostgresStore;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use tempfile::TempDir;

/// The instant at which a test's clock starts.
pub const NOW: Timestamp = Timestamp::from_unix(1_767_225_600);

/// The store that a test runs on.
#[derive(Clone, Copy, Debug)]
pub enum On {
    Memory,
    Sqlite,
    Postgres,
}

/// A shop with a clock that the test sets.
pub struct World {
    pub shop: Shop,
    pub clock: Arc<ManualClock>,
    pub folder: TempDir,
    /// The URL of the store, if it is on a server.
    pub url: Option<String>,
}

impl World {
    pub fn new(on: On) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::new(NOW));
        let builder = Shop::builder().clock(Arc::clone(&clock));
        let url = matches!(on, On::Postgres).then(|| cluster::shared().store());
        let shop = match on {
            On::Memory => builder.open(MemoryStore::new(Currency::KRW)),
            On::Sqlite => builder.open(SqliteStore::open(&folder.path().join("shop.db")).unwrap()),
            On::Postgres => builder.open(PostgresStore::open(url.as_ref().unwrap()).unwrap()),
        };
        Self { shop, clock, folder, url }
    }

    pub fn customer(&self, balance: i64) -> Customer {
        let balance = Money::from_minor(balance);
        self.shop.call(AddCustomer { balance, ..AddCustomer::new("Kim") }).run().unwrap()
    }

    pub fn product(&self, price: i64, stock: i64) -> Product {
        self.shop.call(AddProduct::new("Tea", Money::from_minor(price), stock)).run().unwrap()
    }

    /// Adds a coupon that takes an amount off any order and is valid for 1,000 seconds.
    pub fn coupon(&self, quantity: i64, off: i64) -> Coupon {
        let request = AddCoupon {
            below_minimum: commerce_core::BelowMinimum::Keep,
            name: "Spring".to_owned(),
            discount: Discount::Fixed { amount: Money::from_minor(off) },
            min_order_amount: None,
            quantity,
            valid_from: Some(NOW),
            valid_until: Some(NOW.plus_seconds(1_000)),
        };
        self.shop.call(request).run().unwrap()
    }

    pub fn assert_clean(&self) {
        assert_clean(&self.shop);
    }
}

pub fn assert_clean(shop: &Shop) {
    let report = shop.audit().unwrap();
    assert!(report.ok, "{:#?}", report.problems);
}

pub fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

/// A store in which no write transaction begins while it is paused: the calls submitted meanwhile
/// become one batch.
pub struct PausableStore<S> {
    pub store: S,
    paused: Mutex<bool>,
    resumed: Condvar,
    begins: AtomicUsize,
}

impl<S: Store> PausableStore<S> {
    pub fn new(store: S) -> Arc<Self> {
        let (paused, resumed) = (Mutex::new(false), Condvar::new());
        Arc::new(Self { store, paused, resumed, begins: AtomicUsize::new(0) })
    }

    pub fn pause(&self) {
        *self.paused.lock().unwrap() = true;
    }

    pub fn resume(&self) {
        *self.paused.lock().unwrap() = false;
        self.resumed.notify_all();
    }

    /// The number of write transactions begun so far.
    pub fn begins(&self) -> usize {
        self.begins.load(Ordering::SeqCst)
    }
}

impl<S: Store> Store for PausableStore<S> {
    fn currency(&self) -> Currency {
        self.store.currency()
    }

    fn begin(&self) -> Result<Box<dyn Transaction + '_>, StoreError> {
        let paused = self.paused.lock().unwrap();
        drop(self.resumed.wait_while(paused, |paused| *paused).unwrap());
        self.begins.fetch_add(1, Ordering::SeqCst);
        self.store.begin()
    }

    fn try_begin(&self) -> Result<Option<Box<dyn Transaction + '_>>, StoreError> {
        let paused = *self.paused.lock().unwrap();
        if paused { Ok(None) } else { self.begin().map(Some) }
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot + '_>, StoreError> {
        self.store.snapshot()
    }
}
