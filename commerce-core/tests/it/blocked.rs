//! A row that another session keeps locked: only the calls that need it wait, and each caller is
//! answered by its deadline.

use crate::common::{PausableStore, assert_clean, cluster, key};
use commerce_core::store::{Needs, Snapshot, State, Transaction};
use commerce_core::{
    AddCustomer, AddProduct, Code, Currency, CustomerId, Error, MemoryStore, Money, PendingCall,
    PlaceOrder, ProductId, Sequence, Shop, Store, StoreError,
};
use commerce_postgres::PostgresStore;
use postgres::NoTls;
use rstest::rstest;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// A memory store in which one product can be locked: a transaction that sells it waits for the
/// gate, as long as the engine lets it, and is busy then.
struct Gated {
    store: MemoryStore,
    locked: Mutex<Option<ProductId>>,
    opened: Condvar,
}

struct GatedTransaction<'a> {
    transaction: Box<dyn Transaction + 'a>,
    store: &'a Gated,
    limit: Duration,
}

impl Gated {
    fn lock(&self, product: ProductId) {
        *self.locked.lock().unwrap() = Some(product);
    }

    fn unlock(&self) {
        *self.locked.lock().unwrap() = None;
        self.opened.notify_all();
    }
}

impl Store for Gated {
    fn currency(&self) -> Currency {
        self.store.currency()
    }

    fn begin(&self) -> Result<Box<dyn Transaction + '_>, StoreError> {
        let transaction = self.store.begin()?;
        Ok(Box::new(GatedTransaction { transaction, store: self, limit: Duration::MAX }))
    }

    fn try_begin(&self) -> Result<Option<Box<dyn Transaction + '_>>, StoreError> {
        self.begin().map(Some)
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot + '_>, StoreError> {
        self.store.snapshot()
    }
}

impl Transaction for GatedTransaction<'_> {
    fn load(&mut self, needs: &Needs, state: &mut State) -> Result<(), StoreError> {
        self.transaction.load(needs, state)
    }

    fn limit_waits(&mut self, limit: Duration) {
        self.limit = limit;
    }

    fn apply(&mut self, state: &State) -> Result<(), StoreError> {
        let is_sold = |locked: &mut Option<ProductId>| {
            state.sales.iter().flat_map(|sale| &sale.products).any(|(id, _)| Some(*id) == *locked)
        };
        let limit = self.limit.min(Duration::from_millis(50));
        let locked = self.store.locked.lock().unwrap();
        let (locked, wait) = self.store.opened.wait_timeout_while(locked, limit, is_sold).unwrap();
        drop(locked);
        if wait.timed_out() {
            Err(StoreError::Busy(Some("gate".to_owned())))
        } else {
            self.transaction.apply(state)
        }
    }

    fn commit(self: Box<Self>) -> Result<(), StoreError> {
        self.transaction.commit()
    }
}

const KIM: CustomerId = CustomerId::new(1);

/// Adds a customer and three products.
fn stock(shop: &Shop) {
    let balance = Money::from_minor(1_000);
    shop.call(AddCustomer { balance, ..AddCustomer::new("Kim") }).run().unwrap();
    for _ in 0..3 {
        shop.call(AddProduct::new("Tea", Money::from_minor(10), 100)).run().unwrap();
    }
}

fn gated(timeout: Duration) -> (Arc<PausableStore<Gated>>, Shop) {
    let store = MemoryStore::new(Currency::KRW);
    let (locked, opened) = (Mutex::default(), Condvar::new());
    let store = PausableStore::new(Gated { store, locked, opened });
    let shop = Shop::builder().timeout(timeout).open(Arc::clone(&store));
    stock(&shop);
    (store, shop)
}

fn order(product: i64) -> PlaceOrder {
    PlaceOrder::new(KIM, [(product.into(), 1)])
}

fn submit(shop: &Shop, number: i64) -> PendingCall<commerce_core::Order> {
    shop.call(order(1 + number % 3)).key(&key(&format!("order-{number}"))).submit()
}

