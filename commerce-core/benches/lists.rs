//! Lists of the back office over many orders, of which only three are cancelled: a page, and a whole list along its
//! cursors. `cargo bench --bench lists -- --orders 2000000`.

#![allow(missing_docs, unreachable_pub, reason = "a bench")]
#![allow(clippy::all, clippy::pedantic, clippy::restriction, reason = "a bench")]

mod support;

use commerce_core::{
    CustomerId, OrderFilter, OrderId, OrderStatus, Page, PageRequest, PlaceOrder, ProductFilter,
    ProductId, Timestamp,
};
use std::time::Instant;
use support::{Random, Taste, fill, growing_key, number_argument, order, shop};

const PRODUCTS: i64 = 10_000;
const DAY: i64 = 86_400;

fn main() {
    let orders = number_argument("--orders", 200_000) as i64;
    let folder = tempfile::tempdir_in(".").unwrap();
    let shop = shop(&folder.path().join("bench.db"), PRODUCTS);
    let end = 1_767_225_600; // calls ahead of the clock are refused
    let span = 300 * DAY;
    let mut random = Random(5);
    let rare = ProductId::new(PRODUCTS + 1);
    fill(&shop, orders as u64, |number| {
        let at = end - span + number as i64 * span / orders;
        let order = order(&mut random, Taste::OneHot(PRODUCTS));
        let reference = (number == 77).then(|| "PO-77".to_owned());
        (PlaceOrder { reference, ..order }, growing_key(number), Some(at))
    });
    for part in [1, 50, 99] {
        shop.cancel_order(OrderId::new(orders * part / 100), &growing_key(u64::MAX - part as u64))
            .unwrap();
    }
    println!("{orders} orders of 3 lines over 300 days, 3 of them cancelled, {PRODUCTS} products");

    let all = OrderFilter::default;
    let cancelled = Some(OrderStatus::Cancelled);
    let hot = Some(ProductId::new(1));
    let some = Some(ProductId::new(PRODUCTS / 2));
    let day =
        (Some(Timestamp::from_unix(end - 200 * DAY)), Some(Timestamp::from_unix(end - 199 * DAY)));
    let filters = [
        ("all, newest first", all()),
        ("the three cancelled", OrderFilter { status: cancelled, ..all() }),
        (
            "the cancelled with product 1",
            OrderFilter { status: cancelled, product_id: hot, ..all() },
        ),
        (
            "paid, with product 1 (in each)",
            OrderFilter { product_id: hot, status: Some(OrderStatus::Paid), ..all() },
        ),
        ("with product 5,000 (1 in 3,000)", OrderFilter { product_id: some, ..all() }),
        ("with a product never sold", OrderFilter { product_id: Some(rare), ..all() }),
        ("of one customer", OrderFilter { customer_id: Some(CustomerId::new(3)), ..all() }),
        ("of a reference", OrderFilter { reference: Some("PO-77".to_owned()), ..all() }),
        ("of a day 200 days ago", OrderFilter { from: day.0, to: day.1, ..all() }),
    ];
    for (name, filter) in &filters {
        let read = |page: &PageRequest| shop.list_orders(filter, page).unwrap();
        measure(&format!("orders {name}"), read);
    }
    for (name, product) in [("hot", 1), ("usual", PRODUCTS / 2)] {
        let read =
            |page: &PageRequest| shop.product_history(ProductId::new(product), page).unwrap();
        measure(&format!("history of a {name} product"), read);
    }
    let search = ProductFilter { search: Some("nothing".to_owned()), ..Default::default() };
    measure("search of products without a match", |page| {
        shop.list_products(&search, page).unwrap()
    });
    measure("search of customers", |page| shop.search_customers(Some("9"), page).unwrap());
}

/// Measures the first page of 20 items, and the first 20 items along the cursors.
fn measure<T>(name: &str, read: impl Fn(&PageRequest) -> Page<T>) {
    let page = times(50, || drop(read(&PageRequest::first(20))));
    let mut pages = 0;
    let list = times(3, || {
        let mut request = PageRequest::first(20);
        let mut found = 0;
        pages = 0;
        loop {
            let page = read(&request);
            pages += 1;
            found += page.items.len();
            request.cursor = page.next_cursor;
            if found >= 20 || request.cursor.is_none() {
                break;
            }
        }
    });
    println!(
        "{name:<48} page: median {:>8.3} ms, p99 {:>8.3} ms   20 items: {:>9.1} ms in {pages} pages",
        page[25], page[49], list[1]
    );
}

/// Returns the times of runs in milliseconds, sorted.
fn times(count: usize, mut run: impl FnMut()) -> Vec<f64> {
    let mut times: Vec<f64> = (0..count)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times
}
