//! Backends are terminated at random under load, and the server is restarted as after a crash: no
//! acknowledged order is lost, no order is placed twice when callers retry with their keys, and
//! every wait is bounded.
//!
//! `COMMERCE_TERMINATIONS` and `COMMERCE_RESTARTS` set the number of each.

#![allow(clippy::print_stderr, reason = "the outcomes of callers are printed")]
#![allow(clippy::disallowed_methods, reason = "the environment sets the length of the run")]

use crate::common::cluster::Cluster;
use crate::common::insist::{CallerStats, LONGEST, StopOnDrop, TIMEOUT, assert_each_once, fill};
use crate::common::{assert_clean, key};
use commerce_core::{AddCustomer, Code, Money, Shop};
use commerce_postgres::PostgresStore;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

const INSTANCES: usize = 4;
const CALLERS: usize = 4;

fn number(name: &str, usual: usize) -> usize {
    std::env::var(name).map_or(usual, |text| text.parse().unwrap())
}

/// Terminates backends of the instances one after the other, and restarts the server at even
/// intervals.
fn terminate_and_restart(
    cluster: &Cluster,
    database: &str,
    terminations: usize,
    restarts: usize,
) -> usize {
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
fn acknowledged_orders_survive_terminated_backends_and_crashes() {
    let cluster = Cluster::start();
    let url = cluster.database();
    let database = url.rsplit('/').next().unwrap().to_owned();
    let open = || Shop::builder().timeout(TIMEOUT).open(PostgresStore::open(&url).unwrap());
    let shops: Vec<Shop> = (0..INSTANCES).map(|_| open()).collect();
    fill(&shops[0]);
    let (over, seen) = (AtomicBool::new(false), CallerStats::default());
    let terminations = number("COMMERCE_TERMINATIONS", 300);
    let restarts = number("COMMERCE_RESTARTS", 3);
    let (acknowledged, terminated) = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..INSTANCES * CALLERS)
            .map(|caller| {
                let (shop, seen, over) = (&shops[caller % INSTANCES], &seen, &over);
                scope.spawn(move || seen.orders(shop, caller, over))
            })
            .collect();
        let until = StopOnDrop(&over);
        let terminated = terminate_and_restart(&cluster, &database, terminations, restarts);
        drop(until);
        let acknowledged = callers.into_iter().flat_map(|caller| caller.join().unwrap());
        (acknowledged.collect::<Vec<_>>(), terminated)
    });
    eprintln!(
        "{} orders, {terminated} terminations, {restarts} restarts: {seen}",
        acknowledged.len()
    );
    assert!(seen.longest() < LONGEST, "{seen}");
    assert_each_once(&acknowledged, &shops[1], &mut cluster.admin(&database));
    assert_clean(&shops[2]);
}

/// Writers and readers detect a server that stays down within a bounded time.
#[test]
fn calls_to_a_stopped_server_return_busy_in_bounded_time() {
    let cluster = Cluster::start();
    let url = cluster.database();
    let timeout = Duration::from_secs(2);
    let shop = Shop::builder().timeout(timeout).open(PostgresStore::open(&url).unwrap());
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
