//! A distributed store, as far as it can be tested without a Citus cluster: a stand-in for the
//! extension records the calls and refuses what Citus would refuse, and the server's log shows the
//! store's statements.

use crate::common::citus::STAND_IN;
use crate::common::cluster::{Cluster, shared, wait_until};
use crate::common::{assert_clean, key};
use commerce_core::testing::{AttemptResult, DeliveryOutcome, RelayEvents};
use commerce_core::{
    AddCoupon, AddCustomer, AddProduct, AdjustStock, CartEdit, Currency, CustomerId, Discount,
    EditCart, Money, PayWhen, PlaceOrder, Role, Shop, StoreError,
};
use commerce_postgres::PostgresStore;
use postgres::{Client, NoTls};
use rstest::rstest;
use std::collections::BTreeSet;
use std::fs;
use std::num::NonZeroU32;
use std::time::Duration;

/// Foreign keys of distributed tables that cross machines or refer to a table on the coordinator,
/// and those of coordinator tables to distributed ones.
const FOREIGN_KEYS_ACROSS: &str = "
SELECT count(*) FROM pg_constraint
LEFT JOIN pg_dist_partition AS here ON here.logicalrelid = conrelid
LEFT JOIN pg_dist_partition AS there ON there.logicalrelid = confrelid
WHERE contype = 'f' AND (here.colocated IS DISTINCT FROM there.colocated OR NOT EXISTS (
    SELECT FROM unnest(conkey, confkey) AS pair (mine, theirs)
    JOIN pg_attribute AS a ON a.attrelid = conrelid AND a.attnum = mine
    JOIN pg_attribute AS b ON b.attrelid = confrelid AND b.attnum = theirs
    WHERE a.attname = here.partkey AND b.attname = there.partkey))";

fn database(cluster: &Cluster) -> (String, Client) {
    let url = cluster.database();
    let admin = cluster.admin(url.rsplit('/').next().unwrap());
    (url, admin)
}

fn names(admin: &mut Client, sql: &str) -> BTreeSet<String> {
    admin.query(sql, &[]).unwrap().iter().map(|row| row.get(0)).collect()
}

/// Runs every kind of call: writes, reads, replays, refusals, and the audit.
fn business(shop: &Shop) {
    let add = || AddCustomer { balance: Money::from_minor(10_000), ..AddCustomer::new("Kim") };
    let (kim, lee) = (shop.call(add()).run().unwrap().id, shop.call(add()).run().unwrap().id);
    let tea = shop.call(AddProduct::new("Tea", Money::from_minor(10), 100)).run().unwrap().id;
    let spring = AddCoupon {
        below_minimum: commerce_core::BelowMinimum::Keep,
        name: "Spring".to_owned(),
        discount: Discount::Fixed { amount: Money::from_minor(3) },
        min_order_amount: None,
        quantity: 2,
        valid_from: None,
        valid_until: None,
    };
    let coupon = shop.call(spring).run().unwrap().id;
    let owned = shop.claim_coupon(coupon, kim, &key("claim")).unwrap();
    assert_eq!(shop.claim_coupon(coupon, kim, &key("claim")).unwrap(), owned);
    shop.claim_coupon(coupon, kim, &key("again")).unwrap_err();
    shop.claim_coupon(coupon, lee, &key("claim")).unwrap();
    shop.charge(kim, Money::from_minor(100), &key("charge")).unwrap();
    shop.debit(kim, Money::from_minor(40), &key("debit")).unwrap();
    let order = PlaceOrder { owned_coupon_id: Some(owned.id), ..PlaceOrder::new(kim, [(tea, 4)]) };
    let order = shop.place_order(order, &key("order")).unwrap();
    shop.cancel_order(order.id, &key("cancel")).unwrap();
    let later = PlaceOrder { pay: PayWhen::Later, ..PlaceOrder::new(lee, [(tea, 1)]) };
    let later = shop.place_order(later, &key("later")).unwrap();
    shop.pay_order(later.id, &key("pay")).unwrap();
    let ask =
        |outcomes| RelayEvents { token: 7, outcomes, max_events: 9, fresh_first: false, jitter: 0 };
    let event = &shop.call(ask(vec![])).run().unwrap().events[0].event;
    let (event_id, order_id) = (event.id, event.order_id);
    let outcome = DeliveryOutcome { event_id, order_id, result: AttemptResult::Delivered };
    shop.call(ask(vec![outcome])).run().unwrap();
    assert!(shop.has_due_events().is_ok() && shop.outbox().unwrap().parked == 0);
    let edit = CartEdit::Set(tea, 2);
    shop.call(EditCart { customer_id: lee, edit }).run().unwrap();
    let park = shop.register("Park", "park", "correct horse", Role::Customer).unwrap();
    let session = shop.log_in("park", "correct horse").unwrap();
    shop.log_in("park", "wrong horse").unwrap_err();
    assert_eq!(shop.session(&session.token).unwrap().customer_id, park.id);
    shop.log_out(&session.token).unwrap();
    assert_eq!(shop.product(tea).unwrap().stock, 99);
    assert_eq!(shop.balance(kim).unwrap().balance, Money::from_minor(10_060));
    assert_eq!(shop.order(order.id).unwrap().lines.len(), 1);
    assert_clean(shop);
}

