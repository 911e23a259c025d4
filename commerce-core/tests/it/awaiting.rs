//! Calls awaited as futures, on an executor of three lines and on tokio: they end as calls of threads do, by the same
//! deadline, and whether or not their futures live on.

use crate::common::failing::{Failing, Fault};
use crate::common::{On, PausableStore, World, assert_clean, key};
use commerce_core::limits::MAX_QUEUE;
use commerce_core::store::{Needs, Snapshot, State, Transaction};
use commerce_core::{
    AddCustomer, Code, Currency, Customer, CustomerId, Error, MemoryStore, PageRequest,
    PendingCall, PlaceOrder, Sequence, Shop, Store, StoreError,
};
use rstest::rstest;
use std::pin::pin;
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

/// Far more than a test takes.
const LONG: Duration = Duration::from_secs(600);
const SHORT: Duration = Duration::from_millis(20);

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// The smallest executor: one future, one thread, no timer.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        std::thread::park();
    }
}

fn poll<F: Future + Unpin>(future: &mut F, waker: &Waker) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(waker))
}

fn add(shop: &Shop, name: &str) -> PendingCall<Customer> {
    shop.call(AddCustomer::new(name)).submit()
}

fn names(shop: &Shop) -> Vec<String> {
    let customers = shop.customers(&PageRequest::first(100)).unwrap().items;
    customers.into_iter().map(|customer| customer.name).collect()
}

/// A shop of that timeout on a store in memory that can be paused.
fn pausable(timeout: Duration) -> (Arc<PausableStore<MemoryStore>>, Shop) {
    let store = PausableStore::new(MemoryStore::new(Currency::KRW));
    let shop = Shop::builder().timeout(timeout).open(Arc::clone(&store));
    (store, shop)
}

#[rstest]
fn awaited_call_ends_as_a_call_of_a_thread(#[values(On::Memory, On::Sqlite, On::Postgres)] on: On) {
    let world = World::new(on);
    let (kim, tea) = (world.customer(50).id, world.product(10, 3).id);
    let place = |units: i64, name: &str| {
        world.shop.call(PlaceOrder::new(kim, [(tea, units)])).key(&key(name)).submit()
    };
    let order = block_on(place(2, "a")).unwrap();
    assert_eq!(world.shop.order(order.id).unwrap(), order);
    assert_eq!(block_on(place(2, "b")).unwrap_err().code(), Code::InsufficientStock);
    for (name, replayed) in [("a", true), ("b", true), ("c", false)] {
        let outcome = block_on(place(2, name).outcome_async());
        assert_eq!(outcome.replayed, replayed, "{name}");
        assert_eq!(outcome.result.ok(), (name == "a").then(|| order.clone()), "{name}");
    }
    world.assert_clean();
}

#[test]
fn many_awaited_calls_of_one_thread_share_a_commit() {
    let (store, shop) = pausable(LONG);
    store.pause();
    let mut calls: Vec<_> = (0..500).map(|_| Box::pin(add(&shop, "Kim"))).collect();
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    assert!(calls.iter_mut().all(|call| poll(call, &waker).is_pending()));
    store.resume();
    while !calls.is_empty() {
        calls.retain_mut(|call| match poll(call, &waker) {
            Poll::Ready(result) => result.is_err(),
            Poll::Pending => true,
        });
        if !calls.is_empty() {
            std::thread::park();
        }
    }
    assert_eq!(shop.stats().commands, 500);
    assert_eq!(store.begins(), 1, "the calls of one thread are one batch");
}

#[rstest]
fn tasks_of_tokio_compete_as_threads_do(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
    #[values(1, 4)] threads: usize,
) {
    let world = World::new(on);
    let (kim, tea) = (world.customer(100_000).id, world.product(10, 50).id);
    let shop = Arc::new(world.shop);
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(threads).build().unwrap();
    // Each key is used by two tasks.
    let tasks: Vec<_> = (0..400)
        .map(|number| {
            let shop = Arc::clone(&shop);
            runtime.spawn(async move {
                let order = PlaceOrder::new(kim, [(tea, 1)]);
                let key = key(&format!("order-{}", number / 2));
                shop.call(order).key(&key).submit().outcome_async().await
            })
        })
        .collect();
    let ended: Vec<_> = tasks.into_iter().map(|task| runtime.block_on(task).unwrap()).collect();
    assert_eq!(ended.iter().filter(|outcome| outcome.result.is_ok()).count(), 2 * 50);
    assert_eq!(ended.iter().filter(|outcome| outcome.replayed).count(), 200);
    // A read from a server belongs on a thread for blocking work.
    let read = move |shop: Arc<Shop>| shop.product(tea).unwrap().stock;
    let stock = if shop.reads_locally() {
        let shop = Arc::clone(&shop);
        runtime.block_on(async move { read(shop) })
    } else {
        let shop = Arc::clone(&shop);
        runtime.block_on(async { runtime.spawn_blocking(move || read(shop)).await.unwrap() })
    };
    assert_eq!(stock, 0);
    assert_clean(&shop);
}

