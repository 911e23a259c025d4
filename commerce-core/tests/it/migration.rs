//! Stores of older versions are migrated with all their rows, and afterwards have the constraints
//! of new ones.

use crate::common::{assert_clean, cluster, key};
use commerce_core::store::State;
use commerce_core::testing::RelayEvents;
use commerce_core::{
    Basis, CancelOrder, Charge, ChargeId, ChargeStatus, CouponReportRequest, CustomerId, EntryKind,
    Error, EventKind, LedgerEntry, ManualClock, Money, Order, OrderId, OrderStatus, PageRequest,
    Period, PlaceOrder, ProductReportRequest, Refusal, ReportRequest, Role, SalesReportRequest,
    Shop, SqliteStore, Store, StoreError, Timestamp, Window, Zone,
};
use commerce_postgres::PostgresStore;
use rstest::rstest;
use rusqlite::Connection;
use std::fmt::Write;
use std::fs;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

/// Kim has charged twice and spent some of it; the statements are the same for SQLite and
/// PostgreSQL.
const ROWS: &str = "
    INSERT INTO customers (id, name, role, balance, last_entry, created_at)
        VALUES (1, 'Kim', 'customer', 25, 3, 1000);
    INSERT INTO charges (id, customer_id, amount, status, created_at)
        VALUES (1, 1, 20, 'succeeded', 1000), (2, 1, 10, 'succeeded', 1001);
    INSERT INTO ledger (id, customer_id, kind, amount, balance_after, charge_id, note, created_at, previous)
        VALUES (1, 1, 'charge', 20, 20, 1, NULL, 1000, NULL),
               (2, 1, 'charge', 10, 30, 2, NULL, 1001, 1),
               (3, 1, 'debit', -5, 25, NULL, 'bag', 1002, 2);
    INSERT INTO idempotency_keys (key, owner, fingerprint, answer, created_at)
        VALUES ('second', 1, 77, '{\"charge\":{\"id\":2,\"customer_id\":1,\"amount\":10,\
\"status\":\"succeeded\",\"balance\":30,\"currency\":\"KRW\",\"created_at\":\"1970-01-01T00:16:41Z\"}}', 1001);";

const KIM: CustomerId = CustomerId::new(1);

/// Asserts that the rows of [`ROWS`] are intact and that the store continues.
fn assert_continues(shop: &Shop) {
    assert_clean(shop);
    let charge = |id| shop.charge_of(KIM, ChargeId::new(id)).unwrap();
    let Charge { amount, status, balance, .. } = charge(2);
    assert_eq!((amount.minor(), status, balance.minor()), (10, ChargeStatus::Succeeded, 30));
    assert_eq!(charge(1).balance.minor(), 20, "the balance right after it");
    assert_eq!(shop.balance(KIM).unwrap().balance.minor(), 25);
    assert_eq!(shop.ledger(KIM, &PageRequest::default()).unwrap().items.len(), 3);
    let next = shop.charge(KIM, Money::from_minor(5), &key("third")).unwrap();
    assert_eq!((next.id.get(), next.balance.minor()), (3, 30));
    assert_clean(shop);
}

/// The folders of the migrations of a file, and of a database.
const FILE: &str = "src/store/sqlite/schema";
const DATABASE: &str = "../commerce-postgres/src/schema";

/// Returns the migrations in a folder that lead to these versions.
fn migrations(folder: &str, versions: RangeInclusive<usize>) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let read = |version| fs::read_to_string(folder.join(format!("{version}.sql"))).unwrap();
    versions.map(read).collect()
}

/// Creates a file of a version, with those rows.
fn older_file(version: usize, rows: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("shop.db");
    let old = Connection::open(&file).unwrap();
    old.execute_batch(&migrations(FILE, 1..=version)).unwrap();
    old.execute_batch(&format!(
        "INSERT INTO store (id, currency) VALUES (1, 'KRW');
         PRAGMA application_id = 1129270605; PRAGMA user_version = {version};"
    ))
    .unwrap();
    old.execute_batch(rows).unwrap();
    (folder, file)
}

