//! Several processes on one file or one server: the outcome of a contest is exact, no caller starves, and
//! `kill -9` at any moment loses nothing that was acknowledged.
//!
//! The processes are this test binary itself, started again with a role in its environment.

#![allow(clippy::print_stderr, reason = "the longest wait is printed")]
#![allow(clippy::disallowed_methods, reason = "a worker's role comes from the environment")]

use crate::common::contest::{
    CONTESTS, Contest, LAST_COUPONS, LAST_UNITS, ONE_BALANCE, ONE_KEY, ONE_LIMIT, ONE_ORDER,
    ONE_REFERENCE, tally,
};
use crate::common::insist::{fill, place_again, place_all_again};
use crate::common::{On, assert_clean, cluster, key};
use commerce_core::{
    Code, Currency, CustomerId, Money, PlaceOrder, ProductId, Shop, SqliteStore, Store,
};
use commerce_postgres::PostgresStore;
use rstest::rstest;
use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::slice;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const ROLE: &str = "COMMERCE_TEST_ROLE";
const FOLDER: &str = "COMMERCE_TEST_FOLDER";
const NUMBER: &str = "COMMERCE_TEST_NUMBER";

/// The file of a folder that holds the URL of its database, if its store is on a server.
const URL: &str = "url";

const PROCESSES: usize = 8;

/// The timeout of the calls of sixteen processes that write. The longest wait is below a second on a busy machine with
/// two cores.
const CROWD_TIMEOUT: Duration = Duration::from_secs(10);

/// Opens the shop of a folder.
fn open(folder: &Path) -> Shop {
    open_within(folder, Duration::from_secs(30))
}

fn open_within(folder: &Path, timeout: Duration) -> Shop {
    let builder = Shop::builder().timeout(timeout);
    match fs::read_to_string(folder.join(URL)) {
        Ok(url) => builder.open(PostgresStore::open(&url).unwrap()),
        Err(_) => {
            builder.open(SqliteStore::create(&folder.join("shop.db"), Currency::KRW).unwrap())
        }
    }
}

/// A folder for a test, with the URL of a new database if the test runs on a server.
fn folder(on: On) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    if matches!(on, On::Postgres) {
        fs::write(folder.path().join(URL), cluster::shared().database()).unwrap();
    }
    folder
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

/// Runs workers to their end; returns the lines of their reports.
fn run(role: &str, folder: &Path, workers: usize) -> Vec<String> {
    let children: Vec<_> = (0..workers).map(|number| start(role, folder, number)).collect();
    for mut child in children {
        assert!(child.wait().unwrap().success(), "a worker failed");
    }
    (0..workers)
        .flat_map(|number| {
            let report = fs::read_to_string(report_of(folder, number)).unwrap();
            report.lines().map(str::to_owned).collect::<Vec<_>>()
        })
        .collect()
}

fn report_of(folder: &Path, number: usize) -> PathBuf {
    folder.join(format!("report-{number}"))
}

/// Not a test by itself: the entry point of the processes that the tests below start.
#[test]
fn worker() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let folder = PathBuf::from(std::env::var(FOLDER).unwrap());
    let number: usize = std::env::var(NUMBER).unwrap().parse().unwrap();
    let shop = open(&folder);
    let report = match role.as_str() {
        "crowd" => crowd(&open_within(&folder, CROWD_TIMEOUT), number),
        "hold-turn" | "hold-lock" => hold(&folder, &role),
        "until-killed" => until_killed(&shop, &folder, number),
        name => {
            let contest = CONTESTS.iter().find(|contest| contest.name == name);
            contest.unwrap().calls_of(&shop, number, PROCESSES)
        }
    };
    fs::write(report_of(&folder, number), report.join("\n")).unwrap();
}

/// Places orders until all have waited for each other twice as long as a call may wait, and prints the longest wait.
fn crowd(shop: &Shop, number: usize) -> Vec<String> {
    let end = Instant::now() + CROWD_TIMEOUT * 2;
    let mut worst = Duration::ZERO;
    let mut seen = Vec::new();
    for turn in 0_u64.. {
        if Instant::now() >= end {
            break;
        }
        let begun = Instant::now();
        let customer = CustomerId::new(1 + i64::try_from(turn % 20).unwrap());
        let order =
            PlaceOrder::new(customer, [(ProductId::new(2 + i64::try_from(turn % 19).unwrap()), 1)]);
        let placed = shop.place_order(order, &key(&format!("crowd-{number}-{turn}")));
        seen.push(placed.map_or_else(|error| error.code().to_string(), |_| "done".to_owned()));
        worst = worst.max(begun.elapsed());
    }
    eprintln!("process {number}: {} orders, the longest wait {worst:?}", seen.len());
    seen
}

/// Places orders on four threads until the process is killed, and acknowledges each by one line.
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
                    // One write: a kill between two writes would look like a lost acknowledgement.
                    acknowledged.lock().unwrap().write_all(format!("{name}\n").as_bytes()).unwrap();
                }
            });
        }
    });
    Vec::new()
}

