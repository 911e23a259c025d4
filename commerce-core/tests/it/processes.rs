//! Several processes on one file, or on one server: what they contend for is given out exactly, nobody starves, and a
//! process that is killed at any moment loses nothing it has acknowledged.
//!
//! The processes are this test program itself, started again with a role in its environment.

#![allow(clippy::print_stderr, reason = "the longest wait is worth telling")]
#![allow(clippy::disallowed_methods, reason = "roles come by the environment")]

use crate::common::{On, cluster};
use commerce_core::{
    AddCoupon, AddCustomer, AddProduct, Code, Currency, CustomerId, Discount, Error, Key, Money,
    Order, Outcome, PlaceOrder, ProductId, Shop, SqliteStore, Store,
};
use commerce_postgres::PostgresStore;
use rstest::rstest;
use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const ROLE: &str = "COMMERCE_TEST_ROLE";
const FOLDER: &str = "COMMERCE_TEST_FOLDER";
const URL: &str = "url";
const NUMBER: &str = "COMMERCE_TEST_NUMBER";

/// The shop of a folder, in a file of it or where another file of it says.
fn open(folder: &Path) -> Shop {
    match fs::read_to_string(folder.join(URL)) {
        Ok(url) => Shop::open(PostgresStore::open(&url).unwrap()),
        Err(_) => Shop::open(SqliteStore::create(&folder.join("shop.db"), Currency::KRW).unwrap()),
    }
}

/// A folder for a test, with the URL of a new database if it is to run on a server.
fn index(on: On) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    if matches!(on, On::Postgres) {
        fs::write(folder.path().join(URL), cluster::shared().database()).unwrap();
    }
    folder
}

fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

/// A shop of 20 customers with ample money; product 1 has 50 units, the others have plenty.
fn stocked(folder: &Path) -> Shop {
    let shop = open(folder);
    for _ in 0..20 {
        let request =
            AddCustomer { balance: Money::from_minor(1_000_000_000), ..AddCustomer::new("Kim") };
        shop.call(request).run().unwrap();
    }
    for id in 1..=20 {
        let stock = if id == 1 { 50 } else { 100_000_000 };
        shop.call(AddProduct::new(format!("Product {id}"), Money::from_minor(10), stock))
            .run()
            .unwrap();
    }
    shop
}

fn start(role: &str, folder: &Path, number: usize) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "processes::worker", "--nocapture", "--test-threads=1"])
        .env(ROLE, role)
        .env(FOLDER, folder)
        .env(NUMBER, number.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap()
}

/// Runs so many workers to their end. Each writes what it saw to a file of its own.
fn run(role: &str, folder: &Path, workers: usize) -> Vec<String> {
    let children: Vec<_> = (0..workers).map(|number| start(role, folder, number)).collect();
    for mut child in children {
        assert!(child.wait().unwrap().success(), "a worker failed");
    }
    (0..workers)
        .flat_map(|number| {
            let seen = fs::read_to_string(report_of(folder, number)).unwrap();
            seen.lines().map(str::to_owned).collect::<Vec<_>>()
        })
        .collect()
}

fn report_of(folder: &Path, number: usize) -> PathBuf {
    folder.join(format!("report-{number}"))
}

fn count(seen: &[String], what: &str) -> usize {
    seen.iter().filter(|line| *line == what).count()
}

fn assert_clean(shop: &Shop) {
    let report = shop.audit().unwrap();
    assert!(report.ok, "{:#?}", report.problems);
}

/// No test by itself: what the processes do that the tests below start.
#[test]
fn worker() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let folder = PathBuf::from(std::env::var(FOLDER).unwrap());
    let number: usize = std::env::var(NUMBER).unwrap().parse().unwrap();
    let shop = open(&folder);
    let seen = match role.as_str() {
        "last-units" => last_units(&shop, number),
        "claims" => claims(&shop, number),
        "one-balance" => one_balance(&shop, number),
        "same-keys" => same_keys(&shop),
        "minute" => minute(&shop, number),
        "hold-turn" | "hold-lock" => hold(&folder, &role),
        "until-killed" => until_killed(&shop, &folder, number),
        other => panic!("no role {other}"),
    };
    fs::write(report_of(&folder, number), seen.join("\n")).unwrap();
}