#[rstest]
fn older_file_is_migrated(#[values(1, 2)] version: usize) {
    let (_folder, file) = older_file(version, ROWS);
    assert_continues(&Shop::open(SqliteStore::open(&file).unwrap()));
    let store = SqliteStore::open(&file).unwrap();
    let refused = write_an_orphan(&store).unwrap_err();
    assert!(matches!(refused, StoreError::ConstraintViolation(_)), "{refused}");
    let db = Connection::open(&file).unwrap();
    let parents =
        "SELECT count(*) FROM pragma_foreign_key_list('ledger') WHERE \"table\" = 'charges'";
    assert_eq!(db.query_row(parents, [], |row| row.get(0)), Ok(1), "and refers to the new table");
}

#[rstest]
fn logins_of_an_older_file_are_found(#[values(2, 3, 4)] version: usize) {
    let (_folder, file) = older_file(version, LOGINS);
    logins_are_found(&Shop::open(SqliteStore::open(&file).unwrap()));
}

/// Writes a ledger entry of a missing charge, as a defective rule might.
fn write_an_orphan(store: &dyn Store) -> Result<(), StoreError> {
    let mut state = State::new(store.currency());
    state.ledger.push(LedgerEntry {
        id: 99.into(),
        customer_id: KIM,
        kind: EntryKind::Charge,
        amount: Money::from_minor(1),
        balance_after: Money::from_minor(1),
        order_id: None,
        charge_id: Some(77.into()),
        note: None,
        created_at: Timestamp::from_unix(2_000),
        previous: None,
    });
    let mut transaction = store.begin()?;
    transaction.apply(&state)?;
    transaction.commit()
}

/// Customers with logins stored as they were typed: one in another Unicode form than today's, and
/// two that become equal.
const LOGINS: &str = "
    INSERT INTO customers (id, name, login, role, balance, created_at) VALUES
        (2, 'Jose', 'Jose\u{301}', 'customer', 0, 1000), (3, 'Lee', 'LEE', 'customer', 0, 1000),
        (4, 'Lee', 'lee', 'customer', 0, 1000), (5, 'Park', 'park', 'customer', 0, 1000);
    INSERT INTO credentials (customer_id, password) SELECT id,
        '$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$PASSWORD' FROM customers WHERE login IS NOT NULL;";

/// Asserts that the logins of [`LOGINS`] are found in any Unicode form, and that both equal logins
/// are kept.
fn logins_are_found(shop: &Shop) {
    for (typed, id) in [("jos\u{e9}", 2), ("JOSE\u{301}", 2), ("Lee", 4), ("PARK", 5)] {
        assert_eq!(shop.customer_of(typed).unwrap().id.get(), id, "{typed}");
    }
    let lee = shop.customer(CustomerId::new(3)).unwrap();
    assert_eq!(lee.login.as_deref(), Some("LEE"), "kept until a new one is given");
    let given = shop.set_credentials(lee.id, "lee3", "correct horse", Role::Customer).unwrap();
    assert_eq!(shop.customer_of("Lee3").unwrap(), given);
    assert_clean(shop);
}

/// Creates a database with a store of the first version; returns its URL and a client.
fn database_of_the_first_version() -> (String, postgres::Client) {
    let url = cluster::shared().database();
    let mut old = postgres::Client::connect(&url, postgres::NoTls).unwrap();
    old.batch_execute(
        "CREATE TABLE store (
            id BIGINT PRIMARY KEY CHECK (id = 1),
            currency TEXT NOT NULL,
            schema_version BIGINT NOT NULL
        ) WITH (fillfactor = 10)",
    )
    .unwrap();
    old.batch_execute(&migrations(DATABASE, 1..=1)).unwrap();
    old.batch_execute("INSERT INTO store (id, currency, schema_version) VALUES (1, 'KRW', 1)")
        .unwrap();
    old.batch_execute(ROWS).unwrap();
    old.batch_execute(LOGINS).unwrap();
    (url, old)
}

