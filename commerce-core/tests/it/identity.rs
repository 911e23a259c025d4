//! The identity of a store: event ids that are never issued twice, files that are deleted or
//! replaced while they are open, and logs that are damaged or belong to another store.

use crate::common::{assert_clean, cluster, key};
use commerce_core::{
    AddCustomer, AddProduct, Currency, Error, MemoryStore, Money, PageRequest, PlaceOrder, Shop,
    SqliteStore, Store, StoreError, copy,
};
use commerce_postgres::PostgresStore;
use rstest::rstest;
use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

/// Adds a customer with money, and a product.
fn fill(shop: &Shop) {
    let balance = Money::from_minor(1_000_000);
    shop.call(AddCustomer { balance, ..AddCustomer::new("Kim") }).run().unwrap();
    shop.call(AddProduct::new("Tea", Money::from_minor(10), 50_000)).run().unwrap();
}

fn order(shop: &Shop, name: &str) -> i64 {
    let order = PlaceOrder::new(1.into(), [(1.into(), 1)]);
    shop.place_order(order, &key(name)).unwrap().id.get()
}

/// Returns the public ids of all events, in order.
fn ids(shop: &Shop) -> Vec<String> {
    let events = shop.tracked_events(&PageRequest::first(100)).unwrap().items;
    events.into_iter().map(|tracked| tracked.event.public_id).collect()
}

/// Asserts that the stores share the ids of the first events, and no others.
fn assert_apart(shops: &[&Shop], shared: usize) {
    let all: Vec<Vec<String>> = shops.iter().map(|shop| ids(shop)).collect();
    let mut seen = HashSet::new();
    for ids in &all {
        assert_eq!(ids[..shared], all[0][..shared]);
        for id in &ids[shared..] {
            assert!(seen.insert(id), "{id} was given out twice: {all:?}");
        }
    }
    for shop in shops {
        assert_clean(shop);
    }
}

fn open(file: &Path) -> Shop {
    Shop::open(SqliteStore::open(file).unwrap())
}

#[test]
fn backup_restored_twice_issues_no_event_id_again() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let store = Arc::new(SqliteStore::open(&file("shop.db")).unwrap());
    let shop = Shop::open(Arc::clone(&store));
    fill(&shop);
    order(&shop, "a");
    store.backup(&file("backup.db"), &mut |_| ()).unwrap();
    fs::copy(file("backup.db"), file("second.db")).unwrap();
    order(&shop, "b");
    let restored = [open(&file("backup.db")), open(&file("second.db"))];
    for shop in &restored {
        order(shop, "b");
    }
    assert_apart(&[&shop, &restored[0], &restored[1]], 1);
}

/// A backup that is written over its source file keeps the inode of the file.
#[test]
fn backup_copied_over_its_store_issues_no_event_id_again() {
    let folder = tempfile::tempdir().unwrap();
    let [file, backup] = ["shop.db", "backup.db"].map(|name| folder.path().join(name));
    let store = Arc::new(SqliteStore::open(&file).unwrap());
    let shop = Shop::open(Arc::clone(&store));
    fill(&shop);
    order(&shop, "a");
    store.backup(&backup, &mut |_| ()).unwrap();
    order(&shop, "b");
    let before = ids(&shop);
    drop((shop, store));
    fs::copy(&backup, &file).unwrap();
    let shop = open(&file);
    order(&shop, "b");
    let after = ids(&shop);
    assert_eq!(after[0], before[0]);
    assert_ne!(after[1], before[1]);
    drop(shop);
    assert_eq!(ids(&open(&file)), after, "opening it again changes nothing");
}

#[test]
fn plain_copy_issues_no_event_id_of_its_source() {
    let folder = tempfile::tempdir().unwrap();
    let [file, copied] = ["shop.db", "copied.db"].map(|name| folder.path().join(name));
    let shop = open(&file);
    fill(&shop);
    order(&shop, "a");
    drop(shop);
    fs::copy(&file, &copied).unwrap();
    let (shop, copied) = (open(&file), open(&copied));
    order(&shop, "b");
    order(&copied, "b");
    assert_apart(&[&shop, &copied], 1);
}

#[test]
fn copies_of_every_kind_issue_no_event_id_of_their_source() {
    let folder = tempfile::tempdir().unwrap();
    let stores: [Arc<dyn Store>; 3] = [
        Arc::new(MemoryStore::new(Currency::KRW)),
        Arc::new(SqliteStore::open(&folder.path().join("shop.db")).unwrap()),
        Arc::new(PostgresStore::open(&cluster::shared().database()).unwrap()),
    ];
    let shops = stores.each_ref().map(|store| Shop::open(Arc::clone(store)));
    fill(&shops[0]);
    order(&shops[0], "a");
    copy(&*stores[0], &*stores[1], &mut |_| ()).unwrap();
    copy(&*stores[1], &*stores[2], &mut |_| ()).unwrap();
    for shop in &shops {
        order(shop, "b");
    }
    assert_apart(&shops.each_ref(), 1);
}