fn word<T>(result: Result<T, Error>) -> String {
    result.map_or_else(|error| error.code().to_string(), |_| "done".to_owned())
}

fn last_units(shop: &Shop, number: usize) -> Vec<String> {
    let customer = CustomerId::new(1 + i64::try_from(number).unwrap());
    let ask = |turn| {
        let order = PlaceOrder::new(customer, [(ProductId::new(1), 1)]);
        word(shop.place_order(order, &key(&format!("unit-{number}-{turn}"))))
    };
    (0..50).map(ask).collect()
}

fn claims(shop: &Shop, number: usize) -> Vec<String> {
    let first = 21 + 125 * i64::try_from(number).unwrap();
    let coupon = commerce_core::CouponId::new(1);
    let ask = |customer| word(shop.claim_coupon(coupon, CustomerId::new(customer), &key("claim")));
    (first..first + 125).map(ask).collect()
}

fn one_balance(shop: &Shop, number: usize) -> Vec<String> {
    let customer = CustomerId::new(21);
    let ask = |turn| {
        let key = key(&format!("spend-{number}-{turn}"));
        if turn % 2 == 0 {
            word(shop.place_order(PlaceOrder::new(customer, [(ProductId::new(2), 1)]), &key))
        } else {
            word(shop.debit(customer, Money::from_minor(10), &key))
        }
    };
    (0..25).map(ask).collect()
}

fn same_keys(shop: &Shop) -> Vec<String> {
    let ask = |turn| {
        let order = PlaceOrder::new(CustomerId::new(1), [(ProductId::new(2), 1)]);
        let order = shop.place_order(order, &key(&format!("same-{turn}"))).unwrap();
        format!("{turn}: {}", order.id)
    };
    (0..40).map(ask).collect()
}

/// Writes for a minute, and tells the longest wait.
fn minute(shop: &Shop, number: usize) -> Vec<String> {
    let begin = Instant::now();
    let mut worst = Duration::ZERO;
    let mut seen = Vec::new();
    for turn in 0_u64.. {
        if begin.elapsed() >= Duration::from_secs(60) {
            break;
        }
        let asked = Instant::now();
        let customer = CustomerId::new(1 + i64::try_from(turn % 20).unwrap());
        let order =
            PlaceOrder::new(customer, [(ProductId::new(2 + i64::try_from(turn % 19).unwrap()), 1)]);
        seen.push(word(shop.place_order(order, &key(&format!("minute-{number}-{turn}")))));
        worst = worst.max(asked.elapsed());
    }
    eprintln!("process {number}: {} orders, the longest wait {worst:?}", seen.len());
    seen
}

/// Places orders on four threads until the end, and acknowledges each by one line.
fn until_killed(shop: &Shop, folder: &Path, number: usize) -> Vec<String> {
    let acknowledged =
        OpenOptions::new().append(true).create(true).open(folder.join("acknowledged")).unwrap();
    let acknowledged = Mutex::new(acknowledged);
    let next = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let turn = next.fetch_add(1, Ordering::Relaxed);
                    let name = format!("life-{number}-{turn}");
                    place_again(shop, &name).result.unwrap();
                    // One write: a kill between two would look like a lost acknowledgement.
                    acknowledged.lock().unwrap().write_all(format!("{name}\n").as_bytes()).unwrap();
                }
            });
        }
    });
    Vec::new()
}

/// Places the order of that name, for the first time or again.
fn place_again(shop: &Shop, name: &str) -> Outcome<Order> {
    let customer = CustomerId::new(1 + i64::try_from(name.len() % 20).unwrap());
    let items = [(ProductId::new(2), 1), (ProductId::new(3), 2)];
    let order = PlaceOrder { reference: Some(name.to_owned()), ..PlaceOrder::new(customer, items) };
    shop.call(order).key(&key(name)).outcome()
}