/// Begins a write transaction and never ends it: through the store, which takes the write lock file first,
/// or with SQLite's own lock alone, as a database shell does.
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

/// No call waits for a process that was stopped while it held the write lock: each returns `busy` at its
/// deadline, reads continue, and no call that returned `busy` is carried out later.
#[rstest]
fn stopped_writer_holds_no_caller_beyond_its_deadline(
    #[values("hold-turn", "hold-lock")] role: &str,
) {
    let folder = folder(On::Sqlite);
    fill(&open(folder.path()));
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
    // The writing thread may still sleep until it next tries the lock.
    let done = (0..100).find_map(|_| charge(0).ok());
    assert_eq!(
        done.unwrap().balance.minor(),
        1_000_000_001,
        "a call that returned busy was carried out"
    );
    assert_eq!(balance(), 1_000_000_001);
    assert_clean(&shop);
}

#[rstest]
#[case::last_units(&LAST_UNITS)]
#[case::last_coupons(&LAST_COUPONS)]
#[case::one_balance(&ONE_BALANCE)]
#[case::one_key(&ONE_KEY)]
#[case::one_limit(&ONE_LIMIT)]
#[case::one_reference(&ONE_REFERENCE)]
#[case::one_order(&ONE_ORDER)]
fn contest_between_processes_ends_exactly(
    #[case] contest: &Contest,
    #[values(On::Sqlite, On::Postgres)] on: On,
) {
    let folder = folder(on);
    let shop = open(folder.path());
    contest.prepare(&shop);
    let answers = run(contest.name, folder.path(), PROCESSES);
    contest.check(slice::from_ref(&shop), answers);
}

#[test]
fn no_call_is_busy_while_sixteen_processes_write() {
    let folder = folder(On::Sqlite);
    let shop = open(folder.path());
    fill(&shop);
    let seen = run("crowd", folder.path(), 16);
    assert_eq!(tally(seen).into_keys().collect::<Vec<_>>(), ["done"]);
    assert_clean(&shop);
}

/// Kills a process under load 200 times (40 times on a server), at pseudo-random moments. After each kill
/// the store opens and is consistent. In the end every client repeats its keys, the acknowledged ones and
/// those whose call was cut off, and each order exists exactly once.
#[rstest]
#[case::file(On::Sqlite, 10)]
#[case::server(On::Postgres, 2)]
fn acknowledged_orders_survive_kill_9(#[case] on: On, #[case] rounds: usize) {
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    for _ in 0..rounds {
        let folder = folder(on);
        fill(&open(folder.path()));
        let acknowledged = folder.path().join("acknowledged");
        for number in 0..20 {
            let before = fs::metadata(&acknowledged).map_or(0, |file| file.len());
            let mut child = start("until-killed", folder.path(), number);
            // The moment is counted in acknowledgements and then in spins, so that kills interrupt work
            // on a machine of any speed.
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let enough = before + random % 2_000;
            while fs::metadata(&acknowledged).map_or(0, |file| file.len()) <= enough {
                assert!(child.try_wait().unwrap().is_none(), "the worker ended by itself");
                std::thread::sleep(Duration::from_micros(100));
            }
            std::hint::black_box((0..random % 300_000).fold(0_u64, |sum, turn| sum ^ turn));
            child.kill().unwrap();
            child.wait().unwrap();
            let shop = open(folder.path());
            assert_clean(&shop);
        }
        let shop = open(folder.path());
        let text = fs::read_to_string(&acknowledged).unwrap();
        let names: BTreeSet<String> = text.lines().map(str::to_owned).collect();
        for (name, again) in names.iter().zip(place_all_again(&shop, &names)) {
            assert!(again.replayed && again.result.is_ok(), "{name} was acknowledged and is lost");
        }
        let cut_off = (0..20).flat_map(|number| {
            let life = format!("life-{number}-");
            let mine = names.iter().filter(|name| name.starts_with(&life)).count();
            (0..mine + 8).map(move |turn| format!("{life}{turn}"))
        });
        let cut_off: BTreeSet<String> = cut_off.filter(|name| !names.contains(name)).collect();
        for again in place_all_again(&shop, &cut_off) {
            again.result.unwrap();
        }
        assert_eq!(duplicates(folder.path()), 0, "orders were placed twice");
        assert_clean(&shop);
    }
}

/// The number of orders beyond one a reference.
fn duplicates(folder: &Path) -> i64 {
    let sql = "SELECT count(*) - count(DISTINCT reference) FROM orders";
    if let Ok(url) = fs::read_to_string(folder.join(URL)) {
        let mut admin = cluster::shared().admin(url.rsplit('/').next().unwrap());
        return admin.query_one(sql, &[]).unwrap().get(0);
    }
    let db = rusqlite::Connection::open(folder.join("shop.db")).unwrap();
    db.query_row(sql, [], |row| row.get(0)).unwrap()
}
