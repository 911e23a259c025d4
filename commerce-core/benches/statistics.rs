//! Best sellers of three days among 10,000 products, and the sales of 366 days: the store's method beside the
//! alternatives, on the same sales. `cargo bench --bench statistics -- --orders 200000`; the orders are spread
//! over thirty days, and over three hundred days for ten times as many.

#![allow(missing_docs, unreachable_pub, reason = "a bench")]
#![allow(clippy::all, clippy::pedantic, clippy::restriction, reason = "a bench")]

mod support;

use commerce_core::{
    Basis, BestSellersBy, BestSellersRequest, Compare, ProductReportRequest, RankBy,
    SalesReportRequest, Timestamp, Window,
};
use rusqlite::{Connection, params};
use std::time::Instant;
use support::{Random, Taste, fill, growing_key, number_argument, order, shop};

const PRODUCTS: i64 = 10_000;
const ORDERS_A_DAY: i64 = 6_700;
const DAY: i64 = 86_400;

fn main() {
    let orders = number_argument("--orders", 200_000) as i64;
    let folder = tempfile::tempdir_in(".").unwrap();
    let file = folder.path().join("bench.db");
    let shop = shop(&file, PRODUCTS);
    let end = 1_767_225_600; // calls ahead of the clock are refused
    let span = orders * DAY / ORDERS_A_DAY;
    let mut random = Random(5);
    fill(&shop, orders as u64, |number| {
        let at = end - span + number as i64 * span / orders;
        (order(&mut random, Taste::Spread(PRODUCTS)), growing_key(number), Some(at))
    });
    println!("{orders} orders of 3 lines over {} days, {PRODUCTS} products", span / DAY);

    let size = std::fs::metadata(&file).unwrap().len();
    println!("{} bytes an order", size / orders as u64);

    let ask = |at: i64| {
        let at = Some(Timestamp::from_unix(at));
        shop.best_sellers(&BestSellersRequest { at, ..Default::default() }).unwrap().items
    };
    let now = times(200, |_| drop(ask(end)));
    show("closed levels of packed counts, up to now", now);
    let any = times(200, |turn| drop(ask(end - span / 2 + turn * 7_919)));
    show("closed levels of packed counts, any instant", any);
    let by_net = times(200, |_| {
        let by = BestSellersBy::Net;
        let at = Some(Timestamp::from_unix(end));
        drop(shop.best_sellers(&BestSellersRequest { at, by, ..Default::default() }).unwrap());
    });
    show("best sellers by money", by_net);
    for by in [RankBy::Units, RankBy::Rising] {
        let report = times(100, |_| {
            let at = Some(Timestamp::from_unix(end));
            drop(shop.report(&ProductReportRequest { by, days: 3, limit: 10, at }).unwrap());
        });
        show(&format!("product report of 3 days, {by:?}"), report);
    }
    for zone in ["UTC", "Asia/Seoul", "Asia/Kathmandu"] {
        for compare in [None, Some(Compare::Previous)] {
            let days = times(100, |turn| {
                let to = Some(Timestamp::from_unix(end - turn * 7_919));
                let request = SalesReportRequest {
                    window: Window::Days { days: 366, to },
                    zone: Some(zone.parse().unwrap()),
                    basis: if turn % 2 == 0 { Basis::Booked } else { Basis::Standing },
                    compare,
                    ..Default::default()
                };
                assert_eq!(shop.report(&request).unwrap().buckets.len(), 366);
            });
            let with = if compare.is_some() { ", with those before" } else { "" };
            show(&format!("366 daily points, {zone}{with}"), days);
        }
    }

    let db = Connection::open(&file).unwrap();
    alternatives(&db, end);
}

fn times(count: i64, mut run: impl FnMut(i64)) -> Vec<f64> {
    (0..count)
        .map(|turn| {
            let start = Instant::now();
            run(turn);
            start.elapsed().as_secs_f64() * 1e3
        })
        .collect()
}

fn show(name: &str, mut times: Vec<f64>) {
    times.sort_by(f64::total_cmp);
    let at = |part: usize| times[(times.len() - 1) * part / 100];
    println!("{name:<48} median {:>9.3} ms   p99 {:>9.3} ms", at(50), at(99));
}

fn alternatives(db: &Connection, end: i64) {
    db.execute_batch(
        "PRAGMA cache_size = -262144;
         CREATE TABLE b_hour (hour INTEGER, product INTEGER, units INTEGER, PRIMARY KEY (hour, product)) WITHOUT ROWID;
         INSERT INTO b_hour SELECT paid_at / 3600, product_id, sum(quantity) FROM orders
           JOIN order_lines ON order_id = orders.id GROUP BY 1, 2;
         CREATE TABLE b_day (day INTEGER, product INTEGER, units INTEGER, PRIMARY KEY (day, product)) WITHOUT ROWID;
         INSERT INTO b_day SELECT hour / 24, product, sum(units) FROM b_hour GROUP BY 1, 2;
         CREATE INDEX b_paid ON orders (paid_at);",
    )
    .unwrap();
    let run = |name: &str, count: i64, sql: &str| {
        let mut select = db.prepare(sql).unwrap();
        let took = times(count, |_| {
            let rows = select.query_map(params![end], |row| row.get::<_, i64>(0)).unwrap();
            assert_eq!(rows.count(), 5);
        });
        show(name, took);
    };
    run(
        "live GROUP BY over the lines, index by time",
        5,
        "SELECT product_id, sum(quantity) AS units FROM orders JOIN order_lines
           ON order_lines.id >= orders.id << 10 AND order_lines.id < (orders.id + 1) << 10
         WHERE paid_at > ?1 - 259200 AND paid_at <= ?1 GROUP BY 1 ORDER BY units DESC, 1 LIMIT 5",
    );
    let mut select = db
        .prepare(
            "SELECT paid_at / 86400, count(*), sum(subtotal), sum(discount) FROM orders
             WHERE paid_at > ?1 - 366 * 86400 AND paid_at <= ?1 GROUP BY 1",
        )
        .unwrap();
    let took = times(5, |_| {
        assert!(select.query_map(params![end], |row| row.get::<_, i64>(0)).unwrap().count() > 20);
    });
    show("366 daily points by a live GROUP BY", took);
    run(
        "a row a product and hour, whole hours only",
        20,
        "SELECT product, sum(units) AS units FROM b_hour
         WHERE hour > ?1 / 3600 - 72 AND hour <= ?1 / 3600 GROUP BY 1 ORDER BY units DESC, 1 LIMIT 5",
    );
    run(
        "rows of days, and hours at both ends",
        20,
        "SELECT product, sum(units) AS units FROM (
           SELECT product, units FROM b_day WHERE day > ?1 / 86400 - 3 AND day < ?1 / 86400
           UNION ALL SELECT product, units FROM b_hour WHERE hour >= ?1 / 86400 * 24 AND hour <= ?1 / 3600
           UNION ALL SELECT product, units FROM b_hour
             WHERE hour > ?1 / 3600 - 72 AND hour < (?1 / 86400 - 2) * 24)
         GROUP BY 1 ORDER BY units DESC, 1 LIMIT 5",
    );
}