/// Begins to write, and never ends: with its turn taken as every process of this program does, or with the lock of the
/// file alone, as a database shell does.
fn hold(folder: &Path, role: &str) -> Vec<String> {
    let file = folder.join("shop.db");
    let db = rusqlite::Connection::open(&file).unwrap();
    let store = SqliteStore::open(&file).unwrap();
    let _transaction = if role == "hold-lock" {
        db.execute_batch("BEGIN IMMEDIATE").unwrap();
        None
    } else {
        Some(store.begin().unwrap())
    };
    fs::write(folder.join("held"), "").unwrap();
    loop {
        std::thread::park();
    }
}

fn signal(child: &Child, name: &str) {
    assert!(Command::new("kill").args([name, &child.id().to_string()]).status().unwrap().success());
}

/// No call waits for a process that is stopped with the store in hand: each is answered busy at its deadline, reads go
/// on, and nothing of what was answered busy is carried out later.
#[rstest]
fn a_stopped_process_keeps_no_caller_beyond_its_deadline(
    #[values("hold-turn", "hold-lock")] role: &str,
) {
    let folder = index(On::Sqlite);
    drop(stocked(folder.path()));
    let store = SqliteStore::open(&folder.path().join("shop.db")).unwrap();
    let shop = Shop::builder().timeout(Duration::from_millis(200)).open(store);
    let mut holder = start(role, folder.path(), 0);
    while !folder.path().join("held").exists() {
        assert!(holder.try_wait().unwrap().is_none(), "the holder ended by itself");
        std::thread::yield_now();
    }
    signal(&holder, "-STOP");
    let charge = |number: usize| {
        shop.charge(CustomerId::new(1), Money::from_minor(1), &key(&format!("charge-{number}")))
    };
    std::thread::scope(|scope| {
        let callers: Vec<_> = (0..8).map(|number| scope.spawn(move || charge(number))).collect();
        for caller in callers {
            assert_eq!(caller.join().unwrap().unwrap_err().code(), Code::Busy);
        }
    });
    let balance = || shop.balance(CustomerId::new(1)).unwrap().balance.minor();
    assert_eq!(balance(), 1_000_000_000);
    holder.kill().unwrap();
    holder.wait().unwrap();
    // The thread that writes may still wait for its next look.
    let done = (0..100).find_map(|_| charge(0).ok());
    assert_eq!(done.unwrap().balance.minor(), 1_000_000_001, "none of the others came after all");
    assert_eq!(balance(), 1_000_000_001);
    assert_clean(&shop);
}

#[rstest]
fn fifty_units_asked_for_by_eight_processes_are_sold_exactly(
    #[values(On::Sqlite, On::Postgres)] on: On,
) {
    let folder = index(on);
    let shop = stocked(folder.path());
    let seen = run("last-units", folder.path(), 8);
    assert_eq!((count(&seen, "done"), count(&seen, "insufficient_stock")), (50, 350));
    assert_eq!(shop.product(ProductId::new(1)).unwrap().stock, 0);
    assert_clean(&shop);
}

#[rstest]
fn a_hundred_coupons_asked_for_by_a_thousand_customers_in_eight_processes_are_given_out_exactly(
    #[values(On::Sqlite, On::Postgres)] on: On,
) {
    let folder = index(on);
    let shop = stocked(folder.path());
    let tickets: Vec<_> = (0..1_000).map(|_| shop.call(AddCustomer::new("Lee")).submit()).collect();
    for ticket in tickets {
        ticket.wait().unwrap();
    }
    let request = AddCoupon {
        name: "Spring".to_owned(),
        discount: Discount::Fixed { amount: Money::from_minor(5) },
        min_order_amount: None,
        quantity: 100,
        valid_from: None,
        valid_until: None,
    };
    let coupon = shop.call(request).run().unwrap();
    let seen = run("claims", folder.path(), 8);
    assert_eq!((count(&seen, "done"), count(&seen, "coupon_sold_out")), (100, 900));
    assert_eq!(shop.coupon(coupon.id).unwrap().issued, 100);
    assert_clean(&shop);
}