#[test]
fn older_database_is_migrated() {
    let (url, _old) = database_of_the_first_version();
    assert_continues(&Shop::open(PostgresStore::open(&url).unwrap()));
    logins_are_found(&Shop::open(PostgresStore::open(&url).unwrap()));
    let refused = write_an_orphan(&PostgresStore::open(&url).unwrap()).unwrap_err();
    assert!(matches!(refused, StoreError::ConstraintViolation(_)), "{refused}");
}

/// Statistics and logins are as they are today in that version.
#[test]
fn database_of_the_seventh_version_continues() {
    let (url, mut old) = database_of_the_first_version();
    old.batch_execute("DELETE FROM credentials; DELETE FROM customers WHERE login IS NOT NULL")
        .unwrap();
    old.batch_execute(&migrations(DATABASE, 2..=7)).unwrap();
    old.batch_execute("UPDATE store SET schema_version = 7").unwrap();
    assert_continues(&Shop::open(PostgresStore::open(&url).unwrap()));
}

/// Orders of three days in the older versions, with the units that they counted. Kim's first order was placed after the
/// second one (imported history) and cancelled, the third used a coupon, the fourth expired with it, and the fifth
/// waits with another. The roll-up is closed up to the last sale.
const ORDERS: &str = "
    INSERT INTO customers (id, name, role, balance, last_entry, last_order, created_at)
        VALUES (6, 'Choi', 'customer', 5, 6, 4, 1000), (7, 'Han', 'customer', 0, NULL, 5, 1000);
    INSERT INTO products (id, name, price, stock, status)
        VALUES (1, 'Tea', 10, 7, 'active'), (2, 'Cup', 5, 2, 'active');
    INSERT INTO stock_movements (id, product_id, delta, reason, created_at)
        VALUES (1, 1, 10, 'initial stock', 1000), (2, 2, 6, 'initial stock', 1000);
    INSERT INTO coupons (id, name, percent, quantity, issued, valid_from)
        VALUES (1, 'Third', 33, 2, 2, 1000);
    INSERT INTO owned_coupons (id, coupon_id, customer_id, rank, claimed_at)
        VALUES (1, 1, 6, 1, 1000), (2, 1, 7, 2, 1000);
    INSERT INTO charges (id, customer_id, amount, status, created_at, balance_after)
        VALUES (3, 6, 46, 'succeeded', 1000, 46);
    INSERT INTO orders (id, customer_id, status, subtotal, discount, total, paid, refunded, owned_coupon_id,
                        created_at, expires_at, paid_at, cancelled_at, previous)
        VALUES (1, 6, 'paid', 20, 0, 20, 20, 0, NULL, 100000, NULL, 100000, NULL, NULL),
               (2, 6, 'cancelled', 10, 0, 10, 10, 10, NULL, 5000, NULL, 5000, 200000, 1),
               (3, 6, 'paid', 25, 8, 17, 17, 0, 1, 200000, NULL, 200000, NULL, 2),
               (4, 6, 'expired', 10, 3, 7, 0, 0, 1, 300000, 300900, NULL, NULL, 3),
               (5, 7, 'pending', 5, 1, 4, 0, 0, 2, 4000000000, 4000000900, NULL, NULL, NULL);
    UPDATE owned_coupons SET order_id = 3 WHERE id = 1;
    UPDATE owned_coupons SET order_id = 5 WHERE id = 2;
    INSERT INTO ledger (id, customer_id, kind, amount, balance_after, order_id, charge_id, created_at, previous)
        VALUES (4, 6, 'charge', 46, 46, NULL, 3, 1000, NULL),
               (5, 6, 'payment', -20, 26, 1, NULL, 100000, 4),
               (6, 6, 'payment', -10, 16, 2, NULL, 5000, 5),
               (7, 6, 'refund', 10, 26, 2, NULL, 200000, 6),
               (8, 6, 'payment', -17, 9, 3, NULL, 200000, 7);
    UPDATE customers SET balance = 9, last_entry = 8 WHERE id = 6;
    INSERT INTO events (id, kind, order_id, customer_id, created_at)
        VALUES (1, 'order.paid', 1, 6, 100000), (2, 'order.paid', 2, 6, 5000),
               (3, 'order.paid', 3, 6, 200000), (4, 'order.cancelled', 2, 6, 200000);
    INSERT INTO sales (id, counts) VALUES (1, x'0102');
    UPDATE sales_closed SET minutes = 199980, hours = 198000, days = 172800;";

