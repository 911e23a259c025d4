//! Stores that fail at every step and in every way: no acknowledged call is lost, a failed batch
//! leaves no trace, and a retry with the same keys ends with each effect exactly once.

use crate::common::failing::{Failing, Fault};
use crate::common::{NOW, On, PausableStore, assert_clean, cluster, key};
use commerce_core::limits::{DELIVERY_LEASE, HOLD_SECONDS};
use commerce_core::store::{Needs, Snapshot, State, Transaction};
use commerce_core::{
    AddCustomer, AddProduct, CancellationToken, Code, Currency, CustomerId, DeliveryResult,
    Destination, Error, Event, ManualClock, MemoryStore, Money, PageRequest, PayWhen, PendingCall,
    PlaceOrder, ProductId, Shop, SqliteStore, Store, StoreError,
};
use commerce_postgres::PostgresStore;
use rstest::rstest;
use rusqlite::Connection;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const ORDERS: i64 = 12;

/// Adds two customers with enough money for all orders, and a product with enough stock.
fn stock(shop: &Shop) {
    for _ in 0..2 {
        shop.call(AddCustomer { balance: Money::from_minor(1_000), ..AddCustomer::new("Kim") })
            .run()
            .unwrap();
    }
    shop.call(AddProduct::new("Tea", Money::from_minor(10), 100)).run().unwrap();
}

fn submit_all(shop: &Shop) -> Vec<PendingCall<commerce_core::Order>> {
    let order = |number: i64| {
        let order = PlaceOrder::new(CustomerId::new(1 + number % 2), [(ProductId::new(1), 1)]);
        shop.call(order).key(&key(&format!("order-{number}"))).submit()
    };
    (0..ORDERS).map(order).collect()
}

/// Returns the stock, with no call in flight.
fn stock_left(shop: &Shop) -> i64 {
    shop.product(ProductId::new(1)).unwrap().stock
}

/// Places twelve orders in one batch with a failing n-th step, then repeats all with the same keys.
/// Returns false if the batch has fewer steps.
fn survives(on: On, fault: Fault, step: i64) -> bool {
    let folder = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = match on {
        On::Memory => Arc::new(MemoryStore::new(Currency::KRW)),
        On::Sqlite => Arc::new(SqliteStore::open(&folder.path().join("shop.db")).unwrap()),
        On::Postgres => Arc::new(PostgresStore::open(&cluster::shared().store()).unwrap()),
    };
    let pausable = PausableStore::new(Failing::new(store, fault));
    let shop = Shop::open(Arc::clone(&pausable));
    stock(&shop);

    pausable.pause();
    pausable.store.fail_at(step);
    let tickets = submit_all(&shop);
    pausable.resume();
    let first: Vec<_> = tickets.into_iter().map(PendingCall::wait).collect();
    let failed_as_planned = pausable.store.heal();
    let unknown = |answer: &Result<_, Error>| {
        matches!(answer, Err(Error::Store(StoreError::CommitUnknown(_))))
    };
    let done = |answer: &Result<_, Error>| {
        answer.is_ok() || fault == Fault::DoneButUnknown && unknown(answer)
    };
    let sold = first.iter().filter(|answer| done(answer)).count();
    assert_eq!(stock_left(&shop), 100 - i64::try_from(sold).unwrap(), "step {step}: {first:?}");
    assert_clean(&shop);

    let again: Vec<_> = submit_all(&shop).into_iter().map(PendingCall::outcome).collect();
    for (first, again) in first.iter().zip(again) {
        assert_eq!(again.replayed, done(first), "step {step}: {first:?} then {again:?}");
        let again = again.result.unwrap();
        assert!(first.as_ref().is_err() || first.as_ref() == Ok(&again), "one answer");
    }
    assert_eq!(stock_left(&shop), 100 - ORDERS);
    assert_clean(&shop);

    let failed: Vec<_> = first.into_iter().filter_map(Result::err).collect();
    // A failure that one command may have caused is retried one command at a time, `busy` is
    // retried until the deadline; both failures are over by then.
    let passes =
        fault == Fault::Busy || matches!(fault, Fault::Constraint | Fault::Panic) && step > 0;
    assert_eq!(failed.is_empty(), !failed_as_planned || passes, "step {step}: {failed:?}");
    assert!(failed.iter().all(|error| error.code() == Code::Storage), "step {step}: {failed:?}");
    failed_as_planned
}

