//! Exports: every kind in both formats agrees with the lists, the audit and the reports, also while others write.

use crate::common::{NOW, On, World, key};
use commerce_core::{
    AddCustomer, AddProduct, CancelOrder, Code, Customer, Export, ExportError, ExportFormat,
    ExportKind, ExportWindow, Exporter, Money, PageRequest, Patch, PayWhen, PlaceOrder, Product,
    ProductId, SalesReportRequest, Shop, Timestamp, UpdateCoupon, UpdateProduct, Window,
};
use rstest::rstest;
use serde::Serialize;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::io::{self, Write};
use std::thread::{self, ScopedJoinHandle};

/// Rows of CSV, each by column.
type Rows = Vec<HashMap<String, String>>;

fn text(exporter: &Exporter<'_>, export: &Export) -> (u64, String) {
    let mut out = Vec::new();
    let rows = exporter.write(export, &mut out).unwrap();
    (rows, String::from_utf8(out).unwrap())
}

fn csv(exporter: &Exporter<'_>, export: &Export) -> Rows {
    let (rows, text) = text(exporter, export);
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    assert_eq!(reader.headers().unwrap(), export.kind.columns());
    let read: Rows = reader.deserialize().map(Result::unwrap).collect();
    assert_eq!(read.len(), usize::try_from(rows).unwrap());
    read
}