#[rstest]
fn a_balance_good_for_ten_is_spent_ten_times_by_eight_processes(
    #[values(On::Sqlite, On::Postgres)] on: On,
) {
    let folder = index(on);
    let shop = stocked(folder.path());
    let request = AddCustomer { balance: Money::from_minor(100), ..AddCustomer::new("Park") };
    let customer = shop.call(request).run().unwrap();
    let seen = run("one-balance", folder.path(), 8);
    assert_eq!((count(&seen, "done"), count(&seen, "insufficient_balance")), (10, 190));
    assert_eq!(shop.balance(customer.id).unwrap().balance, Money::ZERO);
    assert_clean(&shop);
}

#[rstest]
fn the_same_keys_from_eight_processes_have_one_effect_and_one_answer(
    #[values(On::Sqlite, On::Postgres)] on: On,
) {
    let folder = index(on);
    let shop = stocked(folder.path());
    let seen = run("same-keys", folder.path(), 8);
    let answers: BTreeSet<&String> = seen.iter().collect();
    assert_eq!((seen.len(), answers.len()), (320, 40));
    assert_clean(&shop);
}

#[test]
fn nobody_is_told_busy_while_sixteen_processes_write_for_a_minute() {
    let folder = tempfile::tempdir().unwrap();
    let shop = stocked(folder.path());
    let seen = run("minute", folder.path(), 16);
    assert_eq!(count(&seen, Code::Busy.as_str()), 0);
    assert_eq!(count(&seen, "done"), seen.len());
    assert_clean(&shop);
}

/// Kills a process under load 200 times, or on a server 40 times, at moments of no pattern. After each: the store opens, it is
/// consistent, and all that was acknowledged is there. In the end every client tries again with its
/// keys, the acknowledged and the one it was cut off from, and each order is there exactly once.
#[rstest]
#[case::file(On::Sqlite, 10)]
#[case::server(On::Postgres, 2)]
fn what_was_acknowledged_survives_kills(#[case] on: On, #[case] rounds: usize) {
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    for _ in 0..rounds {
        let folder = index(on);
        drop(stocked(folder.path()));
        let acknowledged = folder.path().join("acknowledged");
        for number in 0..20 {
            let before = fs::metadata(&acknowledged).map_or(0, |file| file.len());
            let mut child = start("until-killed", folder.path(), number);
            // The moment is counted in acknowledgements and then in spins, so that kills hit work
            // on a machine of any speed.
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let enough = before + random % 2_000;
            while fs::metadata(&acknowledged).map_or(0, |file| file.len()) <= enough {
                assert!(child.try_wait().unwrap().is_none(), "the worker ended by itself");
                std::thread::yield_now();
            }
            std::hint::black_box((0..random % 300_000).fold(0_u64, |sum, turn| sum ^ turn));
            child.kill().unwrap();
            child.wait().unwrap();
            let shop = open(folder.path());
            assert_clean(&shop);
        }
        let shop = open(folder.path());
        let text = fs::read_to_string(&acknowledged).unwrap();
        for name in text.lines() {
            let again = place_again(&shop, name);
            assert!(
                again.replayed && again.result.is_ok(),
                "{name} was acknowledged and is not there"
            );
        }
        for number in 0..20 {
            let mine =
                text.lines().filter(|name| name.starts_with(&format!("life-{number}-"))).count();
            for turn in 0..mine + 8 {
                place_again(&shop, &format!("life-{number}-{turn}")).result.unwrap();
            }
        }
        assert_eq!(doubled(folder.path()), 0, "orders that are there twice");
        assert_clean(&shop);
    }
}

fn doubled(folder: &Path) -> i64 {
    let sql = "SELECT count(*) - count(DISTINCT reference) FROM orders";
    if let Ok(url) = fs::read_to_string(folder.join(URL)) {
        let mut admin = cluster::shared().admin(url.rsplit('/').next().unwrap());
        return admin.query_one(sql, &[]).unwrap().get(0);
    }
    let db = rusqlite::Connection::open(folder.join("shop.db")).unwrap();
    db.query_row(sql, [], |row| row.get(0)).unwrap()
}
