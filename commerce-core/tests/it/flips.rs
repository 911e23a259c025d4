//! Single flipped bits in the file of a store: a flip that the audit does not notice affects no
//! money, no stock, no order and no key.
//!
//! `COMMERCE_FLIPS` sets the number of flipped bits, with a fixed seed; the shares are printed.

#![allow(clippy::indexing_slicing, clippy::print_stderr, reason = "a test")]
#![allow(clippy::disallowed_methods, reason = "the environment sets the number of flips")]

use crate::common::{On, World, key};
use commerce_core::{CartEdit, EditCart, Money, PayWhen, PlaceOrder, Shop, SqliteStore};
use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

const FLIPS: usize = 400;

/// Returns the bytes of a store: customers with charges, debits, claims, carts, and some hundred
/// orders that were paid, cancelled or held.
fn store() -> Vec<u8> {
    let world = World::new(On::Sqlite);
    let shop = &world.shop;
    let products: Vec<_> = (0..20).map(|id| world.product(10 + id, 1_000).id).collect();
    let coupon = world.coupon(30, 3).id;
    for customer in 0..20 {
        let id = world.customer(100_000).id;
        let name = |what: &str, number: i64| key(&format!("{what}-{customer}-{number:04}-9f2c"));
        shop.charge(id, Money::from_minor(100), &name("charge", 0)).unwrap();
        shop.debit(id, Money::from_minor(40), &name("debit", 0)).unwrap();
        let owned = shop.claim_coupon(coupon, id, &name("claim", 0)).unwrap().id;
        for number in 0..15_i64 {
            let at = usize::try_from(number).unwrap();
            let order = PlaceOrder {
                owned_coupon_id: (number == 0).then_some(owned),
                pay: if number % 5 == 4 { PayWhen::Later } else { PayWhen::Now },
                ..PlaceOrder::new(id, [(products[at], 1), (products[at + 5], 2)])
            };
            let placed = shop.place_order(order, &name("order", number)).unwrap();
            if number % 5 == 3 {
                shop.cancel_order(placed.id, &name("cancel", number)).unwrap();
            }
        }
        let edit = CartEdit::Set(products[0], 2);
        shop.call(EditCart { customer_id: id, edit }).run().unwrap();
    }
    shop.adjust_stock(products[0], 5, "found some", &key("adjust-1")).unwrap();
    world.assert_clean();
    let file = world.folder.path().join("shop.db");
    drop(world.shop);
    fs::read(file).unwrap()
}

/// All values of each table, by the table's name.
type Tables = BTreeMap<String, Vec<Vec<Value>>>;

/// Returns the columns of each table of an undamaged store.
fn columns(path: &Path) -> BTreeMap<String, Vec<String>> {
    let db = Connection::open(path).unwrap();
    let sql = "SELECT t.name, c.name FROM sqlite_schema AS t, pragma_table_xinfo(t.name) AS c
               WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite%' ORDER BY t.name, c.cid";
    let mut columns: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut select = db.prepare(sql).unwrap();
    let mut rows = select.query([]).unwrap();
    while let Some(row) = rows.next().unwrap() {
        columns.entry(row.get(0).unwrap()).or_default().push(row.get(1).unwrap());
    }
    columns
}

/// Reads all tables of a file without its indexes; returns `None` if a row is unreadable.
fn dump(path: &Path, columns: &BTreeMap<String, Vec<String>>) -> Option<Tables> {
    let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).ok()?;
    let read = |(table, columns): (&String, &Vec<String>)| {
        let names = columns.join(", ");
        let mut select = db.prepare(&format!("SELECT {names} FROM {table} NOT INDEXED")).ok()?;
        let values = |row: &rusqlite::Row<'_>| (0..columns.len()).map(|at| row.get(at)).collect();
        let rows = select.query_map([], values).ok()?.collect::<Result<_, _>>().ok()?;
        Some((table.clone(), rows))
    };
    columns.iter().map(read).collect()
}

