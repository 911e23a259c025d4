//! What the suites share: stores to run on, and small words for what they do all the time.

#![allow(dead_code, unreachable_pub, missing_docs, reason = "each suite uses a part of it")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use commerce_core::{
    AddCoupon, AddCustomer, AddProduct, Coupon, Currency, Customer, Discount, Key, ManualClock,
    MemoryStore, Money, Product, Shop, SqliteStore, Timestamp,
};
use std::sync::Arc;
use tempfile::TempDir;

/// When suites begin.
pub const NOW: Timestamp = Timestamp::from_unix(1_767_225_600);

/// Which store a test runs on.
#[derive(Clone, Copy, Debug)]
pub enum On {
    Memory,
    Sqlite,
}

/// A shop whose clock stands where the test puts it.
pub struct World {
    pub shop: Shop,
    pub clock: Arc<ManualClock>,
    pub folder: TempDir,
}

impl World {
    pub fn new(on: On) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::new(NOW));
        let builder = Shop::builder().clock(Arc::clone(&clock));
        let shop = match on {
            On::Memory => builder.open(MemoryStore::new(Currency::KRW)),
            On::Sqlite => builder.open(SqliteStore::open(&folder.path().join("shop.db")).unwrap()),
        };
        Self { shop, clock, folder }
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