/// The lines of [`ORDERS`] by order, product, price and quantity.
const LINES: [(i64, i64, i64, i64); 6] =
    [(1, 1, 10, 2), (2, 1, 10, 1), (3, 1, 10, 1), (3, 2, 5, 3), (4, 1, 10, 1), (5, 2, 5, 1)];

/// Asserts that the statistics of [`ORDERS`] are exact, and stay so with the next sale.
fn assert_counted(store: impl Store + 'static) {
    let now = Timestamp::from_unix(4_000_000_000);
    let shop = Shop::builder().clock(ManualClock::new(now)).open(store);
    assert_clean(&shop);
    assert_eq!(shop.settings().unwrap().zone, Zone::UTC);
    let to = Some(Timestamp::from_unix(2_000_000_000));
    let window = Window::Between { from: Timestamp::MIN, to };
    for basis in [Basis::Booked, Basis::Standing] {
        let by = Period::Month;
        let request = SalesReportRequest { window, by, basis, ..SalesReportRequest::default() };
        let totals = proven(&shop, &request).totals;
        let counted = (totals.orders, totals.units, totals.net.minor(), totals.first_orders);
        match basis {
            Basis::Booked => {
                assert_eq!(counted, (3, 7, 47, 1));
                assert_eq!((totals.cancelled_orders, totals.refunds.minor()), (1, 10));
            }
            Basis::Standing => assert_eq!(counted, (2, 6, 37, 0)),
        }
    }
    let to = Some(Timestamp::from_unix(250_000));
    let days = Window::Days { days: 3, to };
    let by_day = proven(&shop, &SalesReportRequest { window: days, ..Default::default() });
    let nets: Vec<_> = by_day.buckets.iter().map(|day| day.figures.net.minor()).collect();
    assert_eq!(nets, [10, 20, 17]);
    let products = proven(&shop, &ProductReportRequest { days: 3, at: to, ..Default::default() });
    let sold: Vec<_> = products
        .items
        .iter()
        .map(|item| (item.product_id.get(), item.units, item.net.minor()))
        .collect();
    assert_eq!(sold, [(1, 3, 27), (2, 3, 10)]);
    let campaign = &proven(&shop, &CouponReportRequest).items[0];
    assert_eq!((campaign.used, campaign.given_back), (2, 1));
    assert_eq!((campaign.discounts.minor(), campaign.net.minor()), (8, 17));
    let next = PlaceOrder::new(6.into(), [(2.into(), 1)]);
    shop.place_order(next, &key("next")).unwrap();
    assert_clean(&shop);
    assert_parts(&shop);
}

/// Asserts that the orders of [`ORDERS`] have what they had, and that parts of them can be cancelled. Of order 3, the
/// discount of 8 is 3 of the line of 10 and 5 of that of 15; its units cost 4, 3 and 3.
fn assert_parts(shop: &Shop) {
    let amounts = |order: &Order| [order.paid(), order.due(), order.refunded()].map(Money::minor);
    let orders = [[20, 0, 0], [10, 0, 10], [17, 0, 0], [0, 0, 0], [0, 4, 0]];
    for (id, expected) in (1..).zip(orders) {
        let order = shop.order(OrderId::new(id)).unwrap();
        assert_eq!(amounts(&order), expected, "order {id}");
        assert_eq!(order.cancellations, []);
    }
    let kinds: Vec<_> =
        shop.events(&PageRequest::first(4)).unwrap().items.iter().map(|event| event.kind).collect();
    assert_eq!(kinds[3], EventKind::OrderCancelled);
    let cancel = |order: i64, units| {
        let (order_id, items) = (OrderId::new(order), Some(vec![(2.into(), units)]));
        shop.call(CancelOrder { order_id, items, keep_stock: false }).run().unwrap()
    };
    let balance = shop.balance(6.into()).unwrap().balance.minor();
    assert_eq!(amounts(&cancel(3, 1)), [17, 0, 4]);
    assert_eq!(shop.balance(6.into()).unwrap().balance.minor(), balance + 4);
    assert_eq!(cancel(5, 1).status, OrderStatus::Cancelled);
    assert_clean(shop);
}

