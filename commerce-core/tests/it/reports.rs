//! Reports: days of 23 and 25 hours, windows to compare with, refused requests, and proofs that name each wrong count.
//! The model of `reference.rs` predicts every figure of generated histories.

use crate::common::{NOW, On, World, cluster, key};
use commerce_core::{
    BalanceReportRequest, Basis, BestSellersBy, BestSellersRequest, ChangeSettings, Code, Compare,
    CouponReportRequest, CustomerId, Period, PlaceOrder, ProductId, ProductReportRequest, RankBy,
    SalesBucket, SalesReportRequest, StockReportRequest, Timestamp, Window, Zone,
};
use rstest::rstest;
use rusqlite::Connection;

const DAY: i64 = 86_400;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn zone(name: &str) -> Zone {
    name.parse().unwrap()
}

/// Places an order of one unit at each of these instants.
fn sell(
    world: &World,
    customer: CustomerId,
    product: ProductId,
    instants: impl Iterator<Item = Timestamp>,
) {
    let calls: Vec<_> = instants
        .map(|instant| {
            let order = PlaceOrder::new(customer, [(product, 1)]);
            world.shop.call_at(order, instant).key(&key(&instant.to_string())).submit()
        })
        .collect();
    for call in calls {
        call.wait().unwrap();
    }
}

fn orders(buckets: &[SalesBucket]) -> Vec<i64> {
    buckets.iter().map(|bucket| bucket.figures.orders).collect()
}

/// An order every half hour of three days, from a local midnight on. The clock is changed on the second day.
#[rstest]
#[case::spring("2024-03-09T00:00:00-05:00", 23, "2024-03-10T23:59:59-04:00")]
#[case::autumn("2024-11-02T00:00:00-04:00", 25, "2024-11-03T23:59:59-05:00")]
fn days_and_hours_are_exact_when_the_clock_is_changed(
    #[case] first: &str,
    #[case] hours: i64,
    #[case] last: &str,
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let world = World::new(on);
    let (kim, tea) = (world.customer(100_000).id, world.product(10, 1_000).id);
    let first = at(first);
    let halves = 2 * (24 + hours + 24);
    sell(&world, kim, tea, (0..halves).map(|half| first.plus_seconds(half * 1_800)));
    let (from, to) = (first.plus_seconds(-1), first.plus_seconds(halves * 1_800 - 1));
    let zone = Some(zone("America/New_York"));
    let window = Window::Between { from, to: Some(to) };
    let request = SalesReportRequest { window, zone, ..SalesReportRequest::default() };
    let report = world.shop.prove(&request).unwrap();
    assert_eq!(report.differences, []);
    assert_eq!(orders(&report.report.buckets), [48, 2 * hours, 48]);
    let changed = &report.report.buckets[1];
    assert_eq!((changed.from, changed.to), (from.plus_seconds(DAY), at(last)));

    let window = Window::Between { from: changed.from, to: Some(changed.to) };
    let by_hour = SalesReportRequest { window, by: Period::Hour, ..request };
    let hours_of_day = orders(&world.shop.report(&by_hour).unwrap().buckets);
    assert_eq!(hours_of_day, vec![2; usize::try_from(hours).unwrap()]);
}

#[rstest]
fn sale_at_midnight_belongs_to_the_day_that_begins(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let world = World::new(on);
    let (kim, tea) = (world.customer(100_000).id, world.product(10, 1_000).id);
    let midnight = at("2025-06-01T00:00:00+05:45");
    sell(&world, kim, tea, [-1, 0, 1].into_iter().map(|second| midnight.plus_seconds(second)));
    world.shop.call(ChangeSettings { zone: zone("Asia/Kathmandu") }).run().unwrap();
    let window = Window::Days { days: 2, to: Some(midnight.plus_seconds(3_600)) };
    let report = world.shop.report(&SalesReportRequest { window, ..Default::default() }).unwrap();
    assert_eq!(report.zone.name(), "Asia/Kathmandu", "the zone of the shop");
    assert_eq!(orders(&report.buckets), [1, 2]);
    assert_eq!(report.buckets[1].from, midnight.plus_seconds(-1));
    let in_utc = SalesReportRequest { window, zone: Some(Zone::UTC), ..Default::default() };
    assert_eq!(orders(&world.shop.report(&in_utc).unwrap().buckets), [0, 3]);
}

/// One order an hour from the first to the eighth of June, up to 10:00.
#[rstest]
#[case::days(Window::Days { days: 1, to: Some(at("2025-06-08T10:00:00Z")) }, Compare::Previous, "2025-06-06T23:59:59Z", 11)]
#[case::seconds(
    Window::Between { from: at("2025-06-07T23:59:59Z"), to: Some(at("2025-06-08T10:00:00Z")) },
    Compare::Previous, "2025-06-07T13:59:58Z", 10
)]
#[case::week(Window::Days { days: 1, to: Some(at("2025-06-08T10:00:00Z")) }, Compare::LastWeek, "2025-05-31T23:59:59Z", 11)]
#[case::year(Window::Days { days: 1, to: Some(at("2025-06-08T10:00:00Z")) }, Compare::LastYear, "2024-06-07T23:59:59Z", 0)]
fn window_before_has_the_same_length(
    #[case] window: Window,
    #[case] compare: Compare,
    #[case] from: &str,
    #[case] count: i64,
) {
    let world = World::new(On::Sqlite);
    let (kim, tea) = (world.customer(100_000).id, world.product(10, 1_000).id);
    let first = at("2025-06-01T00:00:00Z");
    sell(&world, kim, tea, (0..7 * 24 + 11).map(|hour| first.plus_seconds(hour * 3_600)));
    let compare = Some(compare);
    let request = SalesReportRequest { window, compare, by: Period::Hour, ..Default::default() };
    let report = world.shop.report(&request).unwrap();
    assert_eq!(report.totals.orders, 11);
    let before = report.previous.unwrap();
    assert_eq!((before.from, before.figures.orders), (at(from), count));
    assert_eq!(orders(&before.buckets).iter().sum::<i64>(), count);
}

