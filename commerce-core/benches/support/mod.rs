//! Helpers of the benches: a small random generator, stores to work on, and the hand-written
//! baseline that every figure is compared with.

#![allow(dead_code, reason = "each bench uses a part of it")]

use commerce_core::{
    AddCustomer, AddProduct, Currency, CustomerId, Key, Money, PlaceOrder, ProductId, Shop,
    SqliteStore,
};
use rusqlite::{Connection, OptionalExtension, params};
use std::path::Path;

/// The number of customers.
pub const CUSTOMERS: i64 = 1_000;
/// The number of lines of an order.
pub const LINES: i64 = 3;

/// The value that follows that name on the command line.
pub fn argument(name: &str) -> Option<String> {
    std::env::args().skip_while(|argument| argument != name).nth(1)
}

/// The number that follows that name on the command line, or the usual one.
pub fn number_argument(name: &str, usual: u64) -> u64 {
    argument(name).and_then(|value| value.parse().ok()).unwrap_or(usual)
}

/// SplitMix64: repeatable, and random enough to choose products.
#[derive(Clone)]
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: i64) -> i64 {
        (self.next() % bound as u64) as i64
    }
}

/// The choice of an order's products.
#[derive(Clone, Copy, PartialEq)]
pub enum Taste {
    /// Three different products of all.
    Spread(i64),
    /// Product 1, and two others.
    OneHot(i64),
}

pub fn items(random: &mut Random, taste: Taste) -> Vec<(ProductId, i64)> {
    let (Taste::Spread(products) | Taste::OneHot(products)) = taste;
    let first = random.below(products);
    let mut items: Vec<_> = (0..LINES)
        .map(|line| (ProductId::new((first + line * 7) % products + 1), 1 + random.below(3)))
        .collect();
    if let Taste::OneHot(_) = taste
        && items.iter().all(|(id, _)| id.get() != 1)
    {
        items[0].0 = ProductId::new(1);
    }
    items
}

pub fn order(random: &mut Random, taste: Taste) -> PlaceOrder {
    let customer = CustomerId::new(1 + random.below(CUSTOMERS));
    PlaceOrder::new(customer, items(random, taste))
}

/// Returns a key as programs generate them: time first, so that keys increase.
pub fn growing_key(number: u64) -> Key {
    Key::new(&format!(
        "0193a5c7-{:04x}-7{:03x}-8{:03x}-{:012x}",
        number >> 32,
        number >> 20 & 0xfff,
        number >> 8 & 0xfff,
        number
    ))
    .unwrap()
}

/// Returns a random key.
pub fn random_key(random: &mut Random) -> Key {
    let (a, b) = (random.next(), random.next());
    Key::new(&format!(
        "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
        a >> 32,
        a >> 16 & 0xffff,
        a & 0xfff,
        b >> 52,
        b & 0xffff_ffff_ffff
    ))
    .unwrap()
}

/// Opens a shop with enough money and stock for all orders.
pub fn shop(file: &Path, products: i64) -> Shop {
    let shop = Shop::open(SqliteStore::create(file, Currency::KRW).unwrap());
    let mut tickets = Vec::new();
    for id in 1..=CUSTOMERS {
        let request = AddCustomer {
            id: Some(CustomerId::new(id)),
            balance: Money::from_minor(1_000_000_000_000),
            ..AddCustomer::new(format!("Customer {id}"))
        };
        tickets.push(shop.call(request).submit());
    }
    tickets.into_iter().for_each(|ticket| drop(ticket.wait().unwrap()));
    let mut tickets = Vec::new();
    for id in 1..=products {
        let request = AddProduct {
            id: Some(ProductId::new(id)),
            ..AddProduct::new(
                format!("Product number {id}"),
                Money::from_minor(100 + id % 900),
                1_000_000_000,
            )
        };
        tickets.push(shop.call(request).submit());
    }
    tickets.into_iter().for_each(|ticket| drop(ticket.wait().unwrap()));
    shop
}

/// Places orders, hundreds to a commit, until the store has that many more.
pub fn fill(shop: &Shop, orders: u64, mut make: impl FnMut(u64) -> (PlaceOrder, Key, Option<i64>)) {
    let mut waiting = std::collections::VecDeque::new();
    for number in 0..orders {
        let (order, key, at) = make(number);
        let call = match at {
            Some(at) => shop.call_at(order, commerce_core::Timestamp::from_unix(at)),
            None => shop.call(order),
        };
        waiting.push_back(call.key(&key).submit());
        if waiting.len() >= 2_048 {
            waiting.pop_front().unwrap().wait().unwrap();
        }
    }
    waiting.into_iter().for_each(|ticket| drop(ticket.wait().unwrap()));
}

/// The baseline, a loop written by hand: a transaction an order, cached statements, the same rows
/// in the same tables, the same constraints, and 0 for the status and the kinds of a paid order. It makes
/// only the checks that the rules make.
pub struct Baseline {
    db: Connection,
}

