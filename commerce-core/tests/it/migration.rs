//! Stores of older versions are migrated with all their rows, and afterwards have the constraints
//! of new ones.

use crate::common::{assert_clean, cluster, key};
use commerce_core::store::State;
use commerce_core::testing::RelayEvents;
use commerce_core::{
    Charge, ChargeId, ChargeStatus, CustomerId, LedgerEntry, ManualClock, Money, PageRequest, Role,
    Shop, SqliteStore, Store, StoreError, Timestamp,
};
use commerce_postgres::PostgresStore;
use rstest::rstest;
use rusqlite::Connection;
use std::path::PathBuf;

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

const FIRST: &str = include_str!("../../src/store/sqlite/schema/1.sql");
const SECOND: &str = include_str!("../../src/store/sqlite/schema/2.sql");
const THIRD: &str = include_str!("../../src/store/sqlite/schema/3.sql");
const FOURTH: &str = include_str!("../../src/store/sqlite/schema/4.sql");

/// Creates a file with the schema of these migrations, and with those rows.
fn older_file(schema: &[&str], rows: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("shop.db");
    let old = Connection::open(&file).unwrap();
    old.execute_batch(&schema.concat()).unwrap();
    let version = schema.len();
    old.execute_batch(&format!(
        "INSERT INTO store (id, currency) VALUES (1, 'KRW');
         PRAGMA application_id = 1129270605; PRAGMA user_version = {version};"
    ))
    .unwrap();
    old.execute_batch(rows).unwrap();
    (folder, file)
}

#[rstest]
#[case::first(&[FIRST])]
#[case::second(&[FIRST, SECOND])]
fn older_file_is_migrated(#[case] schema: &[&str]) {
    let (_folder, file) = older_file(schema, ROWS);
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
#[case::second(&[FIRST, SECOND])]
#[case::third(&[FIRST, SECOND, THIRD])]
#[case::fourth(&[FIRST, SECOND, THIRD, FOURTH])]
fn logins_of_an_older_file_are_found(#[case] schema: &[&str]) {
    let (_folder, file) = older_file(schema, LOGINS);
    logins_are_found(&Shop::open(SqliteStore::open(&file).unwrap()));
}

/// Writes a ledger entry of a missing charge, as a defective rule might.
fn write_an_orphan(store: &dyn Store) -> Result<(), StoreError> {
    let mut state = State::new(store.currency());
    state.ledger.push(LedgerEntry {
        id: 99.into(),
        customer_id: KIM,
        kind: commerce_core::EntryKind::Charge,
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
    old.batch_execute(include_str!("../../../commerce-postgres/src/schema/1.sql")).unwrap();
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
    let (_folder, file) = older_file(&[FIRST, SECOND, THIRD], &rows);
    assert_due(SqliteStore::open(&file).unwrap());
}

#[test]
fn far_future_retry_is_due_after_migration_of_a_database() {
    let (url, mut old) = database_of_the_first_version();
    old.batch_execute(include_str!("../../../commerce-postgres/src/schema/2.sql")).unwrap();
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
