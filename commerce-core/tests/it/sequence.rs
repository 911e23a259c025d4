//! Sequences end exactly at the failed call, and a refusal leaves the key of an import free.

use crate::common::{On, PausableStore, World, assert_clean, cluster, key};
use commerce_core::store::{Needs, Snapshot, State, Transaction};
use commerce_core::{
    AddCustomer, AddProduct, AdjustStock, Code, Currency, CustomerId, Error, MemoryStore, Money,
    PageRequest, PlaceOrder, ProductId, Sequence, Shop, SqliteStore, Store, StoreError,
};
use commerce_postgres::PostgresStore;
use rstest::rstest;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

fn store(on: On, folder: &std::path::Path) -> Box<dyn Store> {
    match on {
        On::Memory => Box::new(MemoryStore::new(Currency::KRW)),
        On::Sqlite => Box::new(SqliteStore::open(&folder.join("shop.db")).unwrap()),
        On::Postgres => Box::new(PostgresStore::open(&cluster::shared().store()).unwrap()),
    }
}

/// A store that rolls back its first commit, and has a different stock of a product in the second.
struct Restocked {
    store: Arc<MemoryStore>,
    product: ProductId,
    commits: Arc<AtomicUsize>,
}

struct RolledBack<'a> {
    inner: Box<dyn Transaction + 'a>,
    commits: Arc<AtomicUsize>,
}

impl Store for Restocked {
    fn currency(&self) -> Currency {
        self.store.currency()
    }
    fn begin(&self) -> Result<Box<dyn Transaction + '_>, StoreError> {
        if self.commits.load(Ordering::SeqCst) == 1 {
            let (product_id, reason) = (self.product, "found".to_owned());
            let more = AdjustStock { product_id, delta: 10, reason };
            Shop::open(Arc::clone(&self.store)).call(more).run().unwrap();
        }
        let (inner, commits) = (self.store.begin()?, Arc::clone(&self.commits));
        Ok(Box::new(RolledBack { inner, commits }))
    }
    fn try_begin(&self) -> Result<Option<Box<dyn Transaction + '_>>, StoreError> {
        self.begin().map(Some)
    }
    fn snapshot(&self) -> Result<Box<dyn Snapshot + '_>, StoreError> {
        self.store.snapshot()
    }
}

impl Transaction for RolledBack<'_> {
    fn load(&mut self, needs: &Needs, state: &mut State) -> Result<(), StoreError> {
        self.inner.load(needs, state)
    }
    fn apply(&mut self, state: &State) -> Result<(), StoreError> {
        self.inner.apply(state)
    }
    fn commit(self: Box<Self>) -> Result<(), StoreError> {
        if self.commits.fetch_add(1, Ordering::SeqCst) == 0 {
            return Err(StoreError::Busy(None));
        }
        self.inner.commit()
    }
}

/// A refusal counts only after its transaction commits: when decided again, the call may succeed.
#[test]
fn rolled_back_refusal_does_not_end_a_sequence() {
    let store = Arc::new(MemoryStore::new(Currency::KRW));
    let (kim, tea) = stocked(&Shop::open(Arc::clone(&store)), 2);
    let commits = Arc::default();
    let pausable = PausableStore::new(Restocked { store, product: tea, commits });
    let shop = Shop::open(Arc::clone(&pausable));
    pausable.pause();
    let mut sequence = Sequence::default();
    let order = |units| PlaceOrder::new(kim, [(tea, units)]);
    let tickets = [1, 5, 1].map(|units| shop.call(order(units)).submit_in(&mut sequence));
    pausable.resume();
    for ticket in tickets {
        ticket.wait().unwrap();
    }
    assert_eq!(shop.product(tea).unwrap().stock, 5);
    assert_clean(&shop);
}

/// A boxed store as a `Store`: a box does not implement the trait.
struct Boxed(Box<dyn Store>);

impl Store for Boxed {
    fn currency(&self) -> Currency {
        self.0.currency()
    }
    fn begin(&self) -> Result<Box<dyn Transaction + '_>, StoreError> {
        self.0.begin()
    }
    fn try_begin(&self) -> Result<Option<Box<dyn Transaction + '_>>, StoreError> {
        self.0.try_begin()
    }
    fn snapshot(&self) -> Result<Box<dyn Snapshot + '_>, StoreError> {
        self.0.snapshot()
    }
}

fn stocked(shop: &Shop, stock: i64) -> (CustomerId, ProductId) {
    let kim = AddCustomer { balance: Money::from_minor(1_000_000), ..AddCustomer::new("Kim") };
    let kim = shop.call(kim).run().unwrap().id;
    (kim, shop.call(AddProduct::new("Tea", Money::from_minor(1), stock)).run().unwrap().id)
}