fn proven<R: ReportRequest>(shop: &Shop, request: &R) -> R::Report {
    let proof = shop.prove(request).unwrap();
    assert_eq!(proof.differences, []);
    proof.report
}

#[rstest]
fn statistics_of_an_older_file_are_counted(#[values(1, 2, 3, 4, 5, 6, 7)] version: usize) {
    let mut rows = format!("{ROWS}{ORDERS}");
    // Only PostgreSQL keeps the customer of an event.
    rows = rows.replace(
        "order_id, customer_id, created_at)\n        VALUES (1, 'order.paid'",
        "order_id, created_at)\n        VALUES (1, 'order.paid'",
    );
    for (order, kind) in [(1, "paid"), (2, "paid"), (3, "paid"), (2, "cancelled")] {
        rows = rows
            .replace(&format!("'order.{kind}', {order}, 6,"), &format!("'order.{kind}', {order},"));
    }
    if version >= 4 {
        rows.push_str("INSERT INTO epochs (first_event, name) VALUES (1, '');");
    }
    if version < 3 {
        // The third version added the balance after a charge.
        rows = rows.replace(", balance_after)\n        VALUES (3,", ")\n        VALUES (3,");
        rows = rows.replace("1000, 46);", "1000);");
    } else {
        rows = rows.replace(
            "status, created_at)\n        VALUES (1,",
            "status, created_at, balance_after)\n        VALUES (1,",
        );
        rows = rows.replace(
            "'succeeded', 1000), (2, 1, 10, 'succeeded', 1001)",
            "'succeeded', 1000, 20), (2, 1, 10, 'succeeded', 1001, 30)",
        );
    }
    for (order, product, price, quantity) in LINES {
        let id = (order << 10) + i64::from((order, product) == (3, 2));
        write!(
            rows,
            "INSERT INTO order_lines (id, product_id, name, unit_price, quantity)
                      VALUES ({id}, {product}, 'Tea', {price}, {quantity});"
        )
        .unwrap();
    }
    let (_folder, file) = older_file(version, &rows);
    assert_counted(SqliteStore::open(&file).unwrap());
}