#[rstest]
fn fault_at_any_step_of_a_batch_keeps_exactly_once(
    #[values(
        Fault::Busy,
        Fault::Full,
        Fault::Unavailable,
        Fault::Corrupt,
        Fault::Constraint,
        Fault::Panic,
        Fault::DoneButUnknown,
        Fault::NotDoneAndUnknown
    )]
    fault: Fault,
    #[values(On::Sqlite, On::Postgres)] on: On,
) {
    let steps = (0..1_000).take_while(|step| survives(on, fault, *step)).count();
    assert!((4..20).contains(&steps), "a batch begins, loads, applies and commits: {steps} steps");
}

/// A service that cannot write is not ready until a write succeeds.
#[rstest]
fn shop_is_not_ready_while_writes_fail(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
    #[values(Fault::Full, Fault::Unavailable, Fault::NotDoneAndUnknown)] fault: Fault,
) {
    let folder = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = match on {
        On::Memory => Arc::new(MemoryStore::new(Currency::KRW)),
        On::Sqlite => Arc::new(SqliteStore::open(&folder.path().join("shop.db")).unwrap()),
        On::Postgres => Arc::new(PostgresStore::open(&cluster::shared().store()).unwrap()),
    };
    let store = Arc::new(Failing::new(store, fault));
    let shop = Shop::open(Arc::clone(&store));
    stock(&shop);
    assert_eq!(shop.ready(), Ok(()));
    let add = || shop.call(AddCustomer::new("Lee")).run();
    store.fail_at(0);
    add().unwrap_err();
    store.fail_at(0);
    assert_eq!(shop.ready().unwrap_err().code(), Code::Storage);
    store.heal();
    assert_eq!(shop.ready(), Ok(()), "readiness recovers without a call");
    store.fail_at(0);
    add().unwrap_err();
    store.heal();
    add().unwrap();
    store.fail_at(0);
    assert_eq!(shop.ready(), Ok(()), "a write has succeeded");
}

/// A destination that keeps the ids of delivered events.
#[derive(Default)]
struct Arrived(Mutex<Vec<i64>>);

impl Destination for Arrived {
    fn max_batch_size(&self) -> usize {
        5
    }

    fn max_concurrency(&self) -> usize {
        1
    }

    fn deliver(&self, events: &[Event]) -> DeliveryResult {
        self.0.lock().unwrap().extend(events.iter().map(|event| event.id.get()));
        DeliveryResult::Done
    }
}

/// Runs a relay with a failing n-th step: every event is delivered, at the latest when its lease
/// expires. Returns false if the relay has fewer steps.
fn relays(fault: Fault, step: i64) -> bool {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&folder.path().join("shop.db")).unwrap();
    let store = Arc::new(Failing::new(store, fault));
    let clock = Arc::new(ManualClock::new(NOW));
    let shop = Shop::builder().clock(Arc::clone(&clock)).open(Arc::clone(&store));
    stock(&shop);
    for ticket in submit_all(&shop) {
        ticket.wait().unwrap();
    }

    let arrived = Arrived::default();
    store.fail_at(step);
    shop.relay(&arrived).run_once(&CancellationToken::default()).unwrap();
    let failed_as_planned = store.heal();
    assert_clean(&shop);
    clock.set(NOW.plus_seconds(DELIVERY_LEASE));
    shop.relay(&arrived).run_once(&CancellationToken::default()).unwrap();
    let mut ids = arrived.0.into_inner().unwrap();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids, (1..=ORDERS).collect::<Vec<_>>(), "step {step}");
    assert_eq!(shop.outbox().unwrap().waiting, 0, "step {step}");
    assert_clean(&shop);
    failed_as_planned
}

