//! Stores that fail, at every step and in every way: nothing acknowledged is lost, nothing of a failed
//! batch stays, and trying again with the same keys ends with each effect exactly once.

#![allow(clippy::unwrap_used, clippy::panic, clippy::arithmetic_side_effects, reason = "a test")]

mod common;

use commerce_core::{
    AddCustomer, AddProduct, Code, Currency, CustomerId, Error, MemoryStore, Money, Needs,
    PlaceOrder, ProductId, Shop, Snapshot, SqliteStore, State, Store, StoreError, Ticket,
    Transaction,
};
use common::{assert_clean, key};
use rstest::rstest;
use rusqlite::Connection;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    Full,
    Unavailable,
    Panic,
    /// A commit is carried out and then reported as unknown; other steps fail as unavailable.
    DoneButUnknown,
    /// A commit is not carried out and reported as unknown.
    NotDoneAndUnknown,
}

/// A SQLite store whose n-th step fails.
struct Failing {
    store: SqliteStore,
    fault: Fault,
    left: AtomicI64,
}

impl Failing {
    /// Whether this step is the one; negative counts never are.
    fn strikes(&self) -> bool {
        self.left.fetch_sub(1, Ordering::SeqCst) == 0
    }

    fn strike(&self) -> StoreError {
        match self.fault {
            Fault::Full => StoreError::Full("no room".to_owned()),
            Fault::Panic => panic!("a defect, on purpose"),
            Fault::Unavailable | Fault::DoneButUnknown | Fault::NotDoneAndUnknown => {
                StoreError::Unavailable("gone".to_owned())
            }
        }
    }
}

impl Store for Failing {
    fn currency(&self) -> Currency {
        self.store.currency()
    }

    fn begin(&self) -> Result<Box<dyn Transaction + '_>, StoreError> {
        let transaction = self.store.begin()?;
        Ok(Box::new(FailingTransaction { transaction, store: self }))
    }

    fn try_begin(&self) -> Result<Option<Box<dyn Transaction + '_>>, StoreError> {
        self.begin().map(Some)
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot + '_>, StoreError> {
        self.store.snapshot()
    }
}

struct FailingTransaction<'a> {
    transaction: Box<dyn Transaction + 'a>,
    store: &'a Failing,
}

impl Transaction for FailingTransaction<'_> {
    fn load(&mut self, needs: &Needs, state: &mut State) -> Result<(), StoreError> {
        if self.store.strikes() {
            return Err(self.store.strike());
        }
        self.transaction.load(needs, state)
    }

    fn apply(&mut self, state: &State) -> Result<(), StoreError> {
        if self.store.strikes() {
            // Half of it is written already when it fails.
            self.transaction.apply(state)?;
            return Err(self.store.strike());
        }
        self.transaction.apply(state)
    }

    fn commit(self: Box<Self>) -> Result<(), StoreError> {
        if !self.store.strikes() {
            return self.transaction.commit();
        }
        let unknown = Err(StoreError::Unknown("the answer never came".to_owned()));
        match self.store.fault {
            Fault::DoneButUnknown => self.transaction.commit().and(unknown),
            Fault::NotDoneAndUnknown => unknown,
            Fault::Full | Fault::Unavailable | Fault::Panic => Err(self.store.strike()),
        }
    }
}

const ORDERS: i64 = 12;

fn submit_all(shop: &Shop) -> Vec<Ticket<commerce_core::Order>> {
    let order = |number: i64| {
        let order = PlaceOrder::new(CustomerId::new(1 + number % 2), [(ProductId::new(1), 1)]);
        shop.call(order).key(&key(&format!("order-{number}"))).submit()
    };
    (0..ORDERS).map(order).collect()
}