#[test]
fn dropped_future_is_carried_out() {
    let (store, shop) = pausable(LONG);
    store.pause();
    drop(add(&shop, "never polled"));
    let mut polled = add(&shop, "polled");
    assert!(poll(&mut polled, Waker::noop()).is_pending());
    drop(polled);
    store.resume();
    drop(shop);
    assert_eq!(names(&Shop::open(store)), ["never polled", "polled"]);
}

/// A call without a caller has no deadline, as one that was never awaited.
#[test]
fn dropped_future_has_no_deadline() {
    let (store, shop) = pausable(SHORT);
    store.pause();
    let mut dropped = add(&shop, "Kim");
    assert!(poll(&mut dropped, Waker::noop()).is_pending());
    drop(dropped);
    assert_eq!(block_on(add(&shop, "Lee")).unwrap_err().code(), Code::Busy);
    store.resume();
    drop(shop);
    assert_eq!(names(&Shop::open(store)), ["Kim"]);
}

#[test]
fn awaited_call_is_busy_at_its_deadline_and_never_carried_out() {
    let (store, shop) = pausable(SHORT);
    store.pause();
    for _ in 0..3 {
        assert_eq!(block_on(add(&shop, "Kim")), Err(Error::Store(StoreError::Busy(None))));
    }
    assert_eq!(store.begins(), 0);
    store.resume();
    assert_eq!(block_on(add(&shop, "Lee")).unwrap().id, CustomerId::new(1));
    assert_clean(&shop);
}

#[test]
fn call_after_one_that_missed_its_deadline_is_not_attempted() {
    let (store, shop) = pausable(SHORT);
    store.pause();
    let mut sequence = Sequence::default();
    let first = shop.call(AddCustomer::new("Kim")).submit_in(&mut sequence);
    let second = shop.call(AddCustomer::new("Lee")).submit_in(&mut sequence);
    assert_eq!(block_on(first).unwrap_err().code(), Code::Busy);
    store.resume();
    assert!(second.wait().is_err());
    assert!(names(&shop).is_empty());
}

/// A store with a transaction that is busy in the end, after the deadline of its call has passed. No other transaction begins.
struct Late(Arc<PausableStore<MemoryStore>>);

struct LateTransaction<'a>(&'a PausableStore<MemoryStore>);

impl Store for Late {
    fn currency(&self) -> Currency {
        self.0.currency()
    }

    fn begin(&self) -> Result<Box<dyn Transaction + '_>, StoreError> {
        self.0.begin().map(drop)?;
        Ok(Box::new(LateTransaction(&self.0)))
    }

    fn try_begin(&self) -> Result<Option<Box<dyn Transaction + '_>>, StoreError> {
        Ok(None)
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot + '_>, StoreError> {
        self.0.snapshot()
    }
}

impl Transaction for LateTransaction<'_> {
    fn load(&mut self, _: &Needs, _: &mut State) -> Result<(), StoreError> {
        let begun = Instant::now();
        while begun.elapsed() < 4 * SHORT {
            std::thread::sleep(SHORT);
        }
        self.0.pause();
        Err(StoreError::Busy(None))
    }

    fn apply(&mut self, _: &State) -> Result<(), StoreError> {
        Ok(())
    }

    fn commit(self: Box<Self>) -> Result<(), StoreError> {
        Ok(())
    }
}

#[test]
fn deadline_that_passes_during_a_transaction_ends_the_call_once_it_is_queued_again() {
    let store = PausableStore::new(MemoryStore::new(Currency::KRW));
    let shop = Shop::builder().timeout(SHORT).open(Late(Arc::clone(&store)));
    assert_eq!(block_on(add(&shop, "Kim")).unwrap_err().code(), Code::Busy);
    drop(shop);
    store.resume();
}

#[test]
fn submitting_to_a_full_queue_does_not_block_and_a_dropped_call_behind_it_is_withdrawn() {
    let (store, shop) = pausable(LONG);
    store.pause();
    let queued: Vec<_> = (0..MAX_QUEUE).map(|_| add(&shop, "queued")).collect();
    let behind = [add(&shop, "behind"), add(&shop, "dropped"), add(&shop, "behind")];
    let [first, dropped, last] = behind;
    drop(dropped);
    let place = queued.into_iter().next_back();
    let waiting = shop.stats().waiting;
    store.resume();
    assert_eq!(waiting, MAX_QUEUE + 2, "a place in the queue outlives its caller");
    for call in [place.unwrap(), first, last] {
        block_on(call).unwrap();
    }
    assert_eq!(shop.stats().commands, u64::try_from(MAX_QUEUE).unwrap() + 2);
}

