//! Four instances with eight callers each on one PostgreSQL cluster, as on four machines: the outcome of
//! a contest is exact. Also what an instance refuses when it opens a database.

use crate::common::contest::{
    Contest, LAST_COUPONS, LAST_UNITS, ONE_BALANCE, ONE_KEY, ONE_LIMIT, ONE_ORDER, ONE_REFERENCE,
    add_customers, together,
};
use crate::common::{assert_clean, cluster, key};
use commerce_core::{AddCustomer, Currency, CustomerId, Money, Shop, StoreError};
use commerce_postgres::PostgresStore;
use rstest::rstest;

const INSTANCES: usize = 4;
const CALLERS: usize = 32;

/// Instances that start at the same time on an empty database.
fn instances_at(url: &str) -> Vec<Shop> {
    std::thread::scope(|scope| {
        let open = || Shop::open(PostgresStore::open(url).unwrap());
        let opening: Vec<_> = (0..INSTANCES).map(|_| scope.spawn(open)).collect();
        opening.into_iter().map(|shop| shop.join().unwrap()).collect()
    })
}

#[rstest]
#[case::last_units(&LAST_UNITS)]
#[case::last_coupons(&LAST_COUPONS)]
#[case::one_balance(&ONE_BALANCE)]
#[case::one_key(&ONE_KEY)]
#[case::one_limit(&ONE_LIMIT)]
#[case::one_reference(&ONE_REFERENCE)]
#[case::one_order(&ONE_ORDER)]
fn contest_between_instances_ends_exactly(#[case] contest: &Contest) {
    contest.run(&instances_at(&cluster::shared().database()), CALLERS);
}

/// A database may have another default isolation. The store sets its own: a read after the wait for the
/// writer lock has to see what was committed before.
#[rstest]
fn store_overrides_the_default_isolation_of_a_database(
    #[values("repeatable read", "serializable")] isolation: &str,
) {
    let url = cluster::shared().database();
    let name = url.rsplit('/').next().unwrap();
    let set = format!("ALTER DATABASE {name} SET default_transaction_isolation = '{isolation}'");
    cluster::shared().admin(name).batch_execute(&set).unwrap();
    let shops = instances_at(&url);
    add_customers(&shops[0], 32, 0);
    let answers = together(&shops, CALLERS, 640, |shop, number| {
        let customer = CustomerId::new(i64::try_from(number % 32).unwrap() + 1);
        shop.charge(customer, Money::from_minor(1), &key(&format!("charge-{number}")))
    });
    let failed: Vec<_> = answers.into_iter().filter_map(Result::err).collect();
    assert!(failed.is_empty(), "{failed:?}");
    shops.iter().for_each(assert_clean);
}

#[test]
fn open_refuses_another_currency_another_program_and_a_newer_version() {
    let url = cluster::shared().database();
    let dollars = Currency::from_code("USD").unwrap();
    assert!(PostgresStore::find(&url).unwrap().is_none());
    PostgresStore::create(&url, dollars).unwrap();
    assert!(matches!(PostgresStore::create(&url, Currency::KRW), Err(StoreError::Incompatible(_))));
    let other = cluster::shared().database();
    let name = other.rsplit('/').next().unwrap();
    let mut admin = cluster::shared().admin(name);
    admin.batch_execute("CREATE TABLE store (id BIGINT PRIMARY KEY, manager TEXT)").unwrap();
    assert!(matches!(PostgresStore::open(&other), Err(StoreError::Incompatible(_))));
    let newer = cluster::shared().database();
    drop(PostgresStore::open(&newer).unwrap());
    let name = newer.rsplit('/').next().unwrap();
    cluster::shared().admin(name).batch_execute("UPDATE store SET schema_version = 99").unwrap();
    assert!(matches!(PostgresStore::open(&newer), Err(StoreError::Incompatible(_))));
}

/// The server has just answered: the error must not call it unreachable.
#[test]
fn open_names_the_cause_when_target_session_attrs_do_not_match() {
    let url = cluster::shared().database();
    let error = PostgresStore::open(&format!("{url}?target_session_attrs=read-only")).unwrap_err();
    let message = error.to_string();
    assert!(message.ends_with("database is not read only"), "{message}");
}

#[test]
fn open_names_tables_of_another_program() {
    let url = cluster::shared().database();
    let mut admin = cluster::shared().admin(url.rsplit('/').next().unwrap());
    admin.batch_execute("CREATE TABLE customers (name TEXT)").unwrap();
    let error = PostgresStore::open(&url).unwrap_err();
    let named = matches!(&error, StoreError::Incompatible(text) if text.contains("\"customers\""));
    assert!(named && error.to_string().contains("another program"), "{error}");
    assert!(PostgresStore::find(&url).unwrap().is_none(), "no table was created");
}

/// Text that the encoding cannot hold would fail later, customer by customer, as an error of the store.
#[rstest]
#[case("LATIN1", false)]
#[case("EUC_JP", false)]
#[case("SQL_ASCII", true)]
fn open_refuses_an_encoding_that_cannot_hold_every_text(
    #[case] encoding: &str,
    #[case] holds: bool,
) {
    let mut admin = cluster::shared().admin("postgres");
    let name = format!("shop_in_{}", encoding.to_lowercase());
    let create =
        format!("CREATE DATABASE {name} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0");
    admin.batch_execute(&create).unwrap();
    let opened = PostgresStore::open(&cluster::shared().url(&name));
    if holds {
        let shop = Shop::open(opened.unwrap());
        let kim = shop.call(AddCustomer::new("김")).run().unwrap();
        assert_eq!(shop.customer(kim.id).unwrap().name, "김");
    } else {
        let error = opened.unwrap_err();
        assert!(
            matches!(&error, StoreError::Incompatible(text) if text.contains(encoding)),
            "{error}"
        );
    }
}

/// A role without permission gets that error, and not "there is no store".
#[test]
fn open_without_permission_reports_permission_denied() {
    let url = cluster::shared().database();
    drop(PostgresStore::open(&url).unwrap());
    let name = url.rsplit('/').next().unwrap();
    cluster::shared().admin(name).batch_execute("CREATE ROLE stranger LOGIN").unwrap();
    let theirs = url.replace("postgres://postgres@", "postgres://stranger@");
    for error in
        [PostgresStore::find(&theirs).unwrap_err(), PostgresStore::open(&theirs).unwrap_err()]
    {
        assert!(error.to_string().contains("permission denied for table store"), "{error}");
    }
}