#[rstest]
fn a_fault_at_any_step_loses_nothing_and_doubles_nothing(
    #[values(
        Fault::Full,
        Fault::Unavailable,
        Fault::Panic,
        Fault::DoneButUnknown,
        Fault::NotDoneAndUnknown
    )]
    fault: Fault,
) {
    for step in 0..14 {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&folder.path().join("shop.db")).unwrap();
        let store = Arc::new(Failing { store, fault, left: AtomicI64::new(-1) });
        let shop = Shop::open(Arc::clone(&store));
        for _ in 0..2 {
            shop.call(AddCustomer { balance: Money::from_minor(1_000), ..AddCustomer::new("Kim") })
                .run()
                .unwrap();
        }
        shop.call(AddProduct::new("Tea", Money::from_minor(10), 100)).run().unwrap();

        store.left.store(step, Ordering::SeqCst);
        let first: Vec<_> = submit_all(&shop).into_iter().map(Ticket::wait).collect();
        assert_clean(&shop);
        for answer in first.iter().filter_map(|answer| answer.as_ref().err()) {
            assert_eq!(answer.code(), Code::Storage, "{answer}");
        }
        store.left.store(-1, Ordering::SeqCst);
        let again: Vec<_> = submit_all(&shop).into_iter().map(Ticket::outcome).collect();
        for (first, again) in first.iter().zip(again) {
            if let Ok(order) = first {
                assert!(again.replayed, "an acknowledged order was lost at step {step}");
                assert_eq!(again.result.as_ref().unwrap(), order);
            }
            again.result.unwrap();
        }
        assert_eq!(shop.product(ProductId::new(1)).unwrap().stock, 100 - ORDERS);
        assert_clean(&shop);
    }
}

/// A store in memory that refuses to save a change of one product, as a guard that fired.
struct Guarded(MemoryStore);

struct GuardedTransaction<'a>(Box<dyn Transaction + 'a>);

const GUARDED: i64 = 2;

impl Store for Guarded {
    fn currency(&self) -> Currency {
        self.0.currency()
    }

    fn begin(&self) -> Result<Box<dyn Transaction + '_>, StoreError> {
        Ok(Box::new(GuardedTransaction(self.0.begin()?)))
    }

    fn try_begin(&self) -> Result<Option<Box<dyn Transaction + '_>>, StoreError> {
        self.begin().map(Some)
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot + '_>, StoreError> {
        self.0.snapshot()
    }
}

impl Transaction for GuardedTransaction<'_> {
    fn load(&mut self, needs: &Needs, state: &mut State) -> Result<(), StoreError> {
        self.0.load(needs, state)
    }

    fn apply(&mut self, state: &State) -> Result<(), StoreError> {
        if state.sales.iter().any(|sale| sale.product_id.get() == GUARDED) {
            return Err(StoreError::Guard("stock >= 0".to_owned()));
        }
        self.0.apply(state)
    }

    fn commit(self: Box<Self>) -> Result<(), StoreError> {
        self.0.commit()
    }
}

#[test]
fn a_command_that_trips_a_guard_takes_nobody_else_with_it() {
    let shop = Shop::open(Guarded(MemoryStore::new(Currency::KRW)));
    shop.call(AddCustomer { balance: Money::from_minor(1_000), ..AddCustomer::new("Kim") })
        .run()
        .unwrap();
    for _ in 0..3 {
        shop.call(AddProduct::new("Tea", Money::from_minor(10), 100)).run().unwrap();
    }
    let order = |number: i64| {
        let order = PlaceOrder::new(CustomerId::new(1), [(ProductId::new(1 + number % 3), 1)]);
        shop.call(order).key(&key(&format!("order-{number}"))).submit()
    };
    let tickets: Vec<_> = (0..30).map(order).collect();
    for (number, ticket) in (0_i64..).zip(tickets) {
        let product = 1 + number % 3;
        assert_eq!(ticket.wait().is_err(), product == GUARDED, "order {number}");
    }
    assert_clean(&shop);
}

/// A store that lets nobody begin before it is opened.
struct Gate {
    store: MemoryStore,
    open: Mutex<bool>,
    opened: Condvar,
    begun: AtomicUsize,
}

impl Store for Gate {
    fn currency(&self) -> Currency {
        self.store.currency()
    }