#[rstest]
fn fault_at_any_step_of_a_relay_loses_no_event(
    #[values(
        Fault::Busy,
        Fault::Full,
        Fault::Unavailable,
        Fault::Constraint,
        Fault::Panic,
        Fault::DoneButUnknown,
        Fault::NotDoneAndUnknown
    )]
    fault: Fault,
) {
    let steps = (0..1_000).take_while(|step| relays(fault, *step)).count();
    assert!((10..40).contains(&steps), "a few claims of some steps each: {steps} steps");
}

/// A memory store that refuses to save a change of one product, like a violated constraint.
struct Constrained(MemoryStore);

struct ConstrainedTransaction<'a>(Box<dyn Transaction + 'a>);

const CONSTRAINED: i64 = 2;

impl Store for Constrained {
    fn currency(&self) -> Currency {
        self.0.currency()
    }

    fn begin(&self) -> Result<Box<dyn Transaction + '_>, StoreError> {
        Ok(Box::new(ConstrainedTransaction(self.0.begin()?)))
    }

    fn try_begin(&self) -> Result<Option<Box<dyn Transaction + '_>>, StoreError> {
        self.begin().map(Some)
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot + '_>, StoreError> {
        self.0.snapshot()
    }
}

impl Transaction for ConstrainedTransaction<'_> {
    fn load(&mut self, needs: &Needs, state: &mut State) -> Result<(), StoreError> {
        self.0.load(needs, state)
    }

    fn apply(&mut self, state: &State) -> Result<(), StoreError> {
        if state
            .sales
            .iter()
            .any(|sale| sale.products.iter().any(|(id, _)| id.get() == CONSTRAINED))
        {
            return Err(StoreError::ConstraintViolation("stock >= 0".to_owned()));
        }
        self.0.apply(state)
    }

    fn commit(self: Box<Self>) -> Result<(), StoreError> {
        self.0.commit()
    }
}

#[test]
fn constraint_violation_fails_only_its_own_command() {
    let pausable = PausableStore::new(Constrained(MemoryStore::new(Currency::KRW)));
    let shop = Shop::open(Arc::clone(&pausable));
    stock(&shop);
    for _ in 0..2 {
        shop.call(AddProduct::new("Tea", Money::from_minor(10), 100)).run().unwrap();
    }
    let before = pausable.begins();
    pausable.pause();
    let order = |number: i64| {
        let order = PlaceOrder::new(CustomerId::new(1), [(ProductId::new(1 + number % 3), 1)]);
        shop.call(order).key(&key(&format!("order-{number}"))).submit()
    };
    let tickets: Vec<_> = (0..30).map(order).collect();
    pausable.resume();
    for (number, ticket) in (0_i64..).zip(tickets) {
        let product = 1 + number % 3;
        let answer = ticket.wait();
        let violated = matches!(answer, Err(Error::Store(StoreError::ConstraintViolation(_))));
        assert_eq!(violated, product == CONSTRAINED, "order {number}: {answer:?}");
    }
    assert_eq!(pausable.begins() - before, 1 + 30, "all together, then each alone");
    assert_clean(&shop);
}

#[test]
fn timed_out_call_is_busy_and_never_carried_out() {
    let pausable = PausableStore::new(MemoryStore::new(Currency::KRW));
    let shop = Shop::builder().timeout(Duration::from_millis(500)).open(Arc::clone(&pausable));
    pausable.pause();
    let refused = shop.call(AddCustomer::new("Kim")).run().unwrap_err();
    assert_eq!(refused, Error::Store(StoreError::Busy(None)));
    assert_eq!(pausable.begins(), 0);
    pausable.resume();
    let lee = shop.call(AddCustomer::new("Lee")).run().unwrap();
    assert_eq!(lee.id, CustomerId::new(1), "the call that returned busy added nothing");
    assert_clean(&shop);
}

#[test]
fn shop_closes_while_another_process_holds_the_store() {
    let pausable = PausableStore::new(MemoryStore::new(Currency::KRW));
    let shop = Shop::builder().timeout(Duration::from_millis(20)).open(Arc::clone(&pausable));
    pausable.pause();
    shop.call(AddCustomer::new("Kim")).run().unwrap_err();
    drop(shop);
    pausable.resume();
}

