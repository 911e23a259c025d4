//! A real week of a grocery chain, imported through the library: stock and balances end at zero,
//! and the best sellers at forty instants equal those computed without this program.

use crate::common::{On, World, key};
use commerce_core::{
    AddCustomer, AddProduct, BestSellersRequest, Code, CustomerId, Money, PageRequest, PlaceOrder,
    ProductId, SalesReportRequest, Timestamp, Window, Zone,
};
use rstest::rstest;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::fs;
use std::path::{Path, PathBuf};

#[derive(Deserialize)]
struct ProductRow {
    id: ProductId,
    name: String,
    price: Money,
    stock: i64,
}

#[derive(Deserialize)]
struct CustomerRow {
    id: CustomerId,
    name: String,
    balance: Money,
}

#[derive(Deserialize)]
struct LineRow {
    order: i64,
    customer_id: CustomerId,
    placed_at: Timestamp,
    product_id: ProductId,
    quantity: i64,
}

#[derive(Deserialize)]
struct Totals {
    lines: usize,
    orders: usize,
    customers: usize,
    products: usize,
    units: i64,
    catalog_cents: i64,
}

#[derive(Deserialize)]
struct Top {
    at: Timestamp,
    top: Vec<Rank>,
}

#[derive(Deserialize)]
struct Rank {
    product_id: ProductId,
    units: i64,
}

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/week").join(name)
}

fn rows<T: DeserializeOwned>(name: &str) -> Vec<T> {
    csv::Reader::from_path(file(name)).unwrap().deserialize().map(Result::unwrap).collect()
}

fn json<T: DeserializeOwned>(name: &str) -> T {
    serde_json::from_slice(&fs::read(file(name)).unwrap()).unwrap()
}

/// Returns the week's orders, each with its time and its reference.
fn orders() -> Vec<(Timestamp, PlaceOrder)> {
    let mut orders: Vec<(Timestamp, PlaceOrder)> = Vec::new();
    let lines: Vec<LineRow> = rows("orders.csv");
    for lines in lines.chunk_by(|one, next| one.order == next.order) {
        let items: Vec<_> = lines.iter().map(|line| (line.product_id, line.quantity)).collect();
        let order = PlaceOrder::new(lines[0].customer_id, items);
        let reference = Some(lines[0].order.to_string());
        orders.push((lines[0].placed_at, PlaceOrder { reference, ..order }));
    }
    orders
}

/// Imports everything; returns the number of rows that existed already.
fn import(world: &World) -> usize {
    let mut known = 0;
    let shop = &world.shop;
    let products: Vec<ProductRow> = rows("products.csv");
    let tickets = products.into_iter().map(|row| {
        let ProductRow { id, name, price, stock } = row;
        shop.call(AddProduct { id: Some(id), name, price, stock }).submit()
    });
    for ticket in tickets.collect::<Vec<_>>() {
        match ticket.wait() {
            Err(error) if error.code() == Code::ProductExists => known += 1,
            added => assert!(added.is_ok(), "{added:?}"),
        }
    }
    let customers: Vec<CustomerRow> = rows("customers.csv");
    let tickets = customers.into_iter().map(|row| {
        let CustomerRow { id, name, balance } = row;
        shop.call(AddCustomer { id: Some(id), balance, ..AddCustomer::new(name) }).submit()
    });
    for ticket in tickets.collect::<Vec<_>>() {
        match ticket.wait() {
            Err(error) if error.code() == Code::CustomerExists => known += 1,
            added => assert!(added.is_ok(), "{added:?}"),
        }
    }
    let tickets = orders().into_iter().map(|(at, order)| {
        let name = key(&format!("import:{}", order.reference.as_deref().unwrap()));
        shop.call_at(order, at).key(&name).submit()
    });
    for ticket in tickets.collect::<Vec<_>>() {
        let outcome = ticket.outcome();
        outcome.result.unwrap();
        known += usize::from(outcome.replayed);
    }
    known
}

fn assert_all_at_zero(world: &World) {
    let mut page = PageRequest::first(100);
    loop {
        let products = world.shop.products(&page).unwrap();
        assert!(products.items.iter().all(|product| product.stock == 0));
        page.cursor = products.next_cursor;
        if page.cursor.is_none() {
            break;
        }
    }
    for row in rows::<CustomerRow>("customers.csv") {
        assert_eq!(world.shop.balance(row.id).unwrap().balance, Money::ZERO);
    }
}

/// Returns the orders, lines, units and cents in the outbox.
fn sold(world: &World) -> (usize, usize, i64, i64) {
    let mut page = PageRequest::first(100);
    let (mut orders, mut lines, mut units, mut cents) = (0, 0, 0, 0);
    loop {
        let events = world.shop.events(&page).unwrap();
        for event in &events.items {
            orders += 1;
            lines += event.data.lines.len();
            units += event.data.lines.iter().map(|line| line.quantity).sum::<i64>();
            cents += event.data.total.minor();
        }
        page.cursor = events.next_cursor;
        if page.cursor.is_none() {
            return (orders, lines, units, cents);
        }
    }
}

/// Sales of 26 November in the days of two zones.
fn assert_known_days(world: &World) {
    let known = [("UTC", 1_152_306), ("Asia/Seoul", 878_316)];
    for (zone, cents) in known {
        let window = Window::Days { days: 10, to: Some("2017-12-01T12:00:00Z".parse().unwrap()) };
        let zone: Zone = zone.parse().unwrap();
        let request = SalesReportRequest { window, zone: Some(zone), ..Default::default() };
        let proof = world.shop.prove(&request).unwrap();
        assert_eq!(proof.differences, []);
        let noon = "2017-11-26T02:00:00Z".parse().unwrap();
        let day = proof.report.buckets.iter().find(|day| day.from < noon && noon <= day.to);
        assert_eq!(day.unwrap().figures.net.minor(), cents, "{zone}");
    }
}

#[rstest]
fn imported_week_ends_at_zero_with_known_best_sellers(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let world = World::new(on);
    let totals: Totals = json("totals.json");
    assert_eq!(import(&world), 0);
    assert_all_at_zero(&world);

    let known = (totals.orders, totals.lines, totals.units, totals.catalog_cents);
    assert_eq!(sold(&world), known);

    for Top { at, top } in json::<Vec<Top>>("top5.json") {
        let best =
            world.shop.best_sellers(&BestSellersRequest { at: Some(at), ..Default::default() });
        let best: Vec<_> =
            best.unwrap().items.iter().map(|item| (item.product_id, item.units_sold)).collect();
        let known: Vec<_> = top.iter().map(|rank| (rank.product_id, rank.units)).collect();
        assert_eq!(best, known, "at {at}");
    }
    assert_known_days(&world);
    world.assert_clean();
    let rows = world.shop.audit().unwrap().checked;

    let all = totals.products + totals.customers + totals.orders;
    assert_eq!(import(&world), all, "all of it is there already");
    assert_eq!(sold(&world), known);
    assert_all_at_zero(&world);
    world.assert_clean();
    assert_eq!(world.shop.audit().unwrap().checked, rows, "no table has grown");
}