#[test]
fn restored_pg_dump_issues_no_event_id_again() {
    let folder = tempfile::tempdir().unwrap();
    let dump = folder.path().join("shop.dump");
    let [from, to] = [(); 2].map(|()| cluster::shared().database());
    let shop = Shop::open(PostgresStore::open(&from).unwrap());
    fill(&shop);
    order(&shop, "a");
    let run = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(cluster::shared().program(program));
        let done = command.args(arguments).output().unwrap();
        assert!(done.status.success(), "{done:?}");
    };
    let name = dump.to_str().unwrap();
    run("pg_dump", &["--format=custom", "--file", name, &from]);
    order(&shop, "b");
    let before = ids(&shop);
    drop(shop);
    run("pg_restore", &["--dbname", &to, name]);
    run("pg_restore", &["--clean", "--dbname", &from, name]);
    let restored = [from, to].map(|url| Shop::open(PostgresStore::open(&url).unwrap()));
    for shop in &restored {
        order(shop, "b");
        let after = ids(shop);
        assert_eq!((&after[0], after.len()), (&before[0], 2));
        assert_ne!(after[1], before[1]);
    }
    assert_apart(&[&restored[0], &restored[1]], 1);
}

/// A standby may lack the last events that the primary delivered.
#[test]
fn promoted_standby_begins_a_new_epoch() {
    let primary = cluster::Cluster::start();
    let database = primary.database().rsplit('/').next().unwrap().to_owned();
    let standby = primary.standby();
    let url = format!(
        "postgres://postgres@127.0.0.1:{},127.0.0.1:{}/{database}?target_session_attrs=read-write",
        primary.port(),
        standby.port()
    );
    let shop = Shop::open(PostgresStore::open(&url).unwrap());
    fill(&shop);
    order(&shop, "a");
    primary.kill();
    standby.promote();
    order(&shop, "b");
    let ids = ids(&shop);
    let name = |id: &str| id.split('-').next().unwrap().to_owned();
    assert_eq!(ids.len(), 2);
    assert_ne!(name(&ids[0]), name(&ids[1]));
    assert_clean(&shop);
}

/// Copies the files that a process would leave behind if it were killed now.
fn copy_as_if_killed(file: &Path, endings: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for result in endings {
        let name = format!("shop.db{result}");
        fs::copy(file.with_file_name(&name), folder.path().join(&name)).unwrap();
    }
    folder
}

const ALL: [&str; 4] = ["", "-wal", "-shm", "-lock"];

/// Returns a store with a backup of one order and a log with five more, as `kill -9` leaves it, and
/// all event ids.
fn crashed() -> (tempfile::TempDir, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("shop.db");
    let store = Arc::new(SqliteStore::open(&file).unwrap());
    let shop = Shop::open(Arc::clone(&store));
    fill(&shop);
    order(&shop, "a");
    (0..5).for_each(|number| assert_eq!(order(&shop, &format!("b{number}")), number + 2));
    let left = copy_as_if_killed(&file, &ALL);
    store.backup(&left.path().join("backup.db"), &mut |_| ()).unwrap();
    (left, ids(&shop))
}

fn refusal(file: &Path) -> String {
    match SqliteStore::open(file) {
        Err(StoreError::Corrupt(text) | StoreError::Incompatible(text)) => text,
        other => panic!("{other:?}"),
    }
}

#[test]
fn store_moved_with_all_its_files_keeps_its_log() {
    let (left, before) = crashed();
    let copied = copy_as_if_killed(&left.path().join("shop.db"), &ALL);
    let without_lock = copy_as_if_killed(&left.path().join("shop.db"), &["", "-wal"]);
    let moved = left.path().join("elsewhere");
    fs::create_dir(&moved).unwrap();
    for result in ALL {
        let name = format!("shop.db{result}");
        fs::rename(left.path().join(&name), moved.join(&name)).unwrap();
    }
    for folder in [&moved, copied.path(), without_lock.path()] {
        let shop = open(&folder.join("shop.db"));
        assert_eq!(ids(&shop), before);
        assert_clean(&shop);
    }
}

