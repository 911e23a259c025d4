//! Four instances of eight callers each on one PostgreSQL cluster, as on four machines: what they contend
//! for is given out exactly.

use crate::common::{assert_clean, cluster, key};
use commerce_core::{
    AddCoupon, AddCustomer, AddProduct, Code, Currency, Discount, Error, Money, PlaceOrder, Shop,
    StoreError,
};
use commerce_postgres::PostgresStore;
use rstest::rstest;
use std::collections::BTreeSet;
use std::panic::resume_unwind;

const INSTANCES: usize = 4;
const CALLERS: usize = 8;

/// Instances that come up together on a database that has nothing yet.
fn instances() -> Vec<Shop> {
    instances_at(&cluster::shared().database())
}

fn instances_at(url: &str) -> Vec<Shop> {
    std::thread::scope(|scope| {
        let open = || Shop::open(PostgresStore::open(url).unwrap());
        let opening: Vec<_> = (0..INSTANCES).map(|_| scope.spawn(open)).collect();
        opening.into_iter().map(|shop| shop.join().unwrap()).collect()
    })
}

/// Each of so many numbers is asked for by a caller of some instance.
fn together<T: Send>(
    shops: &[Shop],
    times: usize,
    ask: impl Fn(&Shop, usize) -> T + Sync,
) -> Vec<T> {
    let (ask, all) = (&ask, INSTANCES * CALLERS);
    std::thread::scope(|scope| {
        let callers: Vec<_> = (0..all)
            .map(|caller| {
                let shop = &shops[caller % INSTANCES];
                scope.spawn(move || {
                    (caller..times).step_by(all).map(|number| ask(shop, number)).collect::<Vec<_>>()
                })
            })
            .collect();
        let answers = callers.into_iter();
        answers
            .flat_map(|caller| caller.join().unwrap_or_else(|panic| resume_unwind(panic)))
            .collect()
    })
}

fn count<T>(answers: &[Result<T, Error>], code: Option<Code>) -> usize {
    answers.iter().filter(|answer| answer.as_ref().err().map(Error::code) == code).count()
}

fn customers(shop: &Shop, count: usize, balance: i64) {
    let balance = Money::from_minor(balance);
    let add = || shop.call(AddCustomer { balance, ..AddCustomer::new("Kim") }).submit();
    let tickets: Vec<_> = (0..count).map(|_| add()).collect();
    for ticket in tickets {
        ticket.wait().unwrap();
    }
}

fn assert_all_clean(shops: &[Shop]) {
    shops.iter().for_each(assert_clean);
}

#[test]
fn the_last_units_are_sold_exactly() {
    let shops = instances();
    customers(&shops[0], 32, 1_000_000);
    let tea = shops[0].call(AddProduct::new("Tea", Money::from_minor(10), 150)).run().unwrap().id;
    let answers = together(&shops, 1_000, |shop, number| {
        let customer = i64::try_from(number % 32).unwrap() + 1;
        let order = PlaceOrder::new(customer.into(), [(tea, 1)]);
        shop.place_order(order, &key(&format!("unit-{number}")))
    });
    assert_eq!((count(&answers, None), count(&answers, Some(Code::InsufficientStock))), (150, 850));
    assert_eq!(shops[3].product(tea).unwrap().stock, 0);
    assert_all_clean(&shops);
}

#[test]
fn coupons_are_given_out_exactly_and_ranked_without_a_gap() {
    let shops = instances();
    customers(&shops[0], 1_000, 0);
    let request = AddCoupon {
        name: "Spring".to_owned(),
        discount: Discount::Fixed { amount: Money::from_minor(5) },
        min_order_amount: None,
        quantity: 100,
        valid_from: None,
        valid_until: None,
    };
    let coupon = shops[1].call(request).run().unwrap().id;
    let answers = together(&shops, 1_000, |shop, number| {
        let customer = i64::try_from(number).unwrap() + 1;
        shop.claim_coupon(coupon, customer.into(), &key("claim"))
    });
    assert_eq!((count(&answers, None), count(&answers, Some(Code::CouponSoldOut))), (100, 900));
    let ranks: BTreeSet<i64> = answers.into_iter().flatten().map(|owned| owned.rank).collect();
    assert_eq!(ranks, (1..=100).collect());
    assert_all_clean(&shops);
}