/// Returns the columns in which two dumps differ, as `table.column`, or the table if its number of
/// rows differs.
fn differences(
    one: &Tables,
    other: &Tables,
    columns: &BTreeMap<String, Vec<String>>,
) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (table, rows) in one {
        if other[table].len() != rows.len() {
            found.insert(table.clone());
        }
        for (row, other) in rows.iter().zip(&other[table]) {
            let differing = columns[table].iter().zip(row.iter().zip(other));
            let differing = differing.filter(|(_, (one, other))| one != other);
            // Only debits have a digest: that of another entry is never read.
            let is_debit = row.contains(&Value::Text("debit".to_owned()));
            let is_read = |column: &str| table != "ledger" || column != "digest" || is_debit;
            let differing = differing.filter(|(column, _)| is_read(column));
            found.extend(differing.map(|(column, _)| format!("{table}.{column}")));
        }
    }
    found
}

/// Returns true if the audit may miss a change of this column: it holds no money, no stock, no
/// order and no key.
fn may_be_silent(column: &str) -> bool {
    let watched = [
        "orders",
        "order_lines",
        "ledger",
        "charges",
        "owned_coupons",
        "sales",
        "sales_closed",
        "events",
        "deliveries",
    ];
    let (table, field) = column.split_once('.').unwrap_or((column, ""));
    match (table, field) {
        // The trace of a request is only passed on.
        ("events", "trace") => true,
        (table, _) if watched.contains(&table) => false,
        ("idempotency_keys", field) => matches!(field, "answer" | "request"),
        ("customers", field) => matches!(field, "name" | "login" | "role" | "created_at"),
        ("products", field) => matches!(field, "name" | "price" | "status"),
        ("stock_movements", field) => matches!(field, "reason" | "created_at"),
        _ => !field.is_empty(),
    }
}

#[test]
fn audit_notices_flipped_bits_in_money_stock_orders_and_keys() {
    let sound = store();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("flipped.db");
    fs::write(&path, &sound).unwrap();
    let columns = columns(&path);
    let known = dump(&path, &columns).unwrap();
    let flips = std::env::var("COMMERCE_FLIPS").ok().map_or(FLIPS, |flips| flips.parse().unwrap());

    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let (mut named, mut refused, mut harmless) = (0, 0, 0);
    let (mut silent, mut wrong) = (BTreeMap::new(), BTreeMap::new());
    for number in 0..flips {
        // Xorshift.
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let bits = u64::try_from(sound.len()).unwrap() * 8;
        let bit = random % bits;
        let mut flipped = sound.clone();
        flipped[usize::try_from(bit / 8).unwrap()] ^= 1 << (bit % 8);
        // A new path each time: no log or index of the previous round is beside it.
        let path = folder.path().join(format!("{number}.db"));
        fs::write(&path, &flipped).unwrap();
        let differing = dump(&path, &columns).map(|found| differences(&known, &found, &columns));
        let audited = SqliteStore::open(&path)
            .map_err(Into::into)
            .and_then(|store| Shop::open(store).audit());
        match audited {
            Ok(report) if report.ok => match differing {
                Some(altered) if altered.is_empty() => harmless += 1,
                Some(altered) => {
                    for column in altered {
                        let index = if may_be_silent(&column) { &mut silent } else { &mut wrong };
                        *index.entry(column).or_insert(0_usize) += 1;
                    }
                }
                None => panic!("bit {bit}: the audit reads what cannot be read"),
            },
            Ok(_) => named += 1,
            Err(_) => refused += 1,
        }
        fs::remove_file(&path).unwrap();
    }
    let unnoticed: usize = silent.values().sum();
    eprintln!(
        "{flips} flips: {named} named by the audit, {refused} refused at opening, {harmless} in no value, \
         {unnoticed} silent: {silent:?}"
    );
    assert!(wrong.is_empty(), "altered in silence: {wrong:?}");
}