#[test]
fn backup_is_not_mixed_with_the_log_of_the_store_it_replaces() {
    let (left, _) = crashed();
    let file = left.path().join("shop.db");
    for by_rename in [false, true] {
        let backup = left.path().join("backup.db");
        if by_rename {
            fs::rename(&backup, &file).unwrap();
        } else {
            fs::copy(&backup, &file).unwrap();
        }
        let before =
            ALL.map(|result| fs::read(file.with_file_name(format!("shop.db{result}"))).ok());
        let refused = refusal(&file);
        assert!(refused.contains("shop.db-wal") && refused.contains("remove"), "{refused}");
        assert!(SqliteStore::find(&file).is_err());
        let after =
            ALL.map(|result| fs::read(file.with_file_name(format!("shop.db{result}"))).ok());
        assert!(before == after, "nothing is changed");
    }
    for result in ["-wal", "-shm"] {
        fs::remove_file(file.with_file_name(format!("shop.db{result}"))).unwrap();
    }
    let shop = open(&file);
    order(&shop, "c");
    assert_clean(&shop);
}

/// A plain copy has the name of its source, but another inode; the log stayed in its place.
#[test]
fn old_copy_is_not_mixed_with_the_log_of_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("shop.db");
    drop(open(&file));
    let old = folder.path().join("old.db");
    fs::copy(&file, &old).unwrap();
    let shop = open(&file);
    fill(&shop);
    fs::rename(&old, &file).unwrap();
    let refused = refusal(&file);
    assert!(refused.contains("shop.db-wal"), "{refused}");
}

/// SQLite would delete the log, and with it the commits of a process that has it open.
#[test]
fn create_refuses_the_log_of_a_lost_store() {
    let (left, before) = crashed();
    let file = left.path().join("shop.db");
    let aside = left.path().join("aside.db");
    fs::rename(&file, &aside).unwrap();
    for is_empty in [false, true] {
        if is_empty {
            fs::write(&file, "").unwrap();
        }
        let refused = refusal(&file);
        assert!(refused.contains("shop.db-wal"), "{refused}");
        assert_eq!(file.exists(), is_empty, "and none is left behind");
    }
    fs::rename(&aside, &file).unwrap();
    assert_eq!(ids(&open(&file)), before);
}

/// Files of an open store are deleted or replaced.
#[rstest]
#[case::file_deleted("")]
#[case::log_deleted("-wal")]
#[case::index_deleted("-shm")]
#[case::lock_deleted("-lock")]
fn store_without_its_files_refuses_writes_until_they_return(
    #[case] result: &str,
    #[values(false, true)] is_replaced: bool,
) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("shop.db");
    let shop = open(&file);
    fill(&shop);
    order(&shop, "a");
    let [named, aside] =
        [format!("shop.db{result}"), "aside".to_owned()].map(|name| folder.path().join(name));
    fs::rename(&named, &aside).unwrap();
    if is_replaced {
        fs::copy(&aside, &named).unwrap();
    }
    let place = || shop.place_order(PlaceOrder::new(1.into(), [(1.into(), 1)]), &key("b"));
    let replaced = |error: Error| matches!(error, Error::Store(StoreError::Replaced(_)));
    for _ in 0..2 {
        assert!(replaced(place().unwrap_err()));
        assert!(replaced(shop.orders(1.into(), &PageRequest::default()).unwrap_err()));
        assert!(replaced(shop.ready().unwrap_err()));
    }
    fs::rename(&aside, &named).unwrap();
    assert_eq!(shop.ready(), Ok(()));
    assert_eq!(place().unwrap().id.get(), 2);
    assert_clean(&shop);
}

/// Without the log's index another process cannot see that the log is open.
#[test]
fn order_ids_stay_unique_after_the_log_index_is_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("shop.db");
    let shop = open(&file);
    fill(&shop);
    let mut acknowledged = vec![order(&shop, "a")];
    fs::remove_file(folder.path().join("shop.db-shm")).unwrap();
    let place = |name| shop.place_order(PlaceOrder::new(1.into(), [(1.into(), 1)]), &key(name));
    assert!(place("b").is_err());
    // A copy shows the view of another process: in this one SQLite still has the deleted index
    // open.
    let other = copy_as_if_killed(&file, &["", "-wal"]);
    acknowledged.push(order(&open(&other.path().join("shop.db")), "c"));
    assert_eq!(acknowledged, [1, 2]);
}

/// Returns the offsets of a log's frames, with true for a frame that ends a commit.
fn frames(log: &[u8]) -> Vec<(usize, bool)> {
    let frame = 4_096 + 24;
    let ends = |at: usize| log[at + 4..at + 8] != [0; 4];
    (0..(log.len() - 32) / frame).map(|n| 32 + n * frame).map(|at| (at, ends(at))).collect()
}

