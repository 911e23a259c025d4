//! The identity of a store: event ids that are never given out twice.

#![allow(clippy::unwrap_used, clippy::panic, clippy::arithmetic_side_effects, reason = "a test")]

mod common;

use commerce_core::{
    AddCustomer, AddProduct, Currency, MemoryStore, Money, PageRequest, PlaceOrder, PostgresStore,
    Shop, SqliteStore, Store, copy,
};
use common::{assert_clean, cluster, key};
use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

/// A store with a customer who can pay, and a product.
fn fill(shop: &Shop) {
    let balance = Money::from_minor(1_000_000);
    shop.call(AddCustomer { balance, ..AddCustomer::new("Kim") }).run().unwrap();
    shop.call(AddProduct::new("Tea", Money::from_minor(10), 50_000)).run().unwrap();
}

fn order(shop: &Shop, name: &str) -> i64 {
    let order = PlaceOrder::new(1.into(), [(1.into(), 1)]);
    shop.place_order(order, &key(name)).unwrap().id.get()
}

/// The public ids of all events, in their order.
fn ids(shop: &Shop) -> Vec<String> {
    let events = shop.tracked_events(&PageRequest::first(100)).unwrap().items;
    events.into_iter().map(|tracked| tracked.event.public_id).collect()
}

/// Asserts that the stores agree on the first events, which they share, and on no other.
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
fn a_backup_restored_twice_gives_out_no_event_id_again() {
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

/// A backup that is written over the file it came from keeps the file's number.
#[test]
fn a_backup_copied_over_its_store_gives_out_no_event_id_again() {
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
fn a_plain_copy_gives_out_no_event_id_of_its_source() {
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
fn copies_of_every_kind_give_out_no_event_id_of_their_source() {
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
fn a_restored_dump_gives_out_no_event_id_again() {
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

/// A standby may not have what the primary has sent last.
#[test]
fn a_promoted_standby_begins_a_new_epoch() {
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