#[test]
fn requests_that_cannot_be_answered_name_the_value() {
    let world = World::new(On::Sqlite);
    let sales = |window, by| {
        let request = SalesReportRequest { window, by, ..Default::default() };
        world.shop.report(&request).map(|report| report.buckets.len())
    };
    let between = |from, to| Window::Between { from, to: Some(to) };
    let days = |days| Window::Days { days, to: None };
    for window in [between(NOW, NOW), between(NOW.plus_seconds(1), NOW), days(0), days(367)] {
        assert_eq!(sales(window, Period::Day).unwrap_err().code(), Code::InvalidRequest);
    }
    assert_eq!(sales(days(41), Period::Hour), Ok(40 * 24 + 1));
    let error = sales(days(366), Period::Hour).unwrap_err().to_string();
    assert!(error.contains("more than 1000 of these periods"), "{error}");
    let refused = |days, limit| {
        let products = ProductReportRequest { days, limit, ..Default::default() };
        let stock = StockReportRequest { days, limit };
        let errors = [world.shop.report(&products).err(), world.shop.report(&stock).err()];
        errors.map(|error| error.map(|error| error.code()))
    };
    for (days, limit) in [(0, 10), (367, 10), (7, 0), (7, 101)] {
        assert_eq!(refused(days, limit), [Some(Code::InvalidRequest); 2]);
    }
}

#[rstest]
fn best_sellers_by_money_have_their_share_of_the_discount(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let world = World::new(on);
    let (kim, coupon) = (world.customer(10_000).id, world.coupon(1, 100).id);
    let (tea, cup) = (world.product(100, 10).id, world.product(301, 10).id);
    let owned = world.shop.claim_coupon(coupon, kim, &key("claim")).unwrap().id;
    let order = PlaceOrder::new(kim, [(tea, 3), (cup, 1)]);
    let order = PlaceOrder { owned_coupon_id: Some(owned), ..order };
    world.shop.place_order(order, &key("order")).unwrap();
    let request = BestSellersRequest { by: BestSellersBy::Net, ..Default::default() };
    let ranking = world.shop.best_sellers(&request).unwrap().items;
    let ranking: Vec<_> =
        ranking.iter().map(|item| (item.product_id, item.units_sold, item.net)).collect();
    let money = |minor| Some(commerce_core::Money::from_minor(minor));
    assert_eq!(ranking, [(cup, 1, money(251)), (tea, 3, money(250))]);
}

/// Each wrong count is named by the report that shows it.
#[rstest]
#[case::figures(
    "UPDATE sales SET totals = x'0014' WHERE id < 281474976710656",
    "sales /totals/orders"
)]
#[case::units("UPDATE sales SET units = x'0114' WHERE id < 281474976710656", "products /units")]
#[case::money("UPDATE sales SET net = x'14' WHERE id < 281474976710656", "products /net")]
#[case::stock("UPDATE products SET stock = stock - 1", "stock /items/0/stock")]
#[case::issued("UPDATE coupons SET issued = issued + 1", "coupons /items/0/issued")]
#[case::used("UPDATE coupons SET used = used + 1", "coupons /items/0/used")]
#[case::ledger("UPDATE ledger SET amount = amount - 1 WHERE kind = 0", "balances /spent")]
fn proof_names_a_planted_wrong_count(
    #[case] sql: &str,
    #[case] named: &str,
    #[values(On::Sqlite, On::Postgres)] on: On,
) {
    let world = World::new(on);
    let (kim, tea) = (world.customer(10_000).id, world.product(10, 100).id);
    world.coupon(5, 3);
    for number in 0..2 {
        let order = PlaceOrder::new(kim, [(tea, 2)]);
        world.shop.place_order(order, &key(&format!("order-{number}"))).unwrap();
    }
    assert_eq!(differences(&world), [""; 0]);
    if let Some(url) = &world.url {
        let mut db = cluster::shared().admin(url.rsplit('/').next().unwrap());
        db.batch_execute(&sql.replace("= x'", r"= '\x")).unwrap();
    } else {
        let db = Connection::open(world.folder.path().join("shop.db")).unwrap();
        db.execute_batch(sql).unwrap();
    }
    let differences = differences(&world);
    assert!(differences.iter().any(|name| name == named), "{differences:?}");
}

/// Returns the differences of all reports, each as "report pointer".
fn differences(world: &World) -> Vec<String> {
    let shop = &world.shop;
    let mut all = Vec::new();
    let mut add = |report: &str, differences: Vec<commerce_core::Difference>| {
        all.extend(differences.into_iter().map(|one| format!("{report} {}", one.pointer)));
    };
    for basis in [Basis::Booked, Basis::Standing] {
        let request = SalesReportRequest { basis, ..Default::default() };
        add("sales", shop.prove(&request).unwrap().differences);
    }
    for by in [RankBy::Units, RankBy::Net, RankBy::Rising] {
        let request = ProductReportRequest { by, ..Default::default() };
        add("products", shop.prove(&request).unwrap().differences);
    }
    add("stock", shop.prove(&StockReportRequest::default()).unwrap().differences);
    add("coupons", shop.prove(&CouponReportRequest).unwrap().differences);
    add("balances", shop.prove(&BalanceReportRequest::default()).unwrap().differences);
    all
}