    fn begin(&self) -> Result<Box<dyn Transaction + '_>, StoreError> {
        let open = self.open.lock().unwrap();
        drop(self.opened.wait_while(open, |open| !*open).unwrap());
        self.begun.fetch_add(1, Ordering::SeqCst);
        self.store.begin()
    }

    fn try_begin(&self) -> Result<Option<Box<dyn Transaction + '_>>, StoreError> {
        if *self.open.lock().unwrap() { self.begin().map(Some) } else { Ok(None) }
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot + '_>, StoreError> {
        self.store.snapshot()
    }
}

#[test]
fn a_call_whose_turn_does_not_come_is_told_busy_and_never_carried_out() {
    let (open, opened) = (Mutex::new(false), Condvar::new());
    let store = MemoryStore::new(Currency::KRW);
    let gate = Arc::new(Gate { store, open, opened, begun: AtomicUsize::new(0) });
    let shop = Shop::builder().patience(Duration::from_millis(20)).open(Arc::clone(&gate));
    let refused = shop.call(AddCustomer::new("Kim")).run().unwrap_err();
    assert_eq!(refused, Error::Store(StoreError::Busy));
    assert_eq!(gate.begun.load(Ordering::SeqCst), 0);
    *gate.open.lock().unwrap() = true;
    gate.opened.notify_all();
    let lee = shop.call(AddCustomer::new("Lee")).run().unwrap();
    assert_eq!(lee.id, CustomerId::new(1), "the one who was told busy was never added");
}

#[test]
fn a_shop_can_be_closed_while_another_process_holds_the_store() {
    let (open, opened) = (Mutex::new(false), Condvar::new());
    let store = MemoryStore::new(Currency::KRW);
    let gate = Arc::new(Gate { store, open, opened, begun: AtomicUsize::new(0) });
    let shop = Shop::builder().patience(Duration::from_millis(20)).open(Arc::clone(&gate));
    shop.call(AddCustomer::new("Kim")).run().unwrap_err();
    drop(shop);
    *gate.open.lock().unwrap() = true;
    gate.opened.notify_all();
}

#[test]
fn a_full_disk_fails_the_batch_and_nothing_of_it_stays() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("shop.db");
    let full = Full { store: SqliteStore::open(&file).unwrap(), full: Mutex::new(false) };
    let full = Arc::new(full);
    let shop = Shop::open(Arc::clone(&full));
    shop.call(AddCustomer { balance: Money::from_minor(100_000), ..AddCustomer::new("Kim") })
        .run()
        .unwrap();
    shop.call(AddProduct::new("Tea", Money::from_minor(10), 1_000)).run().unwrap();
    *full.full.lock().unwrap() = true;
    for ticket in submit_all(&shop) {
        let error = ticket.wait().unwrap_err();
        assert!(matches!(error, Error::Store(StoreError::Full(_)) | Error::Refused(_)), "{error}");
    }
    assert_clean(&shop);
    *full.full.lock().unwrap() = false;
    shop.call(AddCustomer { balance: Money::from_minor(100_000), ..AddCustomer::new("Lee") })
        .run()
        .unwrap();
    assert!(submit_all(&shop).into_iter().all(|ticket| ticket.wait().is_ok()));
    assert_clean(&shop);
}

/// Says that the disk is full, after everything was written, as long as it is told to.
struct Full {
    store: SqliteStore,
    full: Mutex<bool>,
}

impl Store for Full {
    fn currency(&self) -> Currency {
        self.store.currency()
    }

    fn begin(&self) -> Result<Box<dyn Transaction + '_>, StoreError> {
        let full = *self.full.lock().unwrap();
        Ok(Box::new(FullTransaction { transaction: self.store.begin()?, full }))
    }

    fn try_begin(&self) -> Result<Option<Box<dyn Transaction + '_>>, StoreError> {
        self.begin().map(Some)
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot + '_>, StoreError> {
        self.store.snapshot()
    }
}

struct FullTransaction<'a> {
    transaction: Box<dyn Transaction + 'a>,
    full: bool,
}