#[rstest]
fn statistics_of_an_older_database_are_counted(#[values(1, 2, 3, 4, 5, 6)] version: usize) {
    let (url, mut old) = database_of_the_first_version();
    old.batch_execute(&migrations(DATABASE, 2..=version)).unwrap();
    old.batch_execute(&format!("UPDATE store SET schema_version = {version}")).unwrap();
    let mut rows = ORDERS.replace("x'0102'", r"'\x0102'");
    if version >= 3 {
        rows.push_str("INSERT INTO epochs (first_event, name) VALUES (1, '');");
    }
    if version < 2 {
        rows = rows.replace(", balance_after)\n        VALUES (3,", ")\n        VALUES (3,");
        rows = rows.replace("1000, 46);", "1000);");
    }
    for (order, product, price, quantity) in LINES {
        let position = i64::from((order, product) == (3, 2));
        let customer = if order == 5 { 7 } else { 6 };
        write!(rows, "INSERT INTO order_lines (order_id, position, customer_id, product_id, name, unit_price, quantity)
                      VALUES ({order}, {position}, {customer}, {product}, 'Tea', {price}, {quantity});").unwrap();
    }
    old.batch_execute(&rows).unwrap();
    assert_counted(PostgresStore::open(&url).unwrap());
}

/// A retry that a clock ahead scheduled for 2036. Older rows have no time of writing.
const PUT_OFF: &str = "
    INSERT INTO orders (id, customer_id, status, subtotal, discount, total, paid, refunded, created_at, paid_at)
        VALUES (1, 1, 'paid', 5, 0, 5, 5, 0, 1000, 1000);
    INSERT INTO events (id, kind, order_id, created_at) VALUES (1, 'order.paid', 1, 1000);
    UPDATE store SET next_event = 2;
    INSERT INTO deliveries (event_id, order_id, status, attempts, due_at)
        VALUES (1, 1, 'waiting', 2, 2100000000);";

#[test]
fn far_future_retry_is_due_after_migration_of_a_file() {
    let rows = format!("{ROWS}{PUT_OFF}");
    let (_folder, file) = older_file(3, &rows);
    assert_due(SqliteStore::open(&file).unwrap());
}

#[test]
fn far_future_retry_is_due_after_migration_of_a_database() {
    let (url, mut old) = database_of_the_first_version();
    old.batch_execute(&migrations(DATABASE, 2..=2)).unwrap();
    old.batch_execute("UPDATE store SET schema_version = 2").unwrap();
    let with_customer = PUT_OFF.replace(
        "order_id, created_at) VALUES (1, 'order.paid', 1,",
        "order_id, customer_id, created_at) VALUES (1, 'order.paid', 1, 1,",
    );
    old.batch_execute(&with_customer).unwrap();
    assert_due(PostgresStore::open(&url).unwrap());
}

fn assert_due(store: impl Store + 'static) {
    let now = Timestamp::from_unix(1_800_000_000);
    let shop = Shop::builder().clock(ManualClock::new(now)).open(store);
    assert!(shop.has_due_events().unwrap());
    let ask =
        RelayEvents { token: 1, outcomes: vec![], max_events: 1, fresh_first: false, jitter: 0 };
    assert_eq!(shop.call(ask).run().unwrap().events.len(), 1);
}

/// The update of each of two rows exceeds the statement timeout of a batch, like millions of rows
/// would, and both together exceed the client's usual wait for an answer.
#[test]
fn migration_may_exceed_the_statement_timeout() {
    let (url, mut old) = database_of_the_first_version();
    let slow = "CREATE FUNCTION take_time() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN PERFORM pg_sleep(6); RETURN NEW; END $$;
        CREATE TRIGGER take_time BEFORE UPDATE ON charges
            FOR EACH ROW EXECUTE FUNCTION take_time()";
    old.batch_execute(slow).unwrap();
    assert_continues(&Shop::open(PostgresStore::open(&url).unwrap()));
}

/// Returns the statements that insert a row for each word; the id of a row is the position of its word. Events have a
/// customer in a database only.
fn rows_with_words(customer: &str) -> String {
    let mut sql = String::from(
        "INSERT INTO customers (id, name, role, balance, created_at) VALUES (1, 'Kim', 'customer', 0, 0);",
    );
    for (id, status) in OrderStatus::ALL.iter().enumerate() {
        let row = format!(
            "INSERT INTO orders (id, customer_id, status, subtotal, discount, total, paid, refunded, created_at, paid_at)
             VALUES ({id}, 1, '{status}', 1, 0, 1, 0, 0, 0, 0);"
        );
        sql.push_str(&row);
    }
    for (id, kind) in EntryKind::ALL.iter().enumerate() {
        let of = |kinds: &[EntryKind]| if kinds.contains(kind) { "1" } else { "NULL" };
        let order = of(&[EntryKind::Payment, EntryKind::Refund]);
        let charge = of(&[EntryKind::Charge, EntryKind::ChargeRefund, EntryKind::Chargeback]);
        let row = format!(
            "INSERT INTO ledger (id, customer_id, kind, amount, balance_after, order_id, charge_id, created_at)
             VALUES ({id}, 1, '{kind}', 0, 0, {order}, {charge}, 0);"
        );
        sql.push_str(&row);
    }
    let value = if customer.is_empty() { "" } else { ", 1" };
    for (id, kind) in EventKind::ALL.iter().enumerate() {
        let row = format!(
            "INSERT INTO events (id, kind, order_id, created_at{customer}) VALUES ({id}, '{kind}', 1, 0{value});"
        );
        sql.push_str(&row);
    }
    sql
}

/// Asserts that the rows of [`rows_with_words`] have the codes of their words.
fn assert_codes(mut select: impl FnMut(&str) -> Vec<i64>) {
    fn codes<T: Copy>(values: &[T], code: fn(T) -> i64) -> Vec<i64> {
        values.iter().map(|value| code(*value)).collect()
    }
    let statuses = codes(OrderStatus::ALL, OrderStatus::code);
    assert_eq!(select("SELECT status FROM orders ORDER BY id"), statuses);
    assert_eq!(
        select("SELECT kind FROM ledger ORDER BY id"),
        codes(EntryKind::ALL, EntryKind::code)
    );
    assert_eq!(
        select("SELECT kind FROM events ORDER BY id"),
        codes(EventKind::ALL, EventKind::code)
    );
}

#[test]
fn words_of_a_file_become_codes() {
    let db = Connection::open_in_memory().unwrap();
    db.execute_batch("PRAGMA foreign_keys = OFF").unwrap();
    let run = |sql: &str| db.execute_batch(sql).unwrap();
    run(&migrations(FILE, 1..=12));
    run(&rows_with_words(""));
    run(&migrations(FILE, 13..=13));
    assert_codes(|sql| {
        let mut select = db.prepare(sql).unwrap();
        select.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    });
}

#[test]
fn words_of_a_database_become_codes() {
    let (url, mut db) = database_of_the_first_version();
    let mut run = |sql: &str| db.batch_execute(sql).unwrap();
    run("TRUNCATE customers, orders, ledger, events CASCADE");
    run(&migrations(DATABASE, 2..=14));
    run("SET session_replication_role = replica"); // without foreign keys
    run(&rows_with_words(", customer_id"));
    run(&migrations(DATABASE, 15..=15));
    let mut db = postgres::Client::connect(&url, postgres::NoTls).unwrap();
    assert_codes(|sql| db.query(sql, &[]).unwrap().iter().map(|row| row.get(0)).collect());
}

/// Orders of earlier versions may have one reference twice: they stay, and the first one is named.
#[test]
fn repeated_references_of_older_stores_stay_and_are_taken() {
    let rows = "
        INSERT INTO customers (id, name, role, balance, last_order, created_at)
            VALUES (1, 'Kim', 'customer', 0, 2, 1000);
        INSERT INTO products (id, name, price, stock, status) VALUES (1, 'Tea', 5, 9, 'active');
        INSERT INTO stock_movements (id, product_id, delta, reason, created_at) VALUES (1, 1, 9, 'first', 1000);
        INSERT INTO orders (id, customer_id, reference, status, subtotal, discount, total, paid, refunded, created_at,
                            expires_at, previous)
            VALUES (1, 1, 'web-1', 'expired', 5, 0, 5, 0, 0, 1000, 1900, NULL),
                   (2, 1, 'web-1', 'expired', 5, 0, 5, 0, 0, 1000, 1900, 1);
        INSERT INTO order_lines (id, product_id, name, unit_price, quantity)
            VALUES (1024, 1, 'Tea', 5, 1), (2048, 1, 'Tea', 5, 1);";
    let (_folder, file) = older_file(1, rows);
    let shop = Shop::open(SqliteStore::open(&file).unwrap());
    assert_clean(&shop);
    let order = shop.order(1.into()).unwrap();
    assert_eq!(order.lines[0].reduced_from(), None);
    let again = PlaceOrder {
        reference: Some("web-1".to_owned()),
        ..PlaceOrder::new(KIM, [(order.lines[0].product_id, 1)])
    };
    let taken = Refusal::ReferenceTaken { reference: "web-1".to_owned(), order_id: order.id };
    let refused = shop.call(again).run().unwrap_err();
    assert!(matches!(refused, Error::Refused(refusal) if refusal == taken));
}