impl Baseline {
    /// Opens the file of a store that [`shop`] has filled and that is not open.
    pub fn new(file: &Path) -> Self {
        let db = Connection::open(file).unwrap();
        db.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;
             PRAGMA cache_size = -65536; PRAGMA wal_autocheckpoint = 4096;",
        )
        .unwrap();
        db.set_prepared_statement_cache_capacity(64);
        Self { db }
    }

    pub fn index(&self, order: &PlaceOrder, key: &Key, now: i64) {
        let commerce_core::OrderItems::Listed(items) = &order.items else {
            panic!("no carts here")
        };
        let db = &self.db;
        let customer = order.customer_id.get();
        let run = |sql: &str, values: &[&dyn rusqlite::ToSql]| {
            db.prepare_cached(sql).unwrap().execute(values).unwrap();
        };
        run("BEGIN IMMEDIATE", &[]);
        let known: Option<i64> = db
            .prepare_cached(
                "SELECT fingerprint FROM idempotency_keys WHERE key = ?1 AND owner = ?2",
            )
            .unwrap()
            .query_row(params![key.as_str(), customer], |row| row.get(0))
            .optional()
            .unwrap();
        assert!(known.is_none());
        let (balance, last_entry, last_order): (i64, Option<i64>, Option<i64>) = db
            .prepare_cached("SELECT balance, last_entry, last_order FROM customers WHERE id = ?1")
            .unwrap()
            .query_row([customer], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .unwrap();
        let mut lines = Vec::new();
        let mut total = 0;
        for (product, units) in items {
            let (name, price, stock): (String, i64, i64) = db
                .prepare_cached(
                    "SELECT name, price, stock FROM products WHERE id = ?1 AND status = 'active'",
                )
                .unwrap()
                .query_row([product.get()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
                .unwrap();
            assert!(stock >= *units);
            total += price * units;
            lines.push((product.get(), name, price, *units));
        }
        assert!(balance >= total);
        let next = |table: &str| -> i64 {
            db.prepare_cached(&format!("SELECT coalesce(max(id), 0) + 1 FROM {table}"))
                .unwrap()
                .query_row([], |row| row.get(0))
                .unwrap()
        };
        let (id, entry, event) = (next("orders"), next("ledger"), next("events"));
        run(
            "INSERT INTO orders (id, customer_id, status, subtotal, discount, paid, refunded,
                                 created_at, paid_at, previous)
             VALUES (?1, ?2, 0, ?3, 0, ?3, 0, ?4, ?4, ?5)",
            &[&id, &customer, &total, &now, &last_order],
        );
        for (index, (product, name, price, units)) in (0_i64..).zip(&lines) {
            run(
                "INSERT INTO order_lines (id, product_id, name, unit_price, quantity)
                 VALUES (?1, ?2, ?3, ?4, ?5)",
                &[&(id * 1024 + index), product, name, price, units],
            );
            run("UPDATE products SET stock = stock - ?2 WHERE id = ?1", &[product, units]);
        }
        run(
            "INSERT INTO ledger (id, customer_id, kind, amount, balance_after, order_id, created_at, previous)
             VALUES (?1, ?2, 0, ?3, ?4, ?5, ?6, ?7)",
            &[&entry, &customer, &-total, &(balance - total), &id, &now, &last_entry],
        );
        run(
            "UPDATE customers SET balance = ?2, last_entry = ?3, last_order = ?4 WHERE id = ?1",
            &[&customer, &(balance - total), &entry, &id],
        );
        run(
            "INSERT INTO events (id, kind, order_id, created_at) VALUES (?1, 0, ?2, ?3)",
            &[&event, &id, &now],
        );
        self.count_sales(&lines, now);
        run(
            "INSERT INTO idempotency_keys (key, owner, fingerprint, answer, created_at)
             VALUES (?1, ?2, ?3, ?4, ?5)",
            &[&key.as_str(), &customer, &0_i64, &format!("{{\"order\":[{id},\"paid\"]}}"), &now],
        );
        run("COMMIT", &[]);
    }

    /// Returns the number of orders.
    pub fn orders(&self) -> u64 {
        let count: i64 =
            self.db.query_row("SELECT count(*) FROM orders", [], |row| row.get(0)).unwrap();
        count as u64
    }

    /// Counts sales by hand: a row a product and hour.
    fn count_sales(&self, lines: &[(i64, String, i64, i64)], now: i64) {
        for (product, _, _, units) in lines {
            self.db
                .prepare_cached(
                    "INSERT INTO bench_sales (hour, product_id, units) VALUES (?1, ?2, ?3)
                     ON CONFLICT DO UPDATE SET units = units + excluded.units",
                )
                .unwrap()
                .execute(params![now / 3600, product, units])
                .unwrap();
        }
    }

    /// Creates the table that [`Baseline::count_sales`] writes.
    pub fn prepare(&self) {
        self.db
            .execute_batch(
                "CREATE TABLE IF NOT EXISTS bench_sales (hour INTEGER, product_id INTEGER, units INTEGER,
                 PRIMARY KEY (hour, product_id)) STRICT, WITHOUT ROWID",
            )
            .unwrap();
    }
}