#[test]
fn a_balance_is_spent_once_and_a_key_has_one_effect() {
    let shops = instances();
    customers(&shops[0], 1, 100);
    let tea = shops[0].call(AddProduct::new("Tea", Money::from_minor(10), 1_000)).run().unwrap().id;
    let answers = together(&shops, 200, |shop, number| {
        let order = PlaceOrder::new(1.into(), [(tea, 1)]);
        shop.place_order(order, &key(&format!("spend-{number}")))
    });
    assert_eq!(
        (count(&answers, None), count(&answers, Some(Code::InsufficientBalance))),
        (10, 190)
    );

    shops[2].charge(1.into(), Money::from_minor(1_000), &key("charge")).unwrap();
    for turn in 0..10 {
        let orders: BTreeSet<i64> = together(&shops, INSTANCES * CALLERS, |shop, _| {
            let order = PlaceOrder::new(1.into(), [(tea, 1)]);
            shop.place_order(order, &key(&format!("same-{turn}"))).unwrap().id.get()
        })
        .into_iter()
        .collect();
        assert_eq!(orders.len(), 1);
    }
    assert_eq!(shops[1].balance(1.into()).unwrap().balance, Money::from_minor(900));
    assert_all_clean(&shops);
}

/// A database may max_events another isolation of whoever says nothing: what is read after the wait for the lane
/// is what is true then all the same.
#[rstest]
fn the_isolation_that_a_database_sets_is_not_ours(
    #[values("repeatable read", "serializable")] isolation: &str,
) {
    let url = cluster::shared().database();
    let name = url.rsplit('/').next().unwrap();
    let set = format!("ALTER DATABASE {name} SET default_transaction_isolation = '{isolation}'");
    cluster::shared().admin(name).batch_execute(&set).unwrap();
    let shops = instances_at(&url);
    customers(&shops[0], 32, 0);
    let answers = together(&shops, 640, |shop, number| {
        let customer = i64::try_from(number % 32).unwrap() + 1;
        shop.charge(customer.into(), Money::from_minor(1), &key(&format!("charge-{number}")))
    });
    let failed: Vec<_> = answers.into_iter().filter_map(Result::err).collect();
    assert!(failed.is_empty(), "{failed:?}");
    assert_all_clean(&shops);
}

#[test]
fn a_store_keeps_its_currency_and_a_database_of_another_program_is_left_alone() {
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

/// Nobody is sent to look for a server that has just answered.
#[test]
fn a_server_that_is_not_of_the_kind_that_is_wanted_is_there() {
    let url = cluster::shared().database();
    let error = PostgresStore::open(&format!("{url}?target_session_attrs=read-only")).unwrap_err();
    let told = error.to_string();
    assert!(told.ends_with("database is not read only"), "{told}");
}

#[test]
fn tables_of_another_program_are_told_as_such() {
    let url = cluster::shared().database();
    let mut admin = cluster::shared().admin(url.rsplit('/').next().unwrap());
    admin.batch_execute("CREATE TABLE customers (name TEXT)").unwrap();
    let error = PostgresStore::open(&url).unwrap_err();
    let told = matches!(&error, StoreError::Incompatible(text) if text.contains("\"customers\""));
    assert!(told && error.to_string().contains("another program"), "{error}");
    assert!(PostgresStore::find(&url).unwrap().is_none(), "nothing was made");
}

/// Text that the database cannot hold would come up as a failure of the store, customer by customer.
#[rstest]
#[case("LATIN1", false)]
#[case("EUC_JP", false)]
#[case("SQL_ASCII", true)]
fn a_database_has_to_hold_every_text(#[case] encoding: &str, #[case] holds: bool) {
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

/// Who may not look into the store is told so, and not that there is none.
#[test]
fn a_store_that_somebody_may_not_read_is_there() {
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