/// Submits 2,100 calls, more than two transactions hold, before the first is decided. Call 40 asks
/// for more than the stock; every other call alone would succeed.
#[rstest]
fn no_call_after_a_refused_one_takes_effect(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let folder = tempfile::tempdir().unwrap();
    let pausable = PausableStore::new(Boxed(store(on, folder.path())));
    let shop = Shop::open(Arc::clone(&pausable));
    let (kim, tea) = stocked(&shop, 2_000);
    pausable.pause();
    let mut sequence = Sequence::default();
    let tickets: Vec<_> = (0..2_100)
        .map(|number| {
            let order = PlaceOrder::new(kim, [(tea, if number == 40 { 2_000 } else { 1 })]);
            shop.call(order).key(&key(&format!("{number}"))).submit_in(&mut sequence)
        })
        .collect();
    let other = shop.call(PlaceOrder::new(kim, [(tea, 1)])).submit();
    pausable.resume();
    let ended: Vec<_> = tickets.into_iter().map(commerce_core::PendingCall::wait).collect();
    assert!(ended[..40].iter().all(Result::is_ok));
    assert_eq!(ended[40].as_ref().unwrap_err().code(), Code::InsufficientStock);
    let skipped = Error::from(StoreError::NotAttempted);
    assert!(ended[41..].iter().all(|end| end.as_ref() == Err(&skipped)));
    other.wait().unwrap();
    assert_eq!(shop.product(tea).unwrap().stock, 2_000 - 41);
    // The key of a call that was not attempted is free.
    let order = PlaceOrder::new(kim, [(tea, 1)]);
    shop.place_order(order, &key("41")).unwrap();
    assert!(shop.call(AddCustomer::new("Lee")).submit_in(&mut sequence).wait().is_err());
    assert_clean(&shop);
}

#[test]
fn sequence_continues_after_a_tolerated_error() {
    let shop = Shop::open(MemoryStore::new(Currency::KRW));
    let (kim, _) = stocked(&shop, 1);
    let mut sequence = Sequence::tolerating(|error| error.code() == Code::CustomerExists);
    let again = AddCustomer { id: Some(kim), ..AddCustomer::new("Kim") };
    let exists = shop.call(again).submit_in(&mut sequence);
    let lee = shop.call(AddCustomer::new("Lee")).submit_in(&mut sequence);
    assert_eq!(exists.wait().unwrap_err().code(), Code::CustomerExists);
    lee.wait().unwrap();
}

/// A timed-out caller withdraws its call, and with it the calls submitted after it.
#[test]
fn no_call_after_a_timed_out_one_takes_effect() {
    let pausable = PausableStore::new(MemoryStore::new(Currency::KRW));
    let shop = Shop::builder().timeout(Duration::ZERO).open(Arc::clone(&pausable));
    pausable.pause();
    let mut sequence = Sequence::default();
    let first = shop.call(AddCustomer::new("Kim")).submit_in(&mut sequence);
    let second = shop.call(AddCustomer::new("Lee")).submit_in(&mut sequence);
    assert_eq!(first.wait().unwrap_err().code(), Code::Busy);
    pausable.resume();
    // Dropping the shop finishes the submitted calls.
    drop((second, shop));
    let shop = Shop::open(Arc::clone(&pausable));
    assert!(shop.customers(&PageRequest::default()).unwrap().items.is_empty());
}

#[rstest]
fn import_key_is_free_after_a_refusal_and_bound_by_a_result(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let world = World::new(on);
    let (kim, tea) = (world.customer(50).id, world.product(10, 3).id);
    let gum = world.product(1, 9).id;
    let place = |items: &[(ProductId, i64)]| {
        let call = world.shop.call(PlaceOrder::new(kim, items));
        call.key_on_success(&key("import:a")).outcome()
    };
    let code = |items: &[(ProductId, i64)]| place(items).result.unwrap_err().code();
    for _ in 0..2 {
        assert_eq!(code(&[(ProductId::new(99), 1)]), Code::ProductNotFound);
        assert_eq!(code(&[(tea, 4)]), Code::InsufficientStock);
    }
    let first = place(&[(tea, 2), (gum, 3)]);
    assert!(!first.replayed);
    for same in
        [vec![(tea, 2), (gum, 3)], vec![(gum, 3), (tea, 2)], vec![(gum, 1), (tea, 2), (gum, 2)]]
    {
        let again = place(&same);
        assert_eq!((again.result, again.replayed), (first.result.clone(), true), "{same:?}");
    }
    for other in [vec![(tea, 2), (gum, 2)], vec![(tea, 2)], vec![(gum, 4), (tea, 2), (gum, -1)]] {
        assert_eq!(code(&other), Code::IdempotencyKeyReused, "{other:?}");
    }
    assert_eq!(world.shop.balance(kim).unwrap().balance, Money::from_minor(27));
    world.assert_clean();
}