fn json(exporter: &Exporter<'_>, kind: ExportKind) -> Vec<Value> {
    let export = Export { format: ExportFormat::Ndjson, ..Export::new(kind) };
    let (rows, text) = text(exporter, &export);
    assert_eq!(text.lines().count(), usize::try_from(rows).unwrap());
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn number(row: &HashMap<String, String>, column: &str) -> i64 {
    let cell = &row[column];
    if cell.is_empty() { 0 } else { cell.parse().unwrap() }
}

/// Adds up a column by the value of another one.
fn sums(rows: &Rows, by: &str, column: &str) -> BTreeMap<i64, i64> {
    let mut sums = BTreeMap::new();
    for row in rows {
        *sums.entry(number(row, by)).or_default() += number(row, column);
    }
    sums
}

fn total(rows: &Rows, column: &str) -> i64 {
    rows.iter().map(|row| number(row, column)).sum()
}

struct History {
    world: World,
    kim: Customer,
    tea: Product,
}

/// Orders in every status, with and without a coupon, an adjustment, a debit and an archived product.
fn history(on: On) -> History {
    let world = World::new(on);
    let (kim, lee) = (world.customer(100_000), world.customer(50_000));
    let (tea, cup) = (world.product(300, 1_000), world.product(70, 500));
    let shop = &world.shop;
    let coupon = world.coupon(5, 100);
    let owned = shop.claim_coupon(coupon.id, kim.id, &key("claim")).unwrap();
    shop.claim_coupon(coupon.id, lee.id, &key("claim")).unwrap();
    let items = [(tea.id, 2), (cup.id, 3)];
    let place = |order: PlaceOrder, name: &str| shop.place_order(order, &key(name)).unwrap();
    place(PlaceOrder { reference: Some("A-1".into()), ..PlaceOrder::new(kim.id, items) }, "1");
    world.clock.set(NOW.plus_seconds(10));
    let coupon = Some(owned.id);
    place(PlaceOrder { owned_coupon_id: coupon, ..PlaceOrder::new(kim.id, items) }, "2");
    let later = |units| PlaceOrder {
        pay: PayWhen::Later,
        reference: Some(format!("= 1 + {units}")),
        ..PlaceOrder::new(lee.id, [(tea.id, units)])
    };
    place(later(7), "expires");
    let paid = place(later(11), "paid");
    world.clock.set(NOW.plus_seconds(20));
    shop.pay_order(paid.id, &key("pay")).unwrap();
    let cancelled = place(PlaceOrder::new(lee.id, [(cup.id, 13)]), "cancelled");
    shop.cancel_order(cancelled.id, &key("cancel")).unwrap();
    shop.adjust_stock(tea.id, -5, "-broken, \"twice\"", &key("adjust")).unwrap();
    shop.debit(kim.id, Money::from_minor(40), &key("debit")).unwrap();
    let archived = AddProduct::new("=cmd|' /C calc'!A0", Money::from_minor(9), 4);
    let archived = shop.call(archived).run().unwrap();
    shop.call(UpdateProduct::archive(archived.id)).run().unwrap();
    world.clock.set(NOW.plus_seconds(2_000));
    place(later(17), "held");
    History { world, kim, tea }
}

/// Checks that the exports of one snapshot agree with each other.
fn assert_agree(exporter: &Exporter<'_>) {
    let rows = |kind| csv(exporter, &Export::new(kind));
    let products: BTreeMap<_, _> = sums(&rows(ExportKind::Products), "id", "stock");
    assert_eq!(sums(&rows(ExportKind::Movements), "product_id", "delta"), products);
    let balances: BTreeMap<_, _> = sums(&rows(ExportKind::Customers), "id", "balance");
    let ledger = rows(ExportKind::Ledger);
    assert_eq!(sums(&ledger, "customer_id", "amount"), balances);
    let (orders, lines) = (rows(ExportKind::Orders), rows(ExportKind::Lines));
    assert_eq!(orders.len(), lines.len());
    for (order, line) in [("amount", "amount"), ("subtotal", "amount"), ("total", "net")] {
        assert_eq!(total(&orders, order), total(&lines, line));
    }
    let paid: Rows = lines.into_iter().filter(|row| row["status"] == "paid").collect();
    let is_of_order = |row: &&HashMap<String, String>| !row["order_id"].is_empty();
    let spent: i64 = ledger.iter().filter(is_of_order).map(|row| number(row, "amount")).sum();
    assert_eq!(total(&paid, "net"), -spent);
    let payments = ledger.iter().filter(|row| row["kind"] == "payment").count();
    let events = rows(ExportKind::Events);
    assert_eq!(events.iter().filter(|row| row["type"] == "order.paid").count(), payments);
    let claims = rows(ExportKind::Claims);
    assert_eq!(total(&rows(ExportKind::Coupons), "issued"), i64::try_from(claims.len()).unwrap());
}

/// Returns all items of a list, as the API shows them.
fn items<T: Serialize>(
    shop: &Shop,
    mut read: impl FnMut(&PageRequest) -> commerce_core::Page<T>,
) -> Vec<Value> {
    let (mut page, mut items) = (PageRequest::first(100), Vec::new());
    loop {
        let read = read(&page);
        items.extend(
            read.items
                .into_iter()
                .map(|item| serde_json::to_value(shop.in_currency(item)).unwrap()),
        );
        page.cursor = read.next_cursor;
        if page.cursor.is_none() {
            return items;
        }
    }
}

fn without(mut rows: Vec<Value>, member: &str) -> Vec<Value> {
    for row in &mut rows {
        row.as_object_mut().unwrap().remove(member);
    }
    rows
}

#[rstest]
fn exports_agree_with_lists_audit_and_reports(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let History { world, kim, tea } = history(on);
    let shop = &world.shop;
    let exporter = shop.exporter().unwrap();
    assert_agree(&exporter);
    let orders = json(&exporter, ExportKind::Orders);
    let events = json(&exporter, ExportKind::Events);
    let products = json(&exporter, ExportKind::Products);
    let customers = json(&exporter, ExportKind::Customers);
    let ledger = json(&exporter, ExportKind::Ledger);
    let coupons = json(&exporter, ExportKind::Coupons);
    let claims = json(&exporter, ExportKind::Claims);
    let counts = ExportKind::ALL.iter().map(|kind| json(&exporter, *kind).len());
    assert_eq!(counts.collect::<Vec<_>>(), [3, 2, 6, 8, 8, 14, 1, 2, 5]);
    drop(exporter);

    assert_eq!(products[0]["stock"], 1_000 - 2 - 2 - 11 - 5 - 17);
    assert_eq!(products[..2], items(shop, |page| shop.products(page).unwrap()));
    assert_eq!(products[2]["status"], "archived");
    assert_eq!(events, items(shop, |page| shop.events(page).unwrap()));
    assert_eq!(coupons, items(shop, |page| shop.coupons(page).unwrap()));
    let listed = items(shop, |page| shop.customers(page).unwrap());
    assert_eq!(without(customers.clone(), "balance"), listed);
    assert_eq!(customers[0]["balance"], shop.balance(kim.id).unwrap().balance.minor());
    let mut of_kim = items(shop, |page| shop.ledger(kim.id, page).unwrap());
    of_kim.reverse();
    let is_of_kim = |row: &&Value| row["customer_id"] == kim.id.get();
    assert_eq!(ledger.iter().filter(is_of_kim).cloned().collect::<Vec<_>>(), of_kim);
    let mut of_kim = items(shop, |page| shop.orders(kim.id, page).unwrap());
    of_kim.reverse();
    assert_eq!(orders.iter().filter(is_of_kim).cloned().collect::<Vec<_>>(), of_kim);
    // The campaign is over.
    let owned = shop.owned_coupons(kim.id, &PageRequest::first(1)).unwrap().items;
    assert_eq!(claims[0], serde_json::to_value(&owned[0]).unwrap());
    assert_eq!(claims[1]["status"], "expired");

    let statuses: Vec<_> = orders.iter().map(|order| order["status"].as_str().unwrap()).collect();
    assert_eq!(statuses, ["paid", "paid", "expired", "paid", "cancelled", "pending"]);
    let window = Window::Between { from: NOW.plus_seconds(-1), to: None };
    let sales =
        shop.prove(&SalesReportRequest { window, ..Default::default() }).unwrap().report.totals;
    let paid_at = |order: &&Value| !order["paid_at"].is_null();
    let gross: i64 =
        orders.iter().filter(paid_at).map(|order| order["subtotal"].as_i64().unwrap()).sum();
    assert_eq!((sales.gross.minor(), sales.orders), (gross, 4));
    let checked = shop.audit().unwrap().checked;
    let rows = |table: &str| usize::try_from(checked[table]).unwrap();
    assert_eq!((rows("orders"), rows("ledger"), rows("events")), (6, ledger.len(), events.len()));
    assert_eq!(products[0]["id"], tea.id.get());
    world.assert_clean();
}

#[rstest]
fn movements_show_adjustments_and_orders_alike(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let History { world, tea, .. } = history(on);
    let exporter = world.shop.exporter().unwrap();
    let of_tea = json(&exporter, ExportKind::Movements).into_iter();
    let of_tea = of_tea.filter(|row| row["product_id"] == tea.id.get());
    let rows: Vec<(i64, String, Option<i64>)> = of_tea
        .map(|row| {
            let reason = row["reason"].as_str().unwrap().to_owned();
            (row["delta"].as_i64().unwrap(), reason, row["order_id"].as_i64())
        })
        .collect();
    let expected = [
        (1_000, "first stock", None),
        (-5, "-broken, \"twice\"", None),
        (-2, "ordered", Some(1)),
        (-2, "ordered", Some(2)),
        (-7, "ordered", Some(3)),
        (7, "order expired", Some(3)),
        (-11, "ordered", Some(4)),
        (-17, "ordered", Some(6)),
    ];
    let expected = expected.map(|(delta, reason, order)| (delta, reason.to_owned(), order));
    assert_eq!(rows, expected);
}

/// Parts of a paid order and of an unpaid one: exports have what was ordered, what was cancelled of it, and the stock that came
/// back.
#[rstest]
fn exports_have_the_parts_that_were_cancelled(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let History { world, kim, tea } = history(on);
    let shop = &world.shop;
    let cancel = |order: i64, units, keep_stock| {
        let request =
            CancelOrder { order_id: order.into(), items: Some(vec![(tea.id, units)]), keep_stock };
        shop.call(request).run().unwrap()
    };
    // Order 2 has 2 of tea and 3 of cup for 810, less 100 by its coupon: 74 of the line of tea and 26 of that of cup.
    let refunded = cancel(2, 1, false).refunded().minor();
    cancel(4, 3, true);
    cancel(6, 5, false);
    let exporter = shop.exporter().unwrap();
    let rows = |kind| csv(&exporter, &Export::new(kind));
    for (kind, id) in [(ExportKind::Orders, "order"), (ExportKind::Lines, "order_id")] {
        let rows = rows(kind);
        let cancelled = |order: &str| -> Vec<i64> {
            let lines = rows.iter().filter(|row| row[id] == order);
            lines.map(|row| number(row, "cancelled_quantity")).collect()
        };
        let (second, expired) = if id == "order" { ("id:2", "id:3") } else { ("2", "3") };
        assert_eq!(cancelled(second), [1, 0]);
        assert_eq!(cancelled(expired), [7]);
        assert_eq!(total(&rows, "cancelled_quantity"), 1 + 3 + 5 + 7 + 13);
    }
    let of_order = |row: &&HashMap<String, String>| row["order"] == "id:2";
    let orders = rows(ExportKind::Orders);
    let back: Vec<_> = orders.iter().filter(of_order).map(|row| number(row, "refunded")).collect();
    assert_eq!(back, [refunded, 0], "in the first row of the order");
    let (products, movements) = (rows(ExportKind::Products), rows(ExportKind::Movements));
    assert_eq!(sums(&movements, "product_id", "delta"), sums(&products, "id", "stock"));
    let parts: Vec<_> = movements
        .iter()
        .filter(|row| row["reason"] == "part of order cancelled")
        .map(|row| (number(row, "order_id"), number(row, "delta")))
        .collect();
    assert_eq!(parts, [(2, 1), (6, 5)]);
    let ledger = rows(ExportKind::Ledger);
    assert_eq!(
        sums(&ledger, "customer_id", "amount"),
        sums(&rows(ExportKind::Customers), "id", "balance")
    );
    // An import places the paid orders whole, and no unpaid one.
    let before = |kind| csv(&exporter, &Export { before_orders: true, ..Export::new(kind) });
    let stock = |rows: &Rows| sums(rows, "id", "stock")[&tea.id.get()];
    let placed = 2 + 2 + 11;
    let held = 17 - 5;
    assert_eq!(stock(&before(ExportKind::Products)), stock(&products) + placed + held);
    let balance = |rows: &Rows| sums(rows, "id", "balance")[&kim.id.get()];
    let price = 2 * 810 - 100;
    let now = balance(&rows(ExportKind::Customers));
    assert_eq!(balance(&before(ExportKind::Customers)), now + price);
    world.assert_clean();
}

/// Takes all exports again and again while four threads sell, adjust and cancel. The snapshot from
/// before them is read to the end after them.
#[rstest]
fn exports_of_one_snapshot_agree_while_others_write(#[values(On::Sqlite, On::Postgres)] on: On) {
    let History { world, kim, tea } = history(on);
    let (shop, kim, tea) = (&world.shop, kim.id, tea.id);
    let before = shop.exporter().unwrap();
    let events = json(&before, ExportKind::Events);
    let mut counts = vec![events.len()];
    thread::scope(|scope| {
        let write = |writer| {
            for number in 0..25 {
                let key = |what: &str| key(&format!("{what}-{writer}-{number}"));
                shop.adjust_stock(tea, 1, "more", &key("adjust")).unwrap();
                let order = PlaceOrder::new(kim, [(tea, 1)]);
                let order = shop.place_order(order, &key("order")).unwrap();
                if number % 3 > 0 {
                    shop.cancel_order(order.id, &key("cancel")).unwrap();
                }
            }
        };
        let writers = [0, 1, 2, 3].map(|writer| scope.spawn(move || write(writer)));
        loop {
            let exporter = shop.exporter().unwrap();
            assert_agree(&exporter);
            counts.push(json(&exporter, ExportKind::Events).len());
            if writers.iter().all(ScopedJoinHandle::is_finished) {
                break;
            }
        }
    });
    assert_agree(&before);
    assert_eq!(json(&before, ExportKind::Events), events);
    drop(before);
    counts.push(json(&shop.exporter().unwrap(), ExportKind::Events).len());
    assert!(counts.is_sorted(), "{counts:?}");
    assert!(counts.first() < counts.last(), "{counts:?}");
    world.assert_clean();
}

#[rstest]
fn window_is_after_its_start_and_includes_its_end(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let History { world, .. } = history(on);
    let exporter = world.shop.exporter().unwrap();
    let counts = |from: Option<i64>, to: Option<i64>| -> Vec<usize> {
        let at = |seconds: Option<i64>| seconds.map(|seconds| NOW.plus_seconds(seconds));
        let window = ExportWindow { from: at(from), to: at(to) };
        let count = |kind: &ExportKind| {
            let export = Export { window, ..Export::new(*kind) };
            csv(&exporter, &export).len()
        };
        ExportKind::ALL.iter().map(count).collect()
    };
    assert_eq!(counts(None, None), [3, 2, 8, 8, 8, 14, 1, 2, 5]);
    let first = counts(None, Some(0));
    let second = counts(Some(0), Some(10));
    let third = counts(Some(10), None);
    let all = counts(None, None);
    for (index, kind) in ExportKind::ALL.iter().enumerate() {
        let parts = first[index] + second[index] + third[index];
        assert_eq!(parts, if kind.has_window() { all[index] } else { 3 * all[index] }, "{kind}");
    }
    let window = ExportWindow { from: Some(NOW), to: Some(NOW) };
    let export = Export { window, ..Export::new(ExportKind::Orders) };
    let Err(ExportError::Shop(error)) = exporter.write(&export, &mut io::sink()) else { panic!() };
    assert_eq!(error.code(), Code::InvalidRequest);
}

/// An import of the price of a sale would make it the regular one.
#[test]
fn price_of_a_sale_is_in_the_objects_and_the_regular_one_in_csv() {
    let World { shop, .. } = &World::new(On::Sqlite);
    let tea = shop.call(AddProduct::new("Tea", Money::from_minor(300), 10)).run().unwrap();
    let sale_price = Patch::Set(Money::from_minor(250));
    let sale_until = Patch::Set(NOW.plus_seconds(60));
    let sale = UpdateProduct { sale_price, sale_until, ..UpdateProduct::new(tea.id) };
    shop.call(sale).run().unwrap();
    let exporter = shop.exporter().unwrap();
    let row = &csv(&exporter, &Export::new(ExportKind::Products))[0];
    assert_eq!(["price", "sale_price"].map(|column| number(row, column)), [300, 250]);
    assert_eq!(row["sale_until"], NOW.plus_seconds(60).to_string());
    assert_eq!(json(&exporter, ExportKind::Products)[0]["price"], 250);
}

#[test]
fn limit_of_a_product_and_stop_of_a_campaign_are_in_csv() {
    let world = World::new(On::Sqlite);
    let (tea, _) = (world.product(300, 10), world.product(70, 10));
    let limit_per_customer = Patch::Set(4);
    let limit = UpdateProduct { limit_per_customer, ..UpdateProduct::new(tea.id) };
    world.shop.call(limit).run().unwrap();
    let (stopped, _) = (world.coupon(5, 100), world.coupon(5, 100));
    world.clock.set(NOW.plus_seconds(30));
    world.shop.call(UpdateCoupon::stop(stopped.id)).run().unwrap();
    let exporter = world.shop.exporter().unwrap();
    let column = |kind, name: &str| -> Vec<String> {
        csv(&exporter, &Export::new(kind)).iter().map(|row| row[name].clone()).collect()
    };
    assert_eq!(column(ExportKind::Products, "limit_per_customer"), ["4", ""]);
    let stop = NOW.plus_seconds(30).to_string();
    assert_eq!(column(ExportKind::Coupons, "stopped_at"), [&*stop, ""]);
}

#[test]
fn formulas_are_defused_unless_raw() {
    let History { world, .. } = history(On::Memory);
    let exporter = world.shop.exporter().unwrap();
    let export = Export::new(ExportKind::Products);
    let (_, defused) = text(&exporter, &export);
    assert!(defused.contains("\r\n3,'=cmd|' /C calc'!A0,9,4,archived,,,,,\r\n"), "{defused}");
    let (_, raw) = text(&exporter, &Export { raw: true, bom: true, ..export });
    assert!(raw.contains("\r\n3,=cmd|' /C calc'!A0,9,4,archived,,,,,\r\n"), "{raw}");
    assert!(raw.starts_with("\u{feff}id,name,price,stock,status,"));
    let json = json(&exporter, ExportKind::Movements);
    assert!(json.iter().any(|row| row["reason"] == "-broken, \"twice\""));
}

/// Order-level values are in the first row of an order. A reference that imports do not accept is replaced by the id.
#[test]
fn orders_have_the_rows_of_an_import() {
    let History { world, .. } = history(On::Memory);
    let exporter = world.shop.exporter().unwrap();
    let rows = csv(&exporter, &Export::new(ExportKind::Orders));
    let cells = |column: &str| -> Vec<&str> { rows.iter().map(|row| &*row[column]).collect() };
    assert_eq!(
        ExportKind::Orders.columns()[..5].join(","),
        "order,customer_id,placed_at,product_id,quantity"
    );
    assert_eq!(cells("order"), ["A-1", "A-1", "id:2", "id:2", "id:3", "id:4", "id:5", "id:6"]);
    assert_eq!(cells("id"), ["1", "", "2", "", "3", "4", "5", "6"]);
    assert_eq!(cells("total"), ["810", "", "710", "", "2100", "3300", "910", "5100"]);
    assert_eq!(cells("reference")[..5], ["A-1", "", "", "", "'= 1 + 7"]);
    assert_eq!(cells("placed_at")[0], NOW.to_string());
}

/// A receiver that accepts some bytes.
struct Closing {
    room: usize,
    writes: usize,
}

impl Write for Closing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writes += 1;
        self.room = self.room.checked_sub(bytes.len()).ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[rstest]
fn export_ends_with_the_first_failure_of_its_receiver(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
    #[values(ExportFormat::Csv, ExportFormat::Ndjson)] format: ExportFormat,
) {
    let world = World::new(on);
    let name = "x".repeat(200);
    let add = |_| world.shop.call(AddProduct::new(&name, Money::from_minor(1), 1)).submit();
    (0..2_000).map(add).collect::<Vec<_>>().into_iter().for_each(|call| drop(call.wait().unwrap()));
    for kind in [ExportKind::Products, ExportKind::Movements] {
        let mut out = Closing { room: 0, writes: 0 };
        let export = Export { format, ..Export::new(kind) };
        let error = world.shop.export(&export, &mut out).unwrap_err();
        let ExportError::Write(error) = error else { panic!("{error}") };
        assert_eq!((error.kind(), out.writes), (io::ErrorKind::BrokenPipe, 1));
    }
    world.assert_clean();
}

#[test]
fn stock_and_balance_before_orders_are_those_that_an_import_of_the_orders_needs() {
    let History { world, kim, tea } = history(On::Sqlite);
    let exporter = world.shop.exporter().unwrap();
    let before = |kind, to: Option<Timestamp>| {
        let window = ExportWindow { from: None, to };
        csv(&exporter, &Export { before_orders: true, window, ..Export::new(kind) })
    };
    let stock = |to| sums(&before(ExportKind::Products, to), "id", "stock")[&tea.id.get()];
    let now = world.shop.product(ProductId::new(1)).unwrap().stock;
    assert_eq!((stock(None), stock(Some(NOW))), (now + 2 + 2 + 11 + 17, now + 2 + 17));
    let balances = sums(&before(ExportKind::Customers, None), "id", "balance");
    assert_eq!(balances[&kim.id.get()], 100_000 - 40);
    let export = Export { before_orders: true, ..Export::new(ExportKind::Lines) };
    assert!(matches!(exporter.write(&export, &mut io::sink()), Err(ExportError::Shop(_))));
}

#[test]
fn names_in_any_script_survive() {
    let world = World::new(On::Sqlite);
    world.shop.call(AddCustomer::new("김, \"영희\" 둘째 줄")).run().unwrap();
    let exporter = world.shop.exporter().unwrap();
    let rows = csv(&exporter, &Export::new(ExportKind::Customers));
    assert_eq!(rows[0]["name"], "김, \"영희\" 둘째 줄");
    assert_eq!(json(&exporter, ExportKind::Customers)[0]["name"], "김, \"영희\" 둘째 줄");
}