#[test]
fn full_disk_fails_the_whole_batch() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("shop.db");
    let full = Full { store: SqliteStore::open(&file).unwrap(), full: Mutex::new(false) };
    let full = Arc::new(full);
    let shop = Shop::open(Arc::clone(&full));
    stock(&shop);
    *full.full.lock().unwrap() = true;
    for ticket in submit_all(&shop) {
        let error = ticket.wait().unwrap_err();
        assert!(matches!(error, Error::Store(StoreError::Full(_))), "{error}");
    }
    assert_eq!(stock_left(&shop), 100);
    assert_clean(&shop);
    *full.full.lock().unwrap() = false;
    assert!(submit_all(&shop).into_iter().all(|ticket| ticket.wait().is_ok()));
    assert_clean(&shop);
}

/// Reads show the rows as they are while overdue orders cannot be released, and do not all try it.
#[test]
fn failed_sweep_is_not_repeated_by_each_read() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&folder.path().join("shop.db")).unwrap();
    let full = Arc::new(Full { store, full: Mutex::new(false) });
    let clock = Arc::new(ManualClock::new(NOW));
    let shop = Shop::builder().clock(Arc::clone(&clock)).open(Arc::clone(&full));
    stock(&shop);
    let order = PlaceOrder::new(CustomerId::new(1), [(ProductId::new(1), 1)]);
    shop.place_order(PlaceOrder { pay: PayWhen::Later, ..order }, &key("later")).unwrap();
    clock.set(NOW.plus_seconds(HOLD_SECONDS));
    *full.full.lock().unwrap() = true;
    let before = shop.stats().commands;
    let stock: Vec<_> = (0..50).map(|_| stock_left(&shop)).collect();
    assert_eq!(stock, [99; 50]);
    let sweeps = shop.stats().commands - before;
    assert!((1..25).contains(&sweeps), "one in a second, not one in each read: {sweeps}");
}

/// A store that reports a full disk, after everything was written, while its flag is set.
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
fn open_leaves_files_of_other_programs_unchanged(#[case] sql: &str, #[case] message: &str) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("other.db");
    Connection::open(&file).unwrap().execute_batch(sql).unwrap();
    let error = SqliteStore::open(&file).unwrap_err();
    assert!(matches!(&error, StoreError::Incompatible(text) if text.contains(message)), "{error}");
}

#[test]
fn open_refuses_hard_links_and_another_currency() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("shop.db");
    drop(SqliteStore::create(&file, Currency::KRW).unwrap());
    let dollars = Currency::from_code("USD").unwrap();
    assert!(matches!(SqliteStore::create(&file, dollars), Err(StoreError::Incompatible(_))));
    std::fs::hard_link(&file, folder.path().join("twin.db")).unwrap();
    assert!(matches!(SqliteStore::open(&file), Err(StoreError::Unavailable(_))));
}

