//! Poolers between the store and its server: session mode works, transaction mode is refused by name.

use crate::common::pooler::Pooler;
use crate::common::{assert_clean, cluster, key};
use commerce_core::{AddCustomer, CustomerId, Error, Money, Shop, StoreError};
use commerce_postgres::PostgresStore;
use rstest::rstest;
use std::sync::atomic::Ordering;

/// Returns a pooler, and the URL of a new store behind it.
fn pooled(prepares: bool) -> (Pooler, String) {
    let url = cluster::shared().database();
    drop(PostgresStore::open(&url).unwrap());
    let pooler = Pooler::start(cluster::shared(), prepares);
    let database = url.rsplit('/').next().unwrap();
    let url = format!("postgres://postgres@127.0.0.1:{}/{database}", pooler.port);
    (pooler, url)
}

fn assert_names_the_pooler(error: &StoreError) {
    let named = error.to_string().contains("a pooler in transaction mode is between");
    assert!(matches!(error, StoreError::Incompatible(_)) && named, "{error}");
}

#[rstest]
fn pooler_in_transaction_mode_is_refused_by_name(#[values(false, true)] prepares: bool) {
    let (pooler, url) = pooled(prepares);
    assert_names_the_pooler(&PostgresStore::open(&url).unwrap_err());
    pooler.is_session.store(true, Ordering::Relaxed);
    let shop = Shop::open(PostgresStore::open(&url).unwrap());
    shop.call(AddCustomer::new("Kim")).run().unwrap();
    shop.charge(1.into(), Money::from_minor(5), &key("charge")).unwrap();
    assert_clean(&shop);
}

/// A pooler shares its connections only when it has more clients than connections: the mode may
/// show long after the start.
#[rstest]
fn pooler_that_changes_the_connection_later_is_refused_by_name(
    #[values(false, true)] prepares: bool,
) {
    let (pooler, url) = pooled(prepares);
    pooler.is_session.store(true, Ordering::Relaxed);
    let shop = Shop::open(PostgresStore::open(&url).unwrap());
    shop.call(AddCustomer::new("Kim")).run().unwrap();
    shop.balance(1.into()).unwrap();
    pooler.is_session.store(false, Ordering::Relaxed);
    let charge = |number| {
        shop.charge(CustomerId::new(1), Money::from_minor(5), &key(&format!("{number}"))).map(drop)
    };
    let read = |_| shop.balance(1.into()).map(drop);
    for error in
        [(0..9).find_map(|number| charge(number).err()), (0..9).find_map(|n| read(n).err())]
    {
        let Some(Error::Store(error)) = error else { panic!("{error:?}") };
        assert_names_the_pooler(&error);
    }
    pooler.is_session.store(true, Ordering::Relaxed);
    let charged = (0..9).filter(|number| charge(*number).is_ok()).count();
    assert_eq!(charged, 9, "each key has one effect");
    assert_eq!(shop.balance(1.into()).unwrap().balance, Money::from_minor(45));
    assert_clean(&shop);
}
