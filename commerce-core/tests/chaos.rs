//! Backends are terminated at random under load, and the server is restarted as after a crash: nothing
//! that was acknowledged is lost, nothing happens twice when callers repeat with their keys, and nobody
//! waits for ever.
//!
//! `COMMERCE_TERMINATIONS` and `COMMERCE_RESTARTS` say how many of each.

#![allow(clippy::unwrap_used, clippy::panic, clippy::arithmetic_side_effects, reason = "a test")]
#![allow(clippy::disallowed_methods, reason = "a long run is asked for by the environment")]

mod common;

use commerce_core::{
    AddCustomer, AddProduct, Code, Error, Money, Order, Outcome, PlaceOrder, PostgresStore, Shop,
    StoreError,
};
use common::cluster::Cluster;
use common::{assert_clean, key};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const INSTANCES: usize = 4;
const CALLERS: usize = 4;

/// How long a shop lets its callers wait.
const PATIENCE: Duration = Duration::from_secs(10);

/// Nobody waits longer, come what may: for their turn, and then for an answer that does not come.
const LONGEST: Duration = Duration::from_secs(25);

fn number(name: &str, usual: usize) -> usize {
    std::env::var(name).map_or(usual, |text| text.parse().unwrap())
}

fn place(shop: &Shop, name: &str) -> Outcome<Order> {
    let customer = i64::try_from(name.len() % 20).unwrap() + 1;
    let order = PlaceOrder::new(customer.into(), [(1.into(), 1), (2.into(), 2)]);
    let order = PlaceOrder { reference: Some(name.to_owned()), ..order };
    shop.call(order).key(&key(name)).outcome()
}

/// What callers have been through.
#[derive(Default)]
struct Seen {
    unknown: AtomicUsize,
    busy: AtomicUsize,
    longest_millis: AtomicUsize,
}

impl Seen {
    /// Places the order of that name, again and again until there is an answer.
    fn insist(&self, shop: &Shop, name: &str) -> Order {
        loop {
            let begun = Instant::now();
            let outcome = place(shop, name);
            let millis = usize::try_from(begun.elapsed().as_millis()).unwrap();
            self.longest_millis.fetch_max(millis, Ordering::Relaxed);
            match outcome.result {
                Ok(order) => return order,
                Err(Error::Store(StoreError::Unknown(_))) => {
                    self.unknown.fetch_add(1, Ordering::Relaxed)
                }
                Err(Error::Store(StoreError::Busy)) => self.busy.fetch_add(1, Ordering::Relaxed),
                Err(error) => panic!("{error}"),
            };
        }
    }
}

/// Terminates one backend of the instances after the other, and restarts the server now and then.
fn havoc(cluster: &Cluster, database: &str, terminations: usize, restarts: usize) -> usize {
    let mut admin = cluster.admin(database);
    let (mut terminated, mut restarted) = (0, 0);
    while terminated < terminations || restarted < restarts {
        if restarted < restarts && terminated * restarts >= restarted * terminations.max(1) {
            drop(admin);
            cluster.restart();
            admin = cluster.admin(database);
            restarted += 1;
        }
        let sql = "SELECT count(pg_terminate_backend(pid)) FROM (
                       SELECT pid FROM pg_stat_activity
                       WHERE application_name = 'commerce' AND datname = current_database()
                       ORDER BY random() LIMIT 1) AS victims";
        let count: i64 = admin.query_one(sql, &[]).unwrap().get(0);
        terminated += usize::try_from(count).unwrap();
        std::thread::sleep(Duration::from_millis(15));
    }
    terminated
}

#[test]
fn what_was_acknowledged_survives_terminations_and_restarts() {
    let cluster = Cluster::start();
    let url = cluster.database();
    let database = url.rsplit('/').next().unwrap().to_owned();
    let open = || Shop::builder().patience(PATIENCE).open(PostgresStore::open(&url).unwrap());
    let shops: Vec<Shop> = (0..INSTANCES).map(|_| open()).collect();
    for _ in 0..20 {
        let balance = Money::from_minor(1_000_000_000);
        shops[0].call(AddCustomer { balance, ..AddCustomer::new("Kim") }).run().unwrap();
        let request = AddProduct::new("Tea", Money::from_minor(10), 1_000_000_000);
        shops[0].call(request).run().unwrap();
    }
    let (over, seen) = (AtomicBool::new(false), Seen::default());
    let terminations = number("COMMERCE_TERMINATIONS", 300);
    let restarts = number("COMMERCE_RESTARTS", 3);
    let (acknowledged, terminated) = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..INSTANCES * CALLERS)
            .map(|caller| {
                let (shop, seen, over) = (&shops[caller % INSTANCES], &seen, &over);
                scope.spawn(move || {
                    let names = (0..).map(|turn| format!("caller-{caller}-{turn}"));
                    let names = names.take_while(|_| !over.load(Ordering::Relaxed));
                    names.map(|name| (seen.insist(shop, &name).id, name)).collect::<Vec<_>>()
                })
            })
            .collect();
        let terminated = havoc(&cluster, &database, terminations, restarts);
        over.store(true, Ordering::Relaxed);
        let acknowledged = callers.into_iter().flat_map(|caller| caller.join().unwrap());
        (acknowledged.collect::<Vec<_>>(), terminated)
    });
    let (unknown, busy) = (seen.unknown.into_inner(), seen.busy.into_inner());
    let longest = Duration::from_millis(seen.longest_millis.into_inner().try_into().unwrap());
    eprintln!(
        "{} orders, {terminated} terminations, {restarts} restarts: {unknown} unknown, {busy} busy, \
         the longest wait {longest:?}",
        acknowledged.len()
    );
    assert!(longest < LONGEST, "{longest:?}");
    for (id, name) in &acknowledged {
        let again = place(&shops[1], name);
        assert!(again.replayed, "{name} was acknowledged and is not there");
        assert_eq!(again.result.unwrap().id, *id);
    }
    let sql = "SELECT count(*), count(DISTINCT reference) FROM orders";
    let row = cluster.admin(&database).query_one(sql, &[]).unwrap();
    let placed = i64::try_from(acknowledged.len()).unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (placed, placed));
    assert_clean(&shops[2]);
}

/// A server that is gone for good is found out in bounded time, by who writes and by who reads.
#[test]
fn nobody_waits_for_ever_for_a_server_that_is_gone() {
    let cluster = Cluster::start();
    let url = cluster.database();
    let patience = Duration::from_secs(2);
    let shop = Shop::builder().patience(patience).open(PostgresStore::open(&url).unwrap());
    shop.call(AddCustomer::new("Kim")).run().unwrap();
    cluster.stop();
    let begun = Instant::now();
    let charged = shop.charge(1.into(), Money::from_minor(5), &key("charge"));
    assert_eq!(charged.unwrap_err().code(), Code::Busy);
    assert_eq!(shop.balance(1.into()).unwrap_err().code(), Code::Busy);
    assert!(begun.elapsed() < LONGEST, "{:?}", begun.elapsed());
    cluster.begin();
    shop.charge(1.into(), Money::from_minor(5), &key("charge")).unwrap();
    assert_eq!(shop.balance(1.into()).unwrap().balance, Money::from_minor(5));
    assert_clean(&shop);
}