#[test]
fn distributed_tables_keep_unique_keys_on_one_machine() {
    let (plain, mut plain_admin) = database(shared());
    drop(PostgresStore::open(&plain).unwrap());
    let (url, mut admin) = database(shared());
    admin.batch_execute(STAND_IN).unwrap();
    let dollars = Currency::from_code("USD").unwrap();
    let store = PostgresStore::create_distributed(&url, dollars, None).unwrap();

    let sql = "SELECT concat_ws(' ', logicalrelid, partkey, colocated) FROM pg_dist_partition";
    let expected = [
        "cart_lines customer_id customers",
        "charges customer_id customers",
        "coupons id coupons",
        "credentials customer_id customers",
        "customers id customers",
        "events customer_id customers",
        "idempotency_keys key idempotency_keys",
        "ledger customer_id customers",
        "line_cancellations customer_id customers",
        "order_lines customer_id customers",
        "orders customer_id customers",
        "owned_coupons customer_id customers",
        "products id products",
        "purchases customer_id customers",
        "refunds customer_id customers",
        "stock_movements product_id products",
    ];
    assert_eq!(names(&mut admin, sql), expected.map(str::to_owned).into());
    let across: i64 = admin.query_one(FOREIGN_KEYS_ACROSS, &[]).unwrap().get(0);
    assert_eq!(across, 0, "foreign keys that reach over machines");
    let unlike = "SELECT concat_ws(' ', indrelid::regclass, attname) FROM pg_dist_partition
        JOIN pg_index ON indrelid = logicalrelid AND indisunique
        JOIN pg_attribute ON attrelid = indrelid AND attname = partkey
        WHERE attnum <> ALL (indkey)";
    assert_eq!(names(&mut admin, unlike), BTreeSet::new(), "keys without their column");

    // The complete list of foreign keys that are given up: a new key in the schema must be added
    // here.
    let sql = "SELECT conrelid::regclass || ' ' || pg_get_constraintdef(oid) FROM pg_constraint
               WHERE contype IN ('f', 'u')";
    let (before, after) = (names(&mut plain_admin, sql), names(&mut admin, sql));
    let given_up = [
        "cart_lines FOREIGN KEY (product_id) REFERENCES products(id)",
        "owned_coupons FOREIGN KEY (coupon_id) REFERENCES coupons(id)",
        "owned_coupons UNIQUE (coupon_id, rank)",
        "sessions FOREIGN KEY (customer_id) REFERENCES customers(id)",
    ];
    assert_eq!(&before - &after, given_up.map(str::to_owned).into());
    assert_eq!(&after - &before, BTreeSet::new());

    business(&Shop::open(store));
    drop(PostgresStore::create_distributed(&url, dollars, None).unwrap());
}

/// Two shards per worker, unless their number is given.
#[rstest]
#[case::twice_the_workers(None, 4)]
#[case::given(NonZeroU32::new(7), 7)]
fn distributed_tables_have_that_number_of_shards(
    #[case] shards: Option<NonZeroU32>,
    #[case] expected: i32,
) {
    let (url, mut admin) = database(shared());
    admin.batch_execute(STAND_IN).unwrap();
    drop(PostgresStore::create_distributed(&url, Currency::KRW, shards).unwrap());
    let rows = admin.query("SELECT DISTINCT shards FROM pg_dist_partition", &[]).unwrap();
    let counts: Vec<i32> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(counts, [expected]);
}

#[test]
fn distribute_needs_citus_and_an_empty_store() {
    let (url, mut admin) = database(shared());
    let refused = |url: &str, message: &str| {
        let error = PostgresStore::create_distributed(url, Currency::KRW, None).unwrap_err();
        assert!(
            matches!(&error, StoreError::Incompatible(text) if text.contains(message)),
            "{error}"
        );
    };
    refused(&url, "CREATE EXTENSION citus");
    assert!(PostgresStore::find(&url).unwrap().is_none(), "nothing is left behind");
    drop(PostgresStore::open(&url).unwrap());
    refused(&url, "a store already");
    admin.batch_execute(STAND_IN).unwrap();
    refused(&url, "a store already");
}