impl Transaction for FullTransaction<'_> {
    fn load(&mut self, needs: &Needs, state: &mut State) -> Result<(), StoreError> {
        self.transaction.load(needs, state)
    }

    fn apply(&mut self, state: &State) -> Result<(), StoreError> {
        self.transaction.apply(state)?;
        if self.full { Err(StoreError::Full("no room".to_owned())) } else { Ok(()) }
    }

    fn commit(self: Box<Self>) -> Result<(), StoreError> {
        self.transaction.commit()
    }
}

#[rstest]
#[case::another_program("PRAGMA application_id = 7; CREATE TABLE t (a);", "another program")]
#[case::no_program("CREATE TABLE t (a);", "another program")]
#[case::newer("PRAGMA application_id = 1129270605; PRAGMA user_version = 99;", "newer")]
fn a_file_that_is_no_store_of_ours_is_left_alone(#[case] sql: &str, #[case] told: &str) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("other.db");
    Connection::open(&file).unwrap().execute_batch(sql).unwrap();
    let error = SqliteStore::open(&file).unwrap_err();
    assert!(matches!(&error, StoreError::Unsound(text) if text.contains(told)), "{error}");
}

#[test]
fn a_file_with_two_names_and_a_store_of_another_currency_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("shop.db");
    drop(SqliteStore::create(&file, Currency::KRW).unwrap());
    let dollars = Currency::from_code("USD").unwrap();
    assert!(matches!(SqliteStore::create(&file, dollars), Err(StoreError::Unsound(_))));
    std::fs::hard_link(&file, folder.path().join("twin.db")).unwrap();
    assert!(matches!(SqliteStore::open(&file), Err(StoreError::Unavailable(_))));
}

/// The database guards itself: what a rule would never do is refused by the file as well.
#[rstest]
#[case::balance("UPDATE customers SET balance = -1")]
#[case::stock("UPDATE products SET stock = -1")]
#[case::price("UPDATE products SET price = 0")]
#[case::type_of_money("UPDATE customers SET balance = '12 won'")]
#[case::total("UPDATE orders SET total = total + 1")]
#[case::refund("UPDATE orders SET refunded = paid + 1")]
#[case::status("UPDATE orders SET status = 'lost'")]
#[case::orphan("UPDATE orders SET customer_id = 77")]
#[case::line_of_nothing(
    "INSERT INTO order_lines (id, product_id, name, unit_price, quantity) VALUES (9 << 10, 1, 'a', 1, 1)"
)]
fn guards_of_the_file_fire(#[case] sql: &str) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("shop.db");
    let shop = Shop::open(SqliteStore::open(&file).unwrap());
    for _ in 0..2 {
        shop.call(AddCustomer { balance: Money::from_minor(1_000), ..AddCustomer::new("Kim") })
            .run()
            .unwrap();
    }
    shop.call(AddProduct::new("Tea", Money::from_minor(10), 100)).run().unwrap();
    assert!(submit_all(&shop).into_iter().all(|ticket| ticket.wait().is_ok()));
    let db = Connection::open(&file).unwrap();
    db.execute_batch("PRAGMA foreign_keys = ON").unwrap();
    let error = db.execute_batch(sql).unwrap_err();
    assert_eq!(
        error.sqlite_error_code(),
        Some(rusqlite::ErrorCode::ConstraintViolation),
        "{error}"
    );
}

#[test]
fn a_backup_made_while_orders_come_in_is_a_whole_store() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(SqliteStore::open(&folder.path().join("shop.db")).unwrap());
    let shop = Shop::open(Arc::clone(&store));
    for _ in 0..2 {
        shop.call(AddCustomer { balance: Money::from_minor(1_000), ..AddCustomer::new("Kim") })
            .run()
            .unwrap();
    }
    shop.call(AddProduct::new("Tea", Money::from_minor(10), 100)).run().unwrap();
    let copy = folder.path().join("copy.db");
    let orders = submit_all(&shop);
    store.backup(&copy, &mut |_| {}).unwrap();
    assert!(orders.into_iter().all(|ticket| ticket.wait().is_ok()));
    assert!(
        matches!(store.backup(&copy, &mut |_| {}), Err(StoreError::Unavailable(_))),
        "it is there"
    );
    assert_clean(&Shop::open(SqliteStore::open(&copy).unwrap()));
}
