//! What the SQLite store does to files, and what it says when they are not as they should be.

use crate::common::key;
use commerce_core::{
    AddProduct, Code, Currency, ExpireOrders, Money, OrderStatus, PayWhen, PlaceOrder, Shop,
    SqliteStore, Store, StoreError,
};
use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, Instant};

#[allow(clippy::unwrap_used, reason = "a test")]
fn open(file: &Path) -> Shop {
    Shop::open(SqliteStore::create(file, Currency::KRW).unwrap())
}

#[test]
fn a_file_of_another_program_is_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("other.db");
    let other = rusqlite::Connection::open(&file).unwrap();
    other.execute_batch("CREATE TABLE theirs (id INTEGER);").unwrap();
    drop(other);
    let before = fs::read(&file).unwrap();
    let refused = SqliteStore::open(&file).unwrap_err();
    assert!(matches!(refused, StoreError::Incompatible(_)), "{refused}");
    assert_eq!(fs::read(&file).unwrap(), before);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "and nothing is put beside it");
}

/// What holds nothing is found as nothing, and stays so: its currency is for whoever makes the store.
#[test]
fn a_store_is_found_where_there_is_one() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("shop.db");
    assert!(SqliteStore::find(&file).unwrap().is_none());
    File::create(&file).unwrap();
    assert!(SqliteStore::find(&file).unwrap().is_none());
    // As far as a process comes that is killed while it makes a store.
    let killed = rusqlite::Connection::open(&file).unwrap();
    killed.execute_batch("PRAGMA journal_mode = WAL").unwrap();
    drop(killed);
    assert!(SqliteStore::find(&file).unwrap().is_none());
    let dollars = Currency::from_code("USD").unwrap();
    drop(SqliteStore::create(&file, dollars).unwrap());
    assert_eq!(SqliteStore::find(&file).unwrap().unwrap().currency(), dollars);
    assert!(SqliteStore::find(folder.path()).is_err());
}

/// Two backups to one name: one is made, whole, and the other says why it was not.
#[test]
fn two_backups_to_one_name_do_not_spoil_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&folder.path().join("shop.db")).unwrap();
    let shop = open(&folder.path().join("shop.db"));
    shop.call(AddProduct::new("Tea", Money::from_minor(10), 5)).run().unwrap();
    for round in 0..50 {
        let to = folder.path().join(format!("copy-{round}.db"));
        let made = std::thread::scope(|scope| {
            let backup = || store.backup(&to, &mut |_| {});
            let [one, other] = [scope.spawn(backup), scope.spawn(backup)];
            [one.join().unwrap(), other.join().unwrap()]
        });
        assert_eq!(made.iter().filter(|made| made.is_ok()).count(), 1, "{made:?}");
        assert_eq!(open(&to).product(1.into()).unwrap().stock, 5);
    }
}

/// What a process was killed over may stand in the log and not be on disk yet: whoever gives that answer
/// again writes, and so waits for the disk, first.
#[test]
fn an_answer_given_again_is_on_disk() {
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
fn a_store_that_is_gone_is_not_called_busy() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("shop.db");
    let shop = open(&file);
    fs::remove_file(&file).unwrap();
    assert_eq!(shop.product(1.into()).unwrap_err().code(), Code::Storage);
}

/// A process that stopped while it had the store must not stop others from reading, nor from seeing
/// what has expired meanwhile.
#[test]
fn who_reads_does_not_wait_for_a_stopped_writer() {
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
    let asked = Instant::now();
    assert_eq!(shop.order(order.id).unwrap().status, OrderStatus::Expired);
    // Far below the 30 s that a call waits for its turn.
    assert!(asked.elapsed() < Duration::from_secs(10));
    stopped.unlock().unwrap();
    shop.call(ExpireOrders).run().unwrap();
    assert_eq!(shop.product(tea.id).unwrap().stock, 5);
}

/// A shell that holds the file without a ticket is waited for as long as the caller bears it.
#[test]
fn patience_is_the_callers() {
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