/// By the server's log, no query locks rows of distributed tables, and none looks up rows one by
/// one from a set: Citus refuses both.
#[test]
fn store_sends_no_statement_that_citus_refuses() {
    let cluster = Cluster::start_with(|_| "log_statement = 'all'".to_owned());
    let (url, mut admin) = database(&cluster);
    admin.batch_execute(STAND_IN).unwrap();
    business(&Shop::open(PostgresStore::create_distributed(&url, Currency::KRW, None).unwrap()));
    let log = fs::read_to_string(cluster.folder().join("log")).unwrap();
    // The further lines of a statement begin with a tab.
    let log = log.replace("\n\t", " ");
    let statements: BTreeSet<&str> = log
        .lines()
        .filter_map(|line| line.split_once("execute "))
        .map(|(_, statement)| statement)
        .collect();
    assert!(statements.len() > 40, "{} statements were logged", statements.len());
    for sql in statements {
        let lane = sql.contains("FROM store WHERE id = 1 FOR UPDATE");
        assert!(!sql.contains("FOR UPDATE") || lane, "it locks rows: {sql}");
        let one_customer = sql.contains("WITH RECURSIVE chain") && sql.contains("customer_id = $2");
        let of_coordinator = sql.contains("FROM sales WHERE");
        assert!(!sql.contains("OFFSET 0") || one_customer || of_coordinator, "row by row: {sql}");
        assert!(!sql.contains("nextval") && !sql.contains("advisory"), "{sql}");
    }
}

/// A commit that was cut before a worker completed it, as a prepared transaction: the next one of
/// the store sees its rows.
#[rstest]
fn transaction_left_prepared_on_a_worker_is_completed_first(
    #[values(false, true)] contended: bool,
) {
    let (url, mut admin) = database(shared());
    admin.batch_execute(STAND_IN).unwrap();
    let shop = Shop::open(PostgresStore::create_distributed(&url, Currency::KRW, None).unwrap());
    let tea = shop.call(AddProduct::new("Tea", Money::from_minor(10), 100)).run().unwrap().id;
    shop.call(AddCustomer::new("Kim")).run().unwrap();
    let database = url.rsplit('/').next().unwrap();
    let orphan = "BEGIN;
        UPDATE products SET stock = 7;
        UPDATE stock_movements SET delta = 7;
        INSERT INTO customers (id, name, role, balance, created_at)
            SELECT 2, 'Lee', role, balance, created_at FROM customers;
        PREPARE TRANSACTION ";
    admin.batch_execute(&format!("{orphan} 'citus_{database}'")).unwrap();
    // The coordinator has completed its part.
    admin.batch_execute("UPDATE store SET last_customers = 2").unwrap();
    let of_others = format!("of_{database}");
    admin.batch_execute(&format!("BEGIN; PREPARE TRANSACTION '{of_others}'")).unwrap();

    let mut other = Client::connect(&url, NoTls).unwrap();
    let mut writer = other.transaction().unwrap();
    writer.execute("SELECT FROM store FOR UPDATE", &[]).unwrap();
    let park = shop.call(AddCustomer::new("Park")).submit();
    if contended {
        wait_until("the store waits for the writer lock", || {
            let sql = "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid)
                       WHERE NOT granted AND datname = current_database()";
            admin.query_one(sql, &[]).unwrap().get::<_, i64>(0) > 0
        });
    }
    writer.rollback().unwrap();
    assert_eq!(park.wait().unwrap().id, CustomerId::new(3), "the orphan has the id before");
    assert_eq!(shop.product(tea).unwrap().stock, 7);
    let more = AdjustStock { product_id: tea, delta: 1, reason: "found".to_owned() };
    assert_eq!(shop.call(more).run().unwrap().stock, 8);
    assert_clean(&shop);
    let left = "SELECT gid FROM pg_prepared_xacts WHERE database = current_database()";
    assert_eq!(names(&mut admin, left), [of_others.clone()].into(), "Citus's are completed");
    admin.batch_execute(&format!("ROLLBACK PREPARED '{of_others}'")).unwrap();
}

#[test]
fn busy_names_a_worker_that_does_not_answer() {
    let (url, mut admin) = database(shared());
    admin.batch_execute(STAND_IN).unwrap();
    let store = PostgresStore::create_distributed(&url, Currency::KRW, None).unwrap();
    let shop = Shop::builder().timeout(Duration::from_secs(2)).open(store);
    admin.batch_execute("UPDATE worker SET is_up = false").unwrap();
    let error = shop.call(AddCustomer::new("Kim")).run().unwrap_err();
    let cause = "worker localhost:9701 does not answer: connection refused".to_owned();
    assert_eq!(error, StoreError::Busy(Some(cause)).into());
    admin.batch_execute("UPDATE worker SET is_up = true").unwrap();
    Shop::open(PostgresStore::open(&url).unwrap()).call(AddCustomer::new("Kim")).run().unwrap();
}