#[test]
fn open_reports_a_flipped_bit_in_acknowledged_commits() {
    let (left, before) = crashed();
    let log = fs::read(left.path().join("shop.db-wal")).unwrap();
    let frames = frames(&log);
    // The last commit looks like a torn one; damage to any other frame would drop the commits after
    // it.
    let commits: Vec<usize> = frames.iter().filter(|frame| frame.1).map(|frame| frame.0).collect();
    let last = commits[commits.len() - 2];
    let flips = frames.iter().map(|frame| frame.0).filter(|at| *at <= last);
    let offsets = flips.flat_map(|at| [at, at + 5, at + 9, at + 17, at + 2_000]);
    let mut found = 0;
    for index in offsets.chain([0, 9, 17, 25]) {
        let folder = copy_as_if_killed(&left.path().join("shop.db"), &ALL);
        let mut bad = log.clone();
        bad[index] ^= 4;
        fs::write(folder.path().join("shop.db-wal"), bad).unwrap();
        let refused = refusal(&folder.path().join("shop.db"));
        assert!(refused.contains("shop.db-wal is damaged"), "at {index}: {refused}");
        found += 1;
    }
    assert!(found > 50, "{found}");
    assert_eq!(ids(&open(&left.path().join("shop.db"))), before);
}

#[test]
fn damaged_log_opens_when_cut_at_the_reported_offset() {
    let (left, before) = crashed();
    let log = left.path().join("shop.db-wal");
    let mut bytes = fs::read(&log).unwrap();
    let commits: Vec<_> = frames(&bytes).into_iter().filter(|frame| frame.1).collect();
    bytes[commits[commits.len() - 3].0 + 3_000] ^= 1;
    fs::write(&log, bytes).unwrap();
    let refused = refusal(&left.path().join("shop.db"));
    let command = refused.split('`').nth(1).unwrap();
    assert!(Command::new("sh").args(["-c", command]).status().unwrap().success());
    let shop = open(&left.path().join("shop.db"));
    assert_eq!(ids(&shop), before[..before.len() - 3]);
    assert_clean(&shop);
}

/// A power failure may tear the last commit, which was not acknowledged: the store opens with all
/// others.
#[test]
fn torn_last_commit_is_not_reported_as_damage() {
    let (left, before) = crashed();
    let log = fs::read(left.path().join("shop.db-wal")).unwrap();
    let frames = frames(&log);
    let commits: Vec<usize> = frames.iter().filter(|frame| frame.1).map(|frame| frame.0).collect();
    let torn_from = commits[commits.len() - 2] + 4_096 + 24;
    let lost = frames.iter().map(|frame| frame.0).filter(|at| *at >= torn_from);
    let whole = before[..before.len() - 1].to_vec();
    for start in lost {
        for (from, to) in [(start, start + 4_120), (start, start + 512), (start + 512, log.len())] {
            let folder = copy_as_if_killed(&left.path().join("shop.db"), &["", "-lock"]);
            let mut torn = log.clone();
            torn[from..to].fill(0);
            fs::write(folder.path().join("shop.db-wal"), &torn).unwrap();
            let shop = open(&folder.path().join("shop.db"));
            assert_eq!(ids(&shop), whole, "without {from} to {to}");
            assert_clean(&shop);
        }
    }
}

/// A restarted log has frames of the previous log after its end.
#[test]
fn restarted_log_is_not_reported_as_damage() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("shop.db");
    let shop = open(&file);
    fill(&shop);
    (0..20).for_each(|number| assert_eq!(order(&shop, &format!("a{number}")), number + 1));
    let shell = rusqlite::Connection::open(&file).unwrap();
    let done: i64 =
        shell.query_row("PRAGMA wal_checkpoint(RESTART)", [], |row| row.get(0)).unwrap();
    assert_eq!(done, 0);
    let length = fs::metadata(folder.path().join("shop.db-wal")).unwrap().len();
    order(&shop, "b");
    assert_eq!(fs::metadata(folder.path().join("shop.db-wal")).unwrap().len(), length);
    let left = copy_as_if_killed(&file, &ALL);
    assert_eq!(ids(&open(&left.path().join("shop.db"))).len(), 21);
}

/// The last connection that closes leaves one file.
#[test]
fn closed_store_is_one_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("shop.db");
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&file).unwrap());
    let shop = Shop::open(Arc::clone(&store));
    fill(&shop);
    order(&shop, "a");
    store.flush().unwrap();
    let alone = copy_as_if_killed(&file, &[""]);
    assert_eq!(ids(&open(&alone.path().join("shop.db"))), ids(&shop), "while it is open");
    order(&shop, "b");
    drop((shop, store));
    assert!(!folder.path().join("shop.db-wal").exists());
    let alone = copy_as_if_killed(&file, &[""]);
    assert_eq!(ids(&open(&alone.path().join("shop.db"))).len(), 2);
}