/// Long enough that no caller gives up.
const PATIENT: Duration = Duration::from_secs(600);

#[test]
fn only_calls_that_need_a_locked_row_wait_for_it() {
    let (store, shop) = gated(PATIENT);
    store.store.lock(2.into());
    store.pause();
    let calls: Vec<_> = (0..30).map(|number| submit(&shop, number)).collect();
    store.resume();
    let (blocked, others): (Vec<_>, Vec<_>) =
        (0..30).zip(calls).partition(|(number, _)| number % 3 == 1);
    // All of these are answered while the product is locked.
    for (_, call) in others {
        call.wait().unwrap();
    }
    for number in 30..40 {
        shop.call(order(1 + 2 * (number % 2))).run().unwrap();
    }
    store.store.unlock();
    for (_, call) in blocked {
        call.wait().unwrap();
    }
    let stock = [1, 2, 3].map(|id| shop.product(id.into()).unwrap().stock);
    assert_eq!(stock, [85, 90, 85]);
    assert_clean(&shop);
}

#[test]
fn caller_of_a_locked_row_is_busy_at_its_deadline_and_changed_nothing() {
    let (store, shop) = gated(Duration::from_millis(200));
    store.store.lock(2.into());
    store.pause();
    let batch: Vec<_> = (0..30).map(|number| submit(&shop, number)).collect();
    store.resume();
    for (number, call) in (0..30).zip(batch) {
        let answer = call.wait();
        if number % 3 == 1 {
            assert_eq!(answer.unwrap_err().code(), Code::Busy, "order {number}");
        }
    }
    let alone = shop.call(order(2)).run().unwrap_err();
    assert_eq!(alone.code(), Code::Busy);
    store.store.unlock();
    assert_eq!(shop.product(2.into()).unwrap().stock, 100);
    let shop = Shop::builder().timeout(PATIENT).open(Arc::clone(&store));
    for number in 0..30 {
        submit(&shop, number).wait().unwrap();
    }
    assert_eq!(shop.product(2.into()).unwrap().stock, 90);
    assert_clean(&shop);
}

/// The calls after a blocked one of the same sequence wait with it, and the others do not.
#[rstest]
#[case::until_it_goes_on(PATIENT)]
#[case::until_it_is_busy(Duration::from_secs(3))]
fn sequence_keeps_its_order_around_a_blocked_call(#[case] timeout: Duration) {
    let (store, shop) = gated(timeout);
    store.store.lock(2.into());
    store.pause();
    let mut sequence = Sequence::default();
    let mut next = |product| shop.call(order(product)).submit_in(&mut sequence);
    let calls: Vec<_> = [1, 1, 2, 1, 2, 3].map(&mut next).into_iter().collect();
    store.resume();
    let mut calls = calls.into_iter();
    let first: Vec<_> = calls.by_ref().take(2).map(|call| call.wait().unwrap().id).collect();
    let late = next(3);
    if timeout == PATIENT {
        shop.call(order(3)).run().unwrap();
        store.store.unlock();
        let rest = calls.chain([late]).map(|call| call.wait().unwrap().id);
        let ids: Vec<_> = first.into_iter().chain(rest).collect();
        assert!(ids.is_sorted(), "{ids:?}");
        assert_eq!(shop.product(3.into()).unwrap().stock, 97);
    } else {
        let busy = StoreError::Busy(Some("gate".to_owned()));
        assert_eq!(calls.next().unwrap().wait(), Err(Error::from(busy)));
        for call in calls.chain([late]) {
            assert_eq!(call.wait().unwrap_err().code(), Code::Busy);
        }
        store.store.unlock();
        assert_eq!(shop.product(1.into()).unwrap().stock, 98);
        assert_eq!(shop.product(3.into()).unwrap().stock, 100);
    }
    assert_clean(&shop);
}

#[test]
fn shop_closes_after_the_deadline_of_a_blocked_call_that_nobody_waits_for() {
    let (store, shop) = gated(Duration::from_millis(200));
    store.store.lock(2.into());
    drop(shop.call(order(2)).submit());
    drop(shop);
}

