//! What the suites share: stores to run on, and small words for what they do all the time.

pub mod cluster;
pub mod failing;
pub mod insist;

use commerce_core::{
    AddCoupon, AddCustomer, AddProduct, Coupon, Currency, Customer, Discount, Key, ManualClock,
    MemoryStore, Money, Product, Shop, Snapshot, SqliteStore, Store, StoreError, Timestamp,
    Transaction,
};
use commerce_postgres::PostgresStore;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use tempfile::TempDir;

/// When suites begin.
pub const NOW: Timestamp = Timestamp::from_unix(1_767_225_600);

/// Which store a test runs on.
#[derive(Clone, Copy, Debug)]
pub enum On {
    Memory,
    Sqlite,
    Postgres,
}

/// A shop whose clock stands where the test puts it.
pub struct World {
    pub shop: Shop,
    pub clock: Arc<ManualClock>,
    pub folder: TempDir,
    /// Where the store is, if it is on a server.
    pub url: Option<String>,
}

impl World {
    pub fn new(on: On) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::new(NOW));
        let builder = Shop::builder().clock(Arc::clone(&clock));
        let url = matches!(on, On::Postgres).then(|| cluster::shared().database());
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

    /// So much off any order, valid for 1,000 seconds.
    pub fn coupon(&self, quantity: i64, off: i64) -> Coupon {
        let request = AddCoupon {
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

/// A store that lets nobody begin to write while it is shut: what is submitted meanwhile is one batch.
pub struct CircuitBreaker<S> {
    pub store: S,
    shut: Mutex<bool>,
    opened: Condvar,
    begun: AtomicUsize,
}

impl<S: Store> CircuitBreaker<S> {
    pub fn new(store: S) -> Arc<Self> {
        let (shut, opened) = (Mutex::new(false), Condvar::new());
        Arc::new(Self { store, shut, opened, begun: AtomicUsize::new(0) })
    }

    pub fn shut(&self) {
        *self.shut.lock().unwrap() = true;
    }

    pub fn open(&self) {
        *self.shut.lock().unwrap() = false;
        self.opened.notify_all();
    }

    /// How often somebody has begun.
    pub fn begun(&self) -> usize {
        self.begun.load(Ordering::SeqCst)
    }
}

impl<S: Store> Store for CircuitBreaker<S> {
    fn currency(&self) -> Currency {
        self.store.currency()
    }

    fn begin(&self) -> Result<Box<dyn Transaction + '_>, StoreError> {
        let shut = self.shut.lock().unwrap();
        drop(self.opened.wait_while(shut, |shut| *shut).unwrap());
        self.begun.fetch_add(1, Ordering::SeqCst);
        self.store.begin()
    }

    fn try_begin(&self) -> Result<Option<Box<dyn Transaction + '_>>, StoreError> {
        let shut = *self.shut.lock().unwrap();
        if shut { Ok(None) } else { self.begin().map(Some) }
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot + '_>, StoreError> {
        self.store.snapshot()
    }
}