/// Citus reports a commit as done, with a warning, although a worker has not completed it. An
/// answer implies that all its rows can be read.
#[test]
fn commit_is_acknowledged_once_every_worker_has_completed_it() {
    let (url, mut admin) = database(shared());
    admin.batch_execute(STAND_IN).unwrap();
    let shop = Shop::open(PostgresStore::create_distributed(&url, Currency::KRW, None).unwrap());
    let cut = "CREATE TABLE on_worker (id int);
        CREATE FUNCTION cut() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            PERFORM dblink_connect('worker', here());
            PERFORM dblink_exec('worker', 'BEGIN');
            PERFORM dblink_exec('worker', 'INSERT INTO on_worker VALUES (1)');
            PERFORM dblink_exec('worker', format('PREPARE TRANSACTION %L', 'citus_0_' || pg_backend_pid()));
            PERFORM dblink_disconnect('worker');
            RAISE WARNING 'failed to commit transaction on localhost';
            RETURN NULL;
        END $$;
        CREATE CONSTRAINT TRIGGER cut AFTER INSERT ON customers DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW EXECUTE FUNCTION cut()";
    admin.batch_execute(cut).unwrap();
    for customers in 1..4 {
        shop.call(AddCustomer::new("Kim")).run().unwrap();
        let seen: i64 = admin.query_one("SELECT count(*) FROM on_worker", &[]).unwrap().get(0);
        assert_eq!(seen, customers);
    }
}

/// The layout of a store cannot be changed, so that a database of Citus has no default.
#[test]
fn new_store_in_a_database_of_citus_needs_a_layout() {
    let (url, mut admin) = database(shared());
    admin.batch_execute(STAND_IN).unwrap();
    for refused in [PostgresStore::open(&url), PostgresStore::create(&url, Currency::KRW)] {
        let text = refused.unwrap_err().to_string();
        assert!(text.contains("init --distribute") && text.contains("init --local"), "{text}");
    }
    assert!(PostgresStore::find(&url).unwrap().is_none(), "nothing is left behind");
    business(&Shop::open(PostgresStore::create_local(&url, Currency::KRW).unwrap()));
    assert!(!PostgresStore::is_distributed(&url).unwrap());
    assert_clean(&Shop::open(PostgresStore::open(&url).unwrap()));
    PostgresStore::create_distributed(&url, Currency::KRW, None).unwrap_err();
}

/// A dump has the tables, with the constraints of a distributed store, and not their distribution.
#[test]
fn audit_reports_a_distributed_store_that_was_restored_on_one_machine() {
    let (url, mut admin) = database(shared());
    admin.batch_execute(STAND_IN).unwrap();
    let shop = Shop::open(PostgresStore::create_distributed(&url, Currency::KRW, None).unwrap());
    assert!(PostgresStore::is_distributed(&url).unwrap());
    PostgresStore::create_local(&url, Currency::KRW).unwrap_err();
    assert_clean(&shop);
    drop(shop);
    admin.batch_execute("DELETE FROM pg_dist_partition").unwrap();
    let report = Shop::open(PostgresStore::open(&url).unwrap()).audit().unwrap();
    let problems = format!("{:?}", report.problems);
    assert!(!report.ok && problems.contains("distributed over a cluster"), "{problems}");
}

#[test]
fn benchmark_of_a_distributed_store_is_distributed() {
    let (url, mut admin) = database(shared());
    admin.batch_execute(STAND_IN).unwrap();
    drop(PostgresStore::create_distributed(&url, Currency::KRW, None).unwrap());
    let scratch = PostgresStore::create_scratch_schema(&url, "aside", Currency::KRW).unwrap();
    let sql = "SELECT count(*) FROM pg_dist_partition JOIN pg_class ON oid = logicalrelid
               WHERE relnamespace = 'aside'::regnamespace";
    assert_eq!(admin.query_one(sql, &[]).unwrap().get::<_, i64>(0), 16);
    business(&Shop::open(scratch));
    PostgresStore::drop_scratch_schema(&url, "aside").unwrap();
}

#[test]
fn service_is_not_ready_while_a_worker_does_not_answer() {
    let (url, mut admin) = database(shared());
    admin.batch_execute(STAND_IN).unwrap();
    let shop = Shop::open(PostgresStore::create_distributed(&url, Currency::KRW, None).unwrap());
    assert_eq!((shop.ready(), shop.unreachable_machines()), (Ok(()), Ok(vec![])));
    admin.batch_execute("UPDATE worker SET is_up = false").unwrap();
    let down = "worker localhost:9701 does not answer: connection refused".to_owned();
    assert_eq!(shop.unreachable_machines(), Ok(vec![down.clone()]));
    assert_eq!(shop.ready(), Err(StoreError::Unavailable(down).into()));
    admin.batch_execute("UPDATE worker SET is_up = true").unwrap();
    assert_eq!(shop.ready(), Ok(()));
}