#[rstest]
fn awaited_call_survives_any_fault_of_the_leader(
    #[values(Fault::Busy, Fault::Full, Fault::Constraint, Fault::Panic, Fault::DoneButUnknown)]
    fault: Fault,
) {
    for step in 0..4 {
        let store = Arc::new(Failing::new(MemoryStore::new(Currency::KRW), fault));
        let shop = Shop::builder().timeout(LONG).open(Arc::clone(&store));
        store.fail_at(step);
        let ended = block_on(add(&shop, "Kim"));
        assert_eq!(ended.is_ok(), fault == Fault::Busy, "step {step}: {ended:?}");
        assert!(store.heal(), "step {step}");
        block_on(add(&shop, "Lee")).unwrap();
        assert_clean(&shop);
    }
}

/// Polls its call and uses the shop when it is woken: it would wait for itself under a lock of the engine.
struct Reentrant {
    shop: Arc<Shop>,
    call: Mutex<Option<PendingCall<Customer>>>,
    ended: mpsc::Sender<bool>,
}

impl Wake for Reentrant {
    fn wake(self: Arc<Self>) {
        let call = self.call.lock().unwrap().take();
        let is_ready = call.is_some_and(|mut call| poll(&mut call, Waker::noop()).is_ready());
        self.ended.send(is_ready && self.shop.stats().waiting == 0).unwrap();
    }
}

#[test]
fn waker_may_poll_the_call_and_use_the_shop() {
    let (store, shop) = pausable(LONG);
    let (ended, end) = mpsc::channel();
    let waker = Arc::new(Reentrant { shop: Arc::new(shop), call: Mutex::default(), ended });
    store.pause();
    let mut call = add(&waker.shop, "Kim");
    assert!(poll(&mut call, &Waker::from(Arc::clone(&waker))).is_pending());
    *waker.call.lock().unwrap() = Some(call);
    store.resume();
    assert_eq!(end.recv(), Ok(true));
}

/// Takes the future elsewhere, as `select` and work stealing do.
#[test]
fn last_waker_is_woken() {
    let (store, shop) = pausable(LONG);
    store.pause();
    let mut call = add(&shop, "Kim");
    assert!(poll(&mut call, Waker::noop()).is_pending());
    let waiting = std::thread::spawn(move || block_on(call));
    store.resume();
    waiting.join().unwrap().unwrap();
    let mut call = add(&shop, "Lee");
    let _ = poll(&mut call, Waker::noop()).is_pending();
    block_on(call).unwrap();
    assert_eq!(names(&shop), ["Kim", "Lee"]);
}

struct Panicking;

impl Wake for Panicking {
    fn wake(self: Arc<Self>) {
        panic!("a waker panicked");
    }
}

#[test]
fn waker_that_panics_ends_no_other_call() {
    let (store, shop) = pausable(LONG);
    store.pause();
    let mut panicking = add(&shop, "Kim");
    assert!(poll(&mut panicking, &Waker::from(Arc::new(Panicking))).is_pending());
    let other = add(&shop, "Lee");
    store.resume();
    block_on(other).unwrap();
    block_on(add(&shop, "Han")).unwrap();
    assert_eq!(names(&shop), ["Kim", "Lee", "Han"]);
}

/// A task that owns its shop, and is dropped when it is woken because its executor is gone.
struct Orphan {
    _shop: Arc<Shop>,
    /// Closed after the shop.
    _dropped: mpsc::Sender<()>,
}

impl Wake for Orphan {
    fn wake(self: Arc<Self>) {}
}

#[rstest]
#[case::by_its_result(LONG)]
#[case::by_its_deadline(SHORT)]
fn woken_task_may_drop_the_shop(#[case] timeout: Duration) {
    let (store, shop) = pausable(timeout);
    let shop = Arc::new(shop);
    let (dropped, is_dropped) = mpsc::channel();
    store.pause();
    let mut call = add(&shop, "Kim");
    let waker = Waker::from(Arc::new(Orphan { _shop: shop, _dropped: dropped }));
    assert!(poll(&mut call, &waker).is_pending());
    drop(waker);
    if timeout == LONG {
        store.resume();
    }
    assert!(is_dropped.recv().is_err());
    store.resume();
    assert_eq!(call.wait().is_ok(), timeout == LONG);
}
