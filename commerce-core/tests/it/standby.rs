//! Fail-over: a primary with a synchronous standby dies under load, the standby is promoted, and
//! instances with both hosts in their URL continue by themselves with all acknowledged orders.

#![allow(clippy::print_stderr, reason = "the outcomes of callers are printed")]
#![allow(clippy::disallowed_methods, reason = "the environment sets the length of the run")]

use crate::common::assert_clean;
use crate::common::cluster::{Cluster, wait_until};
use crate::common::insist::{
    CallerStats, LONGEST, StopOnDrop, TIMEOUT, assert_each_once, fill, place_again,
};
use commerce_core::{Error, Shop, StoreError};
use commerce_postgres::PostgresStore;
use rstest::rstest;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

const INSTANCES: usize = 3;
const CALLERS: usize = 4;

/// The number of orders acknowledged before the primary dies, and again after the promotion.
const ORDERS: usize = 150;

/// A primary, its standby, and the URL that names both.
struct Pair {
    primary: Cluster,
    standby: Cluster,
    database: String,
    url: String,
}

impl Pair {
    fn start() -> Self {
        let primary = Cluster::start();
        let database = primary.database().rsplit('/').next().unwrap().to_owned();
        let standby = primary.standby();
        let url = format!(
            "postgres://postgres@127.0.0.1:{},127.0.0.1:{}/{database}?target_session_attrs=read-write",
            primary.port(),
            standby.port()
        );
        Self { primary, standby, database, url }
    }

    fn shop(&self) -> Shop {
        Shop::builder().timeout(TIMEOUT).open(PostgresStore::open(&self.url).unwrap())
    }
}

/// The way in which the primary fails.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    /// The server is gone, and its machine refuses connections.
    Killed,
    /// The server accepts connections and never answers.
    Frozen,
}

/// `COMMERCE_FAILOVERS` sets the number of fail-overs.
#[rstest]
fn acknowledged_orders_survive_a_fail_over(#[values(End::Killed, End::Frozen)] end: End) {
    let failovers = std::env::var("COMMERCE_FAILOVERS").map_or(1, |text| text.parse().unwrap());
    for _ in 0..failovers {
        fail_over(end);
    }
}

fn fail_over(end: End) {
    let pair = Pair::start();
    let shops: Vec<Shop> = (0..INSTANCES).map(|_| pair.shop()).collect();
    fill(&shops[0]);
    let (over, seen, reads) = (AtomicBool::new(false), CallerStats::default(), AtomicUsize::new(0));
    let acknowledged = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..INSTANCES * CALLERS)
            .map(|caller| {
                let (shop, seen, over) = (&shops[caller % INSTANCES], &seen, &over);
                scope.spawn(move || seen.orders(shop, caller, over))
            })
            .collect();
        let reader = scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                let begun = Instant::now();
                match shops[0].balance(1.into()) {
                    Ok(_) => drop(reads.fetch_add(1, Ordering::Relaxed)),
                    Err(Error::Store(StoreError::Busy(_))) => {}
                    Err(error) => panic!("{error}"),
                }
                assert!(begun.elapsed() < LONGEST, "a read took {:?}", begun.elapsed());
            }
        });
        let until = StopOnDrop(&over);
        wait_until("orders on the primary", || seen.acknowledged() >= ORDERS);
        let frozen = match end {
            End::Killed => {
                pair.primary.kill();
                None
            }
            End::Frozen => Some(pair.primary.freeze()),
        };
        pair.standby.promote();
        let (orders_before, reads_before) = (seen.acknowledged(), reads.load(Ordering::Relaxed));
        wait_until("orders and reads on the standby", || {
            seen.acknowledged() >= orders_before + ORDERS
                && reads.load(Ordering::Relaxed) > reads_before
        });
        drop(until);
        reader.join().unwrap();
        let callers = callers.into_iter().flat_map(|caller| caller.join().unwrap());
        let acknowledged: Vec<_> = callers.collect();
        drop(frozen);
        acknowledged
    });
    eprintln!("{end:?}: {} orders around a failover: {seen}", acknowledged.len());
    assert!(seen.longest() < LONGEST, "{seen}");
    // A new instance connects to the standby as well.
    assert_each_once(&acknowledged, &pair.shop(), &mut pair.standby.admin(&pair.database));
    shops.iter().for_each(assert_clean);
}

/// A primary that crashes while a commit waits for the standby restarts with that commit, which the
/// standby may not have. Until the standby has it, the key must not return that the order was
/// placed.
#[test]
fn replay_by_key_waits_until_the_standby_has_the_commit() {
    let pair = Pair::start();
    let shop = pair.shop();
    fill(&shop);
    pair.standby.stop();
    let unknown = |name| {
        matches!(place_again(&shop, name).result, Err(Error::Store(StoreError::CommitUnknown(_))))
    };
    assert!(unknown("lost"), "nothing is acknowledged without the standby");
    pair.primary.restart();
    let sql = "SELECT count(*) FROM orders";
    let count = |cluster: &Cluster| -> i64 {
        cluster.admin(&pair.database).query_one(sql, &[]).unwrap().get(0)
    };
    assert_eq!(count(&pair.primary), 1, "the primary has it");
    assert!(unknown("lost"), "replayed although the standby does not have it");
    pair.primary.kill();
    pair.standby.begin();
    pair.standby.promote();
    assert_eq!(count(&pair.standby), 0, "the standby does not have it");
    let again = place_again(&shop, "lost");
    assert!(again.result.is_ok() && !again.replayed, "{again:?}");
    assert_eq!(count(&pair.standby), 1);
    assert_clean(&shop);
}

#[test]
fn store_on_a_standby_is_busy_because_it_is_read_only() {
    let pair = Pair::start();
    fill(&pair.shop());
    let sql = "SELECT count(*) FROM customers";
    wait_until("the standby has the store", || {
        let mut admin = pair.standby.admin(&pair.database);
        admin.query_one(sql, &[]).is_ok_and(|row| row.get::<_, i64>(0) == 20)
    });
    let error = PostgresStore::open(&pair.standby.url(&pair.database)).unwrap_err();
    let named = error.to_string().contains("in a read-only transaction (25006)");
    assert!(matches!(error, StoreError::Busy(_)) && named, "{error}");
}
