//! The files of the SQLite store, and its errors for files that it cannot use.

use crate::common::key;
use commerce_core::testing::ExpireOrders;
use commerce_core::{
    AddProduct, Code, Currency, Money, OrderStatus, PayWhen, PlaceOrder, Shop, SqliteStore, Store,
    StoreError,
};
use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, Instant};

fn open(file: &Path) -> Shop {
    Shop::open(SqliteStore::create(file, Currency::KRW).unwrap())
}

#[test]
fn open_leaves_a_file_of_another_program_unchanged() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("other.db");
    let other = rusqlite::Connection::open(&file).unwrap();
    other.execute_batch("CREATE TABLE theirs (id INTEGER);").unwrap();
    drop(other);
    let before = fs::read(&file).unwrap();
    let refused = SqliteStore::open(&file).unwrap_err();
    assert!(matches!(refused, StoreError::Incompatible(_)), "{refused}");
    assert_eq!(fs::read(&file).unwrap(), before);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no file was put beside it");
}

/// An empty file is reported as no store, and stays empty: the caller that creates the store
/// chooses its currency.
#[test]
fn find_returns_none_without_a_store() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("shop.db");
    assert!(SqliteStore::find(&file).unwrap().is_none());
    File::create(&file).unwrap();
    assert!(SqliteStore::find(&file).unwrap().is_none());
    // The state that a process leaves if it is killed while it creates a store.
    let killed = rusqlite::Connection::open(&file).unwrap();
    killed.execute_batch("PRAGMA journal_mode = WAL").unwrap();
    drop(killed);
    assert!(SqliteStore::find(&file).unwrap().is_none());
    let dollars = Currency::from_code("USD").unwrap();
    drop(SqliteStore::create(&file, dollars).unwrap());
    assert_eq!(SqliteStore::find(&file).unwrap().unwrap().currency(), dollars);
    assert!(SqliteStore::find(folder.path()).is_err());
}

/// Of two concurrent backups to one name one is complete, and the other returns an error.
#[test]
fn concurrent_backups_to_one_name_yield_one() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&folder.path().join("shop.db")).unwrap();
    let shop = open(&folder.path().join("shop.db"));
    shop.call(AddProduct::new("Tea", Money::from_minor(10), 5)).run().unwrap();
    for round in 0..50 {
        let to = folder.path().join(format!("copy-{round}.db"));
        let backups = std::thread::scope(|scope| {
            let backup = || store.backup(&to, &mut |_| {});
            let [one, other] = [scope.spawn(backup), scope.spawn(backup)];
            [one.join().unwrap(), other.join().unwrap()]
        });
        assert_eq!(backups.iter().filter(|backups| backups.is_ok()).count(), 1, "{backups:?}");
        assert_eq!(open(&to).product(1.into()).unwrap().stock, 5);
    }
}

/// A commit of a killed process may be in the log and not on disk yet. A replay of its result
/// therefore writes first, and so waits for the disk.
#[test]
fn replayed_result_is_on_disk() {
    let folder = tempfile::tempdir().unwrap();
    let shop = open(&folder.path().join("shop.db"));
    let add = || {
        let add = AddProduct::new("Tea", Money::from_minor(10), 5);
        shop.call(add).key(&key("tea")).outcome()
    };
    let log = || fs::metadata(folder.path().join("shop.db-wal")).unwrap().len();
    assert!(!add().replayed);
    let before = log();
    assert!(add().replayed);
    assert!(log() > before);
}

#[test]
fn deleted_store_is_a_storage_error_not_busy() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("shop.db");
    let shop = open(&file);
    fs::remove_file(&file).unwrap();
    assert_eq!(shop.product(1.into()).unwrap_err().code(), Code::Storage);
}

/// A process that was stopped while it held the write lock must not block reads of others, nor hide
/// orders that expired meanwhile.
#[test]
fn reads_do_not_wait_for_a_stopped_writer() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("shop.db");
    let store = SqliteStore::open(&file).unwrap();
    let shop = Shop::builder().hold_seconds(1).open(store);
    let kim = shop.call(commerce_core::AddCustomer::new("Kim")).run().unwrap();
    let tea = shop.call(AddProduct::new("Tea", Money::from_minor(10), 5)).run().unwrap();
    let order = PlaceOrder { pay: PayWhen::Later, ..PlaceOrder::new(kim.id, [(tea.id, 5)]) };
    let past = shop.now().plus_seconds(-60);
    let order = shop.call_at(order, past).key(&key("a")).run().unwrap();

    let stopped = File::options().write(true).open(folder.path().join("shop.db-lock")).unwrap();
    stopped.lock().unwrap();
    let begun = Instant::now();
    assert_eq!(shop.order(order.id).unwrap().status, OrderStatus::Expired);
    // Far below the 30 s that a call waits for the write lock.
    assert!(begun.elapsed() < Duration::from_secs(10));
    stopped.unlock().unwrap();
    shop.call(ExpireOrders).run().unwrap();
    assert_eq!(shop.product(tea.id).unwrap().stock, 5);
}

/// A database shell holds SQLite's lock without the write lock file: calls wait for it up to their
/// timeout.
#[test]
fn calls_wait_for_a_database_shell_up_to_their_timeout() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("shop.db");
    let store = SqliteStore::open(&file).unwrap();
    let shop = Shop::builder().timeout(Duration::MAX).open(store);
    let shell = rusqlite::Connection::open(&file).unwrap();
    shell.execute_batch("BEGIN IMMEDIATE").unwrap();
    let hasty = Shop::builder().timeout(Duration::ZERO).open(SqliteStore::open(&file).unwrap());
    let product = || AddProduct::new("Tea", Money::from_minor(10), 5);
    assert_eq!(hasty.call(product()).run().unwrap_err().code(), Code::Busy);
    let waiting = shop.call(product()).submit();
    shell.execute_batch("COMMIT").unwrap();
    assert_eq!(waiting.wait().unwrap().stock, 5);
}