/// A row lock on a real server. Two instances: neither holds the writer lock while it waits.
#[test]
fn row_locked_in_psql_blocks_only_its_customer() {
    let url = cluster::shared().database();
    let open = |timeout| Shop::builder().timeout(timeout).open(PostgresStore::open(&url).unwrap());
    let (shop, other) = (open(PATIENT), open(PATIENT));
    let hasty = open(Duration::from_millis(700));
    stock(&shop);
    let lee = AddCustomer { balance: Money::from_minor(1_000), ..AddCustomer::new("Lee") };
    let lee = shop.call(lee).run().unwrap().id;

    let mut psql = postgres::Client::connect(&url, NoTls).unwrap();
    let mut session = psql.transaction().unwrap();
    session.execute("SELECT id FROM customers WHERE id = 1 FOR UPDATE", &[]).unwrap();
    let blocked: Vec<_> = (0..4).map(|number| submit(&shop, number)).collect();
    for shop in [&shop, &other] {
        for _ in 0..10 {
            shop.call(PlaceOrder::new(lee, [(1.into(), 1)])).run().unwrap();
        }
    }
    let charge = |shop: &Shop| shop.charge(KIM, Money::from_minor(5), &key("charge"));
    assert_eq!(charge(&hasty).unwrap_err().code(), Code::Busy, "and not unknown");
    session.rollback().unwrap();
    charge(&shop).unwrap();
    for call in blocked {
        call.wait().unwrap();
    }
    assert_eq!(shop.balance(KIM).unwrap().balance, Money::from_minor(1_000 + 5 - 40));
    assert_clean(&shop);
}

/// The behaviour of a proxy towards new connections.
const FORWARDS: u8 = 0;
const REFUSES: u8 = 1;
const IS_SILENT: u8 = 2;

/// Starts a proxy of the server; returns its port.
fn proxy(server: u16, mode: &Arc<AtomicU8>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mode = Arc::clone(mode);
    std::thread::spawn(move || {
        let mut silent = Vec::new();
        for near in listener.incoming() {
            let near = near.unwrap();
            match mode.load(Ordering::SeqCst) {
                FORWARDS => {
                    let far = TcpStream::connect(("127.0.0.1", server)).unwrap();
                    let other = (near.try_clone().unwrap(), far.try_clone().unwrap());
                    for (mut from, mut to) in [(near, far), (other.1, other.0)] {
                        std::thread::spawn(move || {
                            let _ = std::io::copy(&mut from, &mut to);
                            let _ = to.shutdown(Shutdown::Both);
                        });
                    }
                }
                IS_SILENT => silent.push(near),
                _ => drop(near),
            }
        }
    });
    port
}

/// A server that accepts connections and does not answer: the connection attempt takes longer than this test may.
#[test]
fn caller_is_busy_at_its_deadline_while_the_store_connects() {
    let database = cluster::shared().database().rsplit('/').next().unwrap().to_owned();
    let mode = Arc::new(AtomicU8::new(FORWARDS));
    let port = proxy(cluster::shared().port(), &mode);
    let url = format!(
        "postgres://postgres@127.0.0.1:{port}/{database}?connect_timeout=9000&sslmode=disable"
    );
    let store = PostgresStore::open(&url).unwrap();
    let shop = Shop::builder().timeout(Duration::from_millis(300)).open(store);
    stock(&shop);
    mode.store(REFUSES, Ordering::SeqCst);
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
               WHERE datname = current_database() AND pid <> pg_backend_pid()";
    cluster::shared().admin(&database).execute(end, &[]).unwrap();
    assert_eq!(shop.call(order(1)).run().unwrap_err().code(), Code::Busy);
    // The writer thread gives up its attempts, for want of calls: the next caller finds the engine idle.
    std::thread::sleep(Duration::from_secs(1));
    mode.store(IS_SILENT, Ordering::SeqCst);
    for _ in 0..2 {
        assert_eq!(shop.call(order(1)).run().unwrap_err().code(), Code::Busy);
    }
}