/// Constraints of the file refuse what no rule would do.
#[rstest]
#[case::balance("UPDATE customers SET balance = -1")]
#[case::stock("UPDATE products SET stock = -1")]
#[case::price("UPDATE products SET price = 0")]
#[case::type_of_money("UPDATE customers SET balance = '12 won'")]
#[case::paid("UPDATE orders SET paid = subtotal - discount + 1")]
#[case::discount("UPDATE orders SET discount = subtotal + 1")]
#[case::refund("UPDATE orders SET refunded = paid + 1")]
#[case::status("UPDATE orders SET status = 4")]
#[case::kind_of_entry("UPDATE ledger SET kind = 7")]
#[case::kind_of_event("UPDATE events SET kind = 3")]
#[case::orphan("UPDATE orders SET customer_id = 77")]
#[case::line_of_nothing(
    "INSERT INTO order_lines (id, product_id, name, unit_price, quantity) VALUES (9 << 10, 1, 'a', 1, 1)"
)]
fn file_constraints_refuse_invalid_rows(#[case] sql: &str) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("shop.db");
    let shop = Shop::open(SqliteStore::open(&file).unwrap());
    stock(&shop);
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

/// The server has the same constraints as the file, except for references of orders, which batches check.
#[rstest]
#[case::balance("UPDATE customers SET balance = -1")]
#[case::stock("UPDATE products SET stock = -1")]
#[case::price("UPDATE products SET price = 0")]
#[case::paid("UPDATE orders SET paid = subtotal - discount + 1")]
#[case::discount("UPDATE orders SET discount = subtotal + 1")]
#[case::refund("UPDATE orders SET refunded = paid + 1")]
#[case::status("UPDATE orders SET status = 4")]
#[case::kind_of_entry("UPDATE ledger SET kind = 7")]
#[case::kind_of_event("UPDATE events SET kind = 3")]
#[case::orphan("INSERT INTO cart_lines (customer_id, product_id, quantity) VALUES (77, 1, 1)")]
fn server_constraints_refuse_invalid_rows(#[case] sql: &str) {
    let url = cluster::shared().database();
    let shop = Shop::open(PostgresStore::open(&url).unwrap());
    stock(&shop);
    assert!(submit_all(&shop).into_iter().all(|ticket| ticket.wait().is_ok()));
    let mut db = cluster::shared().admin(url.rsplit('/').next().unwrap());
    let error = db.batch_execute(sql).unwrap_err();
    assert!(error.code().unwrap().code().starts_with("23"), "{error}");
}

/// The counts of changed rows arrive together with the result of the commit. The caller must then
/// not learn that the call had no effect, and a command without a key must not be retried.
#[test]
fn skipped_update_ends_as_commit_unknown_without_a_retry() {
    let url = cluster::shared().database();
    let pausable = PausableStore::new(PostgresStore::open(&url).unwrap());
    let shop = Shop::open(Arc::clone(&pausable));
    stock(&shop);
    let leave_out = "CREATE FUNCTION leave_out() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN RETURN NULL; END $$;
        CREATE TRIGGER leave_out BEFORE UPDATE ON products
            FOR EACH ROW EXECUTE FUNCTION leave_out()";
    let mut db = cluster::shared().admin(url.rsplit('/').next().unwrap());
    db.batch_execute(leave_out).unwrap();

    pausable.pause();
    let coffee = shop.call(AddProduct::new("Coffee", Money::from_minor(10), 100)).submit();
    let orders = submit_all(&shop);
    pausable.resume();
    let unknown = |error: &Error| matches!(error, Error::Store(StoreError::CommitUnknown(text)) if text.contains("rows"));
    assert!(unknown(&coffee.wait().unwrap_err()));
    assert!(orders.into_iter().all(|order| unknown(&order.wait().unwrap_err())));
    assert_eq!(shop.products(&PageRequest::default()).unwrap().items.len(), 2);
    assert!(submit_all(&shop).into_iter().all(|order| order.outcome().replayed));
    assert!(!shop.audit().unwrap().ok);
}

#[test]
fn file_of_a_killed_program_opens_with_all_commits() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("shop.db");
    let shop = Shop::open(SqliteStore::open(&file).unwrap());
    stock(&shop);
    assert!(submit_all(&shop).into_iter().all(|ticket| ticket.wait().is_ok()));
    // A killed program leaves the file, and a log that was not checkpointed.
    let left = folder.path().join("left.db");
    std::fs::copy(&file, &left).unwrap();
    std::fs::copy(folder.path().join("shop.db-wal"), folder.path().join("left.db-wal")).unwrap();

    let opened = Shop::open(SqliteStore::open(&left).unwrap());
    assert_eq!(stock_left(&opened), 100 - ORDERS);
    assert!(submit_all(&opened).into_iter().all(|ticket| ticket.outcome().replayed));
    assert_clean(&opened);
}

#[test]
fn backup_under_load_is_a_consistent_store() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(SqliteStore::open(&folder.path().join("shop.db")).unwrap());
    let shop = Shop::open(Arc::clone(&store));
    stock(&shop);
    let copy = folder.path().join("copy.db");
    let orders = submit_all(&shop);
    store.backup(&copy, &mut |_| {}).unwrap();
    assert!(orders.into_iter().all(|ticket| ticket.wait().is_ok()));
    assert!(
        matches!(store.backup(&copy, &mut |_| {}), Err(StoreError::Copy(_))),
        "the target exists"
    );
    assert_clean(&Shop::open(SqliteStore::open(&copy).unwrap()));
}
