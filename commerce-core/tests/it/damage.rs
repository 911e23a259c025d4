//! The audit names each kind of damage that is planted in the file or on the server behind the
//! program's back.

use crate::common::{On, World, cluster, key};
use commerce_core::store::{EventRow, Needs, State};
use commerce_core::testing::{
    AttemptResult, DeliveryOutcome, Notice, OpenCharge, RecordNotice, RelayEvents, SettleCharge,
    SettleRefund, Settlement,
};
use commerce_core::{
    CancelOrder, CartEdit, EditCart, EventKind, Money, PageRequest, Patch, PayWhen, PlaceOrder,
    RefundCharge, ReportedRefund, Store, StoreError, UpdateProduct,
};
use commerce_postgres::PostgresStore;
use rstest::rstest;
use rusqlite::Connection;

/// Customer 1 has charged, used a coupon, cancelled, and has an unpaid order and a cart; the audit
/// is clean.
fn history(on: On) -> World {
    let world = World::new(on);
    let shop = &world.shop;
    let (kim, tea) = (world.customer(10_000).id, world.product(10, 1_000).id);
    world.product(7, 50);
    let owned = shop.claim_coupon(world.coupon(5, 3).id, kim, &key("claim")).unwrap();
    let other = world.customer(500).id;
    shop.claim_coupon(owned.coupon_id, other, &key("claim")).unwrap();
    shop.charge(kim, Money::from_minor(100), &key("charge")).unwrap();
    shop.debit(kim, Money::from_minor(40), &key("debit")).unwrap();
    let order = PlaceOrder { owned_coupon_id: Some(owned.id), ..PlaceOrder::new(kim, [(tea, 4)]) };
    shop.place_order(order, &key("order-1")).unwrap();
    let cancelled = shop.place_order(PlaceOrder::new(kim, [(tea, 2)]), &key("order-2")).unwrap();
    shop.cancel_order(cancelled.id, &key("cancel")).unwrap();
    let later = PlaceOrder { pay: PayWhen::Later, ..PlaceOrder::new(kim, [(tea, 1)]) };
    shop.place_order(later, &key("order-3")).unwrap();
    let limit_per_customer = Patch::Set(9);
    shop.call(UpdateProduct { limit_per_customer, ..UpdateProduct::new(tea) }).run().unwrap();
    let edit = CartEdit::Set(tea, 2);
    shop.call(EditCart { customer_id: kim, edit }).run().unwrap();
    world.clock.set(crate::common::NOW.plus_seconds(3 * 86_400));
    shop.place_order(PlaceOrder::new(kim, [(tea, 1)]), &key("order-4")).unwrap();
    // The payment of order 2 is leased, its cancellation waits behind it, and the last payment
    // waits too.
    let ask = |token, outcomes| RelayEvents {
        token,
        outcomes,
        max_events: 9,
        fresh_first: false,
        jitter: 0,
    };
    let claim = shop.call(ask(7, vec![])).run().unwrap();
    let outcomes = [(0, AttemptResult::Delivered), (2, failed())].map(|(index, result)| {
        let event = &claim.events[index].event;
        DeliveryOutcome { event_id: event.id, order_id: event.order_id, result }
    });
    shop.call(ask(7, outcomes.to_vec())).run().unwrap();
    world.assert_clean();
    world
}

fn failed() -> AttemptResult {
    AttemptResult::Failed { error: "503".to_owned(), retry_after: None }
}

fn plant(world: &World, sql: &str) {
    if let Some(url) = &world.url {
        return plant_on_server(url, sql);
    }
    let db = Connection::open(world.folder.path().join("shop.db")).unwrap();
    db.execute_batch("PRAGMA foreign_keys = OFF; PRAGMA ignore_check_constraints = ON;").unwrap();
    db.execute_batch(sql).unwrap();
    assert!(db.changes() > 0, "nothing was planted");
}

/// Changes a row on the server. Its constraints cannot be switched off, so they are dropped first.
/// Events there carry their customer.
fn plant_on_server(url: &str, sql: &str) {
    let mut db = cluster::shared().admin(url.rsplit('/').next().unwrap());
    db.batch_execute(
        "DO $$ DECLARE one RECORD; BEGIN
             FOR one IN SELECT conrelid::regclass AS relation, conname FROM pg_constraint
                        WHERE contype IN ('c', 'f', 'u') AND conrelid <> 0
                        AND connamespace = 'public'::regnamespace ORDER BY contype DESC, oid LOOP
                 EXECUTE format('ALTER TABLE %s DROP CONSTRAINT IF EXISTS %I CASCADE', one.relation, one.conname);
             END LOOP;
         END $$;
         ALTER TABLE events ALTER customer_id SET DEFAULT 1",
    )
    .unwrap();
    // SQLite's syntax for bytes.
    let sql = sql.replace("= x'", r"= '\x");
    assert!(db.execute(&sql, &[]).unwrap() > 0, "nothing was planted");
}

/// Returns the audit's problems, as "check: subject".
fn problems(world: &World) -> Vec<String> {
    let report = world.shop.audit().unwrap();
    assert_eq!(report.ok, report.problems.is_empty());
    let problems = report.problems.iter();
    problems.map(|problem| format!("{}: {}", problem.check, problem.subject)).collect()
}

#[rstest]
#[case::balance("UPDATE customers SET balance = balance + 1 WHERE id = 1", "wallet: customer 1")]
#[case::first_order(
    "UPDATE customers SET first_order = 2 WHERE id = 1",
    "first_orders: customer 1"
)]
#[case::first_order_cancelled(
    "UPDATE customers SET first_cancelled = 1 WHERE id = 1",
    "first_orders: customer 1"
)]
#[case::first_order_instant(
    "UPDATE customers SET first_paid_at = first_paid_at + 1 WHERE id = 1",
    "first_orders: customer 1"
)]
#[case::purchase(
    "UPDATE purchases SET units = units + 1",
    "purchases: purchases of product 1 by customer 1"
)]
#[case::purchase_gone("DELETE FROM purchases", "purchases: purchases of product 1 by customer 1")]
#[case::purchase_of_another(
    "UPDATE purchases SET customer_id = 2",
    "purchases: purchases of product 1 by customer 2"
)]
#[case::limit_gone(
    "UPDATE products SET limit_per_customer = NULL WHERE id = 1",
    "purchases: purchases of product 1 by customer 1"
)]
#[case::regular_price("UPDATE order_lines SET regular_price = 1", "orders: order 1")]
#[case::coupon_used("UPDATE coupons SET used = used + 1", "coupons: coupon 1")]
#[case::coupon_given_back("UPDATE coupons SET given_back = given_back + 1", "coupons: coupon 1")]
#[case::coupon_discounts("UPDATE coupons SET discounts = discounts + 1", "coupons: coupon 1")]
#[case::coupon_net("UPDATE coupons SET net = net + 1", "coupons: coupon 1")]
#[case::negative_balance("UPDATE customers SET balance = -1 WHERE id = 2", "wallet: customer 2")]
#[case::amount("UPDATE ledger SET amount = amount + 1 WHERE id = 1", "wallet: ledger entry 1")]
#[case::chain(
    "UPDATE ledger SET balance_after = balance_after + 1 WHERE id = 4",
    "wallet: ledger entry 4"
)]
#[case::link("UPDATE ledger SET previous = NULL WHERE id = 4", "wallet: ledger entry 4")]
#[case::newest("UPDATE customers SET last_entry = 1 WHERE id = 1", "wallet: customer 1")]
#[case::entry_gone("DELETE FROM ledger WHERE kind = 5", "wallet: customer 1")]
#[case::entry_gone_but_its_key(
    "DELETE FROM ledger WHERE kind = 5",
    "keys: key debit of customer 1"
)]
#[case::charge_gone("DELETE FROM charges WHERE id = 3", "wallet: ledger entry 3")]
#[case::charge_without_entry(
    "INSERT INTO charges (id, customer_id, amount, status, created_at) VALUES (99, 1, 5, 'succeeded', 1)",
    "wallet: charge 99"
)]
#[case::charge_of_another_amount(
    "UPDATE charges SET amount = amount + 1 WHERE id = 3",
    "wallet: ledger entry 3"
)]
#[case::charge_of_another_balance(
    "UPDATE charges SET balance_after = balance_after + 1 WHERE id = 3",
    "wallet: ledger entry 3"
)]
#[case::charge_pending_but_entered(
    "UPDATE charges SET status = 'pending', balance_after = NULL WHERE id = 3",
    "wallet: ledger entry 3"
)]
#[case::charge_failed_but_entered(
    "UPDATE charges SET status = 'failed', failure = 'no', balance_after = NULL WHERE id = 3",
    "wallet: ledger entry 3"
)]
#[case::key_of_a_charge_that_is_none(
    r#"UPDATE idempotency_keys SET answer = '{"opened_charge":77}' WHERE key = 'charge'"#,
    "keys: key charge of customer 1"
)]
#[case::payment_gone("DELETE FROM ledger WHERE kind = 0 AND order_id = 1", "payments: order 1")]
#[case::payment_doubled(
    "INSERT INTO ledger (id, customer_id, kind, amount, balance_after, order_id, charge_id, note,\
     created_at, previous) SELECT 99, customer_id, kind, amount, balance_after, order_id, charge_id,\
     note, created_at, previous FROM ledger WHERE kind = 0 AND order_id = 1",
    "payments: ledger entry 99"
)]
#[case::payment_of_another_amount(
    "UPDATE ledger SET amount = amount - 1 WHERE kind = 0 AND order_id = 1",
    "payments: ledger entry 5"
)]
#[case::payment_of_another_order(
    "UPDATE ledger SET order_id = 4 WHERE kind = 0 AND order_id = 1",
    "payments: ledger entry 5"
)]
#[case::refund_gone("DELETE FROM ledger WHERE kind = 4", "payments: order 2")]
#[case::order_gone("DELETE FROM orders WHERE id = 4", "payments: ledger entry 8")]
#[case::newest_order_gone("DELETE FROM orders WHERE id = 4", "orders: customer 1")]
#[case::subtotal(
    "UPDATE orders SET subtotal = subtotal - 1, paid = paid - 1 WHERE id = 1",
    "orders: order 1"
)]
#[case::discount("UPDATE orders SET discount = 0 WHERE id = 1", "coupons: coupon 1")]
#[case::line(
    "UPDATE order_lines SET quantity = quantity + 1 WHERE order_id = 1",
    "orders: order 1"
)]
#[case::line_gone("DELETE FROM order_lines WHERE order_id = 4", "orders: order 4")]
#[case::status("UPDATE orders SET status = 1 WHERE id = 4", "orders: order 4")]
#[case::newest_order("UPDATE customers SET last_order = 1 WHERE id = 1", "orders: customer 1")]
#[case::stock("UPDATE products SET stock = stock + 1 WHERE id = 1", "stock: product 1")]
#[case::negative_stock("UPDATE products SET stock = -1 WHERE id = 2", "stock: product 2")]
#[case::movement(
    "UPDATE stock_movements SET delta = delta + 1 WHERE product_id = 2",
    "stock: product 2"
)]
#[case::movement_gone("DELETE FROM stock_movements WHERE product_id = 2", "stock: product 2")]
#[case::issued("UPDATE coupons SET issued = 3", "coupons: coupon 1")]
#[case::too_many("UPDATE coupons SET quantity = 1", "coupons: coupon 1")]
#[case::rank_gap("UPDATE owned_coupons SET rank = 3 WHERE id = 2", "coupons: owned coupon 2")]
#[case::claim_gone("DELETE FROM owned_coupons WHERE id = 2", "coupons: coupon 1")]
#[case::used_by_a_dead_order(
    "UPDATE owned_coupons SET order_id = 2 WHERE id = 2",
    "coupons: owned coupon 2"
)]
#[case::used_and_says_not(
    "UPDATE owned_coupons SET order_id = NULL WHERE id = 1",
    "coupons: order 1"
)]
#[case::not_used_and_says_so(
    "UPDATE orders SET owned_coupon_id = NULL WHERE id = 1",
    "coupons: owned coupon 1"
)]
#[case::event_gone("DELETE FROM events WHERE id = 2", "events: event 2")]
#[case::event_gone_at_the_end("DELETE FROM events WHERE id = 4", "events: order 4")]
#[case::event_doubled(
    "INSERT INTO events (id, kind, order_id, created_at) VALUES (5, 0, 1, 1)",
    "events: event 5"
)]
#[case::event_of_nothing(
    "INSERT INTO events (id, kind, order_id, created_at) VALUES (5, 0, 77, 1)",
    "events: event 5"
)]
#[case::event_of_another_kind("UPDATE events SET kind = 1 WHERE order_id = 1", "events: event 1")]
#[case::epochs_missing("DELETE FROM epochs", "events: epochs")]
#[case::epoch_that_begins_late("UPDATE epochs SET first_event = 2", "events: epoch 2")]
#[case::epoch_of_no_event("INSERT INTO epochs VALUES (6, 'later')", "events: epoch 6")]
#[case::next_event("UPDATE store SET next_event = 99", "deliveries: relay")]
#[case::delivery_of_nothing(
    "INSERT INTO deliveries VALUES (77, 1, 'waiting', 0, 1, NULL, NULL, 1)",
    "deliveries: event 77"
)]
#[case::delivery_of_another_order(
    "UPDATE deliveries SET order_id = 1 WHERE event_id = 4",
    "deliveries: event 4"
)]
#[case::delivery_ahead_of_the_relay("UPDATE store SET next_event = 1", "deliveries: event 2")]
#[case::delivery_of_nobody(
    "UPDATE deliveries SET token = NULL WHERE event_id = 2",
    "deliveries: event 2"
)]
#[case::delivery_that_does_not_wait(
    "UPDATE deliveries SET due_at = 1 WHERE event_id = 3",
    "deliveries: event 3"
)]
#[case::delivery_behind_a_parked_one(
    "UPDATE deliveries SET status = 'parked', token = NULL WHERE event_id = 2",
    "deliveries: event 3"
)]
#[case::key_of_nothing(
    r#"UPDATE idempotency_keys SET answer = '{"order":[77,"paid"]}' WHERE key = 'order-1'"#,
    "keys: key order-1 of customer 1"
)]
#[case::key_of_another(
    "UPDATE idempotency_keys SET owner = 2 WHERE key = 'order-1'",
    "keys: key order-1 of customer 2"
)]
#[case::request_of_a_success(
    r#"UPDATE idempotency_keys
       SET request = '{"operation":"{}","last_order":0,"last_movement":0,"last_event":0}'
       WHERE key = 'order-1'"#,
    "keys: key order-1 of customer 1"
)]
#[case::key_altered(
    "UPDATE idempotency_keys SET key = 'order-X' WHERE key = 'order-1'",
    "digests: order 1"
)]
#[case::key_gone("DELETE FROM idempotency_keys WHERE key = 'order-4'", "digests: order 4")]
#[case::key_of_a_charge_altered(
    "UPDATE idempotency_keys SET key = 'chargf' WHERE key = 'charge'",
    "digests: charge 3"
)]
#[case::key_of_a_debit_altered(
    "UPDATE idempotency_keys SET key = 'debiu' WHERE key = 'debit'",
    "digests: ledger entry 4"
)]
#[case::key_of_a_claim_altered(
    "UPDATE idempotency_keys SET key = 'claiM' WHERE key = 'claim' AND owner = 2",
    "digests: owned coupon 2"
)]
#[case::key_of_a_cancellation_altered(
    "UPDATE idempotency_keys SET key = 'cancem' WHERE key = 'cancel'",
    "digests: key cancem of customer 1"
)]
#[case::key_of_another_request(
    "UPDATE idempotency_keys SET fingerprint = fingerprint + 1 WHERE key = 'order-1'",
    "digests: order 1"
)]
#[case::name_of_a_line(
    "UPDATE order_lines SET name = 'Tee' WHERE order_id = 1",
    "digests: order 1"
)]
#[case::instant_of_an_order(
    "UPDATE orders SET created_at = created_at - 1 WHERE id = 4",
    "digests: order 4"
)]
#[case::amount_of_a_debit("UPDATE ledger SET note = 'x' WHERE kind = 5", "digests: ledger entry 4")]
#[case::answer_of_a_charge(
    r#"UPDATE idempotency_keys SET answer = replace(answer, '"amount":100', '"amount":101')
       WHERE key = 'charge'"#,
    "keys: key charge of customer 1"
)]
#[case::rank_in_an_answer(
    r#"UPDATE idempotency_keys SET answer = replace(answer, '"rank":2', '"rank":3')
       WHERE key = 'claim' AND owner = 2"#,
    "keys: key claim of customer 2"
)]
#[case::instant_of_an_event("UPDATE events SET created_at = 1 WHERE id = 1", "events: event 1")]
#[case::instant_of_a_payment(
    "UPDATE ledger SET created_at = 1 WHERE kind = 0 AND order_id = 1",
    "payments: ledger entry 5"
)]
#[case::instant_of_a_charge(
    "UPDATE ledger SET created_at = 1 WHERE charge_id = 3",
    "wallet: ledger entry 3"
)]
#[case::cart(
    "UPDATE cart_lines SET product_id = 77",
    "carts: product 77 in the cart of customer 1"
)]
fn damage_is_named(
    #[case] sql: &str,
    #[case] named: &str,
    #[values(On::Sqlite, On::Postgres)] on: On,
) {
    let world = history(on);
    plant(&world, sql);
    let found = problems(&world);
    assert!(found.iter().any(|problem| problem == named), "{named} is not in {found:#?}");
}

/// An index without a row: lookups miss the row, and duplicates of it are not detected.
#[test]
fn audit_names_an_incomplete_index_of_a_file() {
    let world = history(On::Sqlite);
    // A partial index with another condition is built under the old definition.
    let swap = |from: &str, to: &str| {
        format!(
            "PRAGMA writable_schema = ON;
             UPDATE sqlite_schema SET sql = replace(sql, '{from}', '{to}') WHERE name = 'deliveries_by_due';
             PRAGMA writable_schema = RESET;"
        )
    };
    let (all, none) = ("status <> ''parked''", "status = ''parked''");
    plant(&world, &format!("{} REINDEX deliveries_by_due; {}", swap(all, none), swap(none, all)));
    let report = world.shop.audit().unwrap();
    let named = |text: &str| report.problems.iter().any(|problem| problem.detail.contains(text));
    assert!(named("missing from index deliveries_by_due"), "{:#?}", report.problems);
}

#[test]
fn audit_names_an_incomplete_index_of_a_server() {
    let world = history(On::Postgres);
    let mut db = cluster::shared().admin(world.url.as_ref().unwrap().rsplit('/').next().unwrap());
    let ready = |is: bool| {
        format!(
            "UPDATE pg_index SET indisready = {is} WHERE indexrelid = 'deliveries_by_order'::regclass"
        )
    };
    db.batch_execute(&ready(false)).unwrap();
    let moved = "WITH gone AS (DELETE FROM deliveries WHERE event_id = 3 RETURNING *)
                 INSERT INTO deliveries SELECT * FROM gone";
    db.batch_execute(moved).unwrap();
    db.batch_execute(&ready(true)).unwrap();
    let report = world.shop.audit().unwrap();
    let named = "index deliveries_by_order has";
    assert!(
        report.problems.iter().any(|problem| problem.detail.starts_with(named)),
        "{:#?}",
        report.problems
    );
}

/// References that every order has and no foreign key of the server checks: each can dangle.
#[rstest]
#[case::order_of_nobody(
    "UPDATE orders SET customer_id = 77 WHERE id = 4",
    "orders: order 4",
    "customer_id 77"
)]
#[case::line_of_no_order(
    "UPDATE order_lines SET order_id = 77 WHERE order_id = 4",
    "integrity: store",
    "order_lines refers to rows of orders that do not exist: order_id 77 customer_id 1"
)]
#[case::line_of_another_customer(
    "UPDATE order_lines SET customer_id = 2 WHERE order_id = 4",
    "integrity: store",
    "order_lines refers to rows of orders that do not exist: order_id 4 customer_id 2"
)]
#[case::line_of_no_product(
    "UPDATE order_lines SET product_id = 77 WHERE order_id = 4",
    "stock: order 4",
    "product_id 77"
)]
#[case::entry_of_nobody(
    "UPDATE ledger SET customer_id = 77 WHERE id = 8",
    "wallet: ledger entry 8",
    "ledger refers to rows of customers that do not exist: customer_id 77"
)]
#[case::entry_of_no_order(
    "UPDATE ledger SET order_id = 77 WHERE id = 8",
    "payments: ledger entry 8",
    "ledger refers to rows of orders that do not exist: order_id 77 customer_id 1"
)]
#[case::event_of_no_order(
    "UPDATE events SET order_id = 77 WHERE id = 4",
    "events: event 4",
    "events refers to rows of orders that do not exist: order_id 77 customer_id 1"
)]
#[case::event_of_another_customer(
    "UPDATE events SET customer_id = 2 WHERE id = 4",
    "integrity: store",
    "events refers to rows of orders that do not exist: order_id 4 customer_id 2"
)]
fn audit_names_references_that_no_foreign_key_checks(
    #[case] sql: &str,
    #[case] named: &str,
    #[case] detail: &str,
) {
    let world = history(On::Postgres);
    // The damage is possible without dropping a constraint.
    let mut db = cluster::shared().admin(world.url.as_ref().unwrap().rsplit('/').next().unwrap());
    assert_eq!(db.execute(sql, &[]).unwrap(), 1);
    let found = problems(&world);
    assert!(found.iter().any(|problem| problem == named), "{named} is not in {found:#?}");
    let report = world.shop.audit().unwrap();
    let is_named = report.problems.iter().any(|problem| problem.detail.contains(detail));
    assert!(is_named, "{detail} is not in {:#?}", report.problems);
}

/// A defective rule might write them. They are refused where the batch has not loaded what they refer to, as by a
/// foreign key.
#[rstest]
#[case::customer_of_an_order(0, "order 4 refers to customer 1, which does not exist")]
#[case::product_of_a_line(1, "order 4 refers to product 1, which does not exist")]
#[case::customer_of_an_entry(2, "ledger entry 8 refers to customer 1, which does not exist")]
#[case::order_of_an_entry(
    3,
    "ledger entry 8 refers to order 4 of customer 1, which does not exist"
)]
#[case::order_of_an_event(4, "event 9 refers to order 4, which does not exist")]
fn server_gets_no_row_that_refers_to_a_row_that_was_not_loaded(
    #[case] case: u8,
    #[case] refusal: &str,
) {
    let world = history(On::Postgres);
    let (kim, order) = (1.into(), world.shop.order(4.into()).unwrap());
    let entries = world.shop.ledger(kim, &PageRequest::default()).unwrap().items;
    let entry = entries.into_iter().find(|entry| entry.order_id == Some(order.id)).unwrap();
    let store = PostgresStore::open(world.url.as_ref().unwrap()).unwrap();
    let mut state = State::new(store.currency());
    let mut needs = Needs::default();
    needs.ids = true;
    if [1, 3].contains(&case) {
        needs.accounts.insert(kim);
    }
    let mut transaction = store.begin().unwrap();
    transaction.load(&needs, &mut state).unwrap();
    match case {
        0 | 1 => state.orders.insert(order.id, order),
        2 | 3 => state.ledger.push(entry),
        _ => state.events.push(EventRow {
            id: 9.into(),
            kind: EventKind::OrderPaid,
            order_id: order.id,
            trace: None,
            created_at: order.created_at,
        }),
    }
    let refused = transaction.apply(&state).unwrap_err();
    assert_eq!(refused, StoreError::ConstraintViolation(refusal.to_owned()));
    drop(transaction);
    world.assert_clean();
}

/// The next order would get the id of an order that exists; an order would stay unpaid for ever.
#[rstest]
#[case::id("last_orders = last_orders - 1", "store.last_orders is 3 and orders has id 4")]
#[case::expiry("next_expiry = 9999999999", "store.next_expiry is 9999999999 and an order expires")]
fn audit_names_what_is_wrong_beside_the_writer_lock(#[case] set: &str, #[case] named: &str) {
    let world = history(On::Postgres);
    let later = PlaceOrder { pay: PayWhen::Later, ..PlaceOrder::new(1.into(), [(1.into(), 1)]) };
    if set.starts_with("next") {
        world.shop.place_order(later, &key("later")).unwrap();
    }
    plant(&world, &format!("UPDATE store SET {set}"));
    let report = world.shop.audit().unwrap();
    assert!(
        report.problems.iter().any(|problem| problem.detail.starts_with(named)),
        "{:#?}",
        report.problems
    );
}

#[rstest]
#[case::paid("UPDATE orders SET paid = 0 WHERE id = 4")]
#[case::refunded("UPDATE orders SET refunded = 0 WHERE id = 2")]
fn audit_recomputes_the_amounts_of_an_order(
    #[case] sql: &str,
    #[values(On::Sqlite, On::Postgres)] on: On,
) {
    let world = history(on);
    plant(&world, sql);
    assert_eq!(problems(&world), ["integrity: store"]);
}

/// Nothing is made up for a row that no program of this version writes.
#[rstest]
#[case::unknown_code("status = 4", "the code 4")]
#[case::total_beyond_numbers("subtotal = -9223372036854775807, discount = 2", "the discount 2")]
fn invalid_order_is_refused(
    #[case] change: &str,
    #[case] named: &str,
    #[values(On::Sqlite, On::Postgres)] on: On,
) {
    let world = history(on);
    plant(&world, &format!("UPDATE orders SET {change} WHERE id = 4"));
    let refused = world.shop.order(4.into()).unwrap_err().to_string();
    assert!(refused.contains(named), "{refused}");
}

/// Dangling references: only SQLite can check its foreign keys later.
#[test]
fn audit_names_an_orphan() {
    let world = history(On::Sqlite);
    plant(&world, "UPDATE cart_lines SET product_id = 77");
    assert!(problems(&world).contains(&"integrity: store".to_owned()));
}

/// The sales roll-up at each level, from seconds to days, and the pack of a day: the first row of the level's range.
#[rstest]
#[case::second_units(0, "units = x'0114'", "sales of product 1 in 1 s")]
#[case::second_money(0, "net = x'14'", "money for product 1 in 1 s")]
#[case::second_figures(0, "totals = x'0014'", "orders in 1 s")]
#[case::minute_units(1, "units = x'0114'", "sales of product 1 in 60 s")]
#[case::minute_money(1, "net = x'14'", "money for product 1 in 60 s")]
#[case::minute_figures(1, "totals = x'0014'", "orders in 60 s")]
#[case::hour_units(2, "units = x'0114'", "sales of product 1 in 3600 s")]
#[case::hour_money(2, "net = x'14'", "money for product 1 in 3600 s")]
#[case::day_units(3, "units = x'0114'", "sales of product 1 in 86400 s")]
#[case::day_money(3, "net = x'14'", "money for product 1 in 86400 s")]
#[case::pack_figures(4, "totals = x'0014'", "orders in 900 s")]
#[case::pack_another_figure(4, "totals = x'0c02'", "void first orders in 900 s")]
#[case::pack_another_quarter(4, "totals = x'f00b02'", "orders in 900 s")]
fn wrong_counts_of_sales_are_named(
    #[case] level: i64,
    #[case] change: &str,
    #[case] named: &str,
    #[values(On::Sqlite, On::Postgres)] on: On,
) {
    let row = format!("SELECT min(id) FROM sales WHERE id >> 48 = {level}");
    let named = format!("sales: {named} from 2026-01-01T");
    let changed = format!("UPDATE sales SET {change} WHERE id = ({row})");
    for sql in [changed, format!("DELETE FROM sales WHERE id = ({row})")] {
        let world = history(on);
        plant(&world, &sql);
        let problems = problems(&world);
        assert!(problems.iter().all(|problem| problem.starts_with("sales: ")), "{problems:?}");
        let is_named = problems.iter().any(|problem| problem.starts_with(&named));
        assert!(
            is_named || (sql.starts_with("DELETE") && named.contains("void")),
            "{sql}: {problems:?}"
        );
    }
}

/// The history, and then parts of order 1, with a coupon: a cup of tea that goes back, and one that is lost.
fn history_with_parts(on: On) -> World {
    let world = history(on);
    for (keep_stock, name) in [(false, "part-1"), (true, "part-2")] {
        let (order_id, items) = (1.into(), Some(vec![(1.into(), 1)]));
        let request = CancelOrder { order_id, items, keep_stock };
        world.shop.call(request).key(&key(name)).run().unwrap();
    }
    world.assert_clean();
    world
}

/// Customer 1 has spent a charge of 100, of which 30 and 5 were refunded, and of which 40 and 20 are disputed; the first
/// of these disputes is won. Refund 3 was requested, 4 was made at the gateway, 6 and 10 are the disputes.
fn history_of_refunds(on: On) -> World {
    let world = World::new(on);
    let shop = &world.shop;
    let customer_id = world.customer(0).id;
    let charge = OpenCharge {
        customer_id,
        amount: Money::from_minor(100),
        payment_method: None,
        gateway: "double".to_owned(),
        reference: "charge".to_owned(),
    };
    let charge_id = shop.call(charge).run().unwrap().id;
    shop.call(SettleCharge { charge_id, settlement: Settlement::Paid }).run().unwrap();
    shop.debit(customer_id, Money::from_minor(50), &key("debit")).unwrap();
    let amount = Some(Money::from_minor(30));
    let reference = Some("refund".to_owned());
    let refund = RefundCharge { amount, reference, ..RefundCharge::new(charge_id) };
    let refund_id = shop.call(refund).key(&key("refund")).run().unwrap().id;
    shop.call(SettleRefund { refund_id, settlement: Settlement::Paid }).run().unwrap();
    let note = |notice| shop.call(RecordNotice { charge_id, notice }).run().unwrap();
    let outside = ReportedRefund { reference: None, amount: Money::from_minor(5) };
    note(Notice::Refunded { refunds: vec![outside] });
    let opened = |dispute: &str, amount| Notice::DisputeOpened {
        dispute: dispute.to_owned(),
        amount: Money::from_minor(amount),
    };
    note(opened("dp_1", 40));
    let amount = Money::from_minor(40);
    note(Notice::DisputeClosed { dispute: "dp_1".to_owned(), amount, is_won: true });
    note(opened("dp_2", 20));
    world.assert_clean();
    world
}

/// The coupon takes 3 off 4 times 10: the units cost 10, 9, 9 and 9.
#[rstest]
#[case::gone("DELETE FROM line_cancellations WHERE number = 1", "cancellations: order 1")]
#[case::last_gone("DELETE FROM line_cancellations WHERE number = 2", "payments: ledger entry 10")]
#[case::all_gone("DELETE FROM line_cancellations", "payments: ledger entry 9")]
#[case::units("UPDATE line_cancellations SET units = 2 WHERE number = 2", "cancellations: order 1")]
#[case::units_and_sum(
    "UPDATE line_cancellations SET units = 2, line_units = 3 WHERE number = 2",
    "cancellations: order 1"
)]
#[case::no_units(
    "UPDATE line_cancellations SET units = 0 WHERE number = 2",
    "cancellations: order 1"
)]
#[case::amount(
    "UPDATE line_cancellations SET amount = 8 WHERE number = 2",
    "cancellations: order 1"
)]
#[case::amount_and_sum(
    "UPDATE line_cancellations SET amount = 10, line_amount = 20 WHERE number = 2",
    "cancellations: order 1"
)]
#[case::amount_of_the_refund(
    "UPDATE line_cancellations SET amount = 10, line_amount = 20 WHERE number = 2",
    "payments: ledger entry 10"
)]
#[case::sum_of_units("UPDATE line_cancellations SET line_units = 4", "cancellations: order 1")]
#[case::sum_of_amounts("UPDATE line_cancellations SET line_amount = 37", "cancellations: order 1")]
#[case::quantity("UPDATE line_cancellations SET quantity = 5", "cancellations: order 1")]
#[case::net("UPDATE line_cancellations SET net = 40", "cancellations: order 1")]
#[case::stock_that_was_kept(
    "UPDATE line_cancellations SET is_restocked = 1 WHERE number = 2",
    "stock: product 1"
)]
#[case::stock_that_went_back(
    "UPDATE line_cancellations SET is_restocked = 0 WHERE number = 1",
    "stock: product 1"
)]
#[case::number(
    "UPDATE line_cancellations SET number = 5 WHERE number = 2",
    "cancellations: order 1"
)]
#[case::product("UPDATE line_cancellations SET product_id = 2", "cancellations: order 1")]
#[case::another_order(
    "UPDATE line_cancellations SET order_id = 2 WHERE number = 2",
    "cancellations: order 2"
)]
#[case::no_order(
    "UPDATE line_cancellations SET order_id = 77 WHERE number = 2",
    "integrity: store"
)]
#[case::another_customer(
    "UPDATE line_cancellations SET customer_id = 2 WHERE number = 1",
    "integrity: store"
)]
#[case::no_event(
    "UPDATE line_cancellations SET event_id = NULL WHERE number = 2",
    "cancellations: order 1"
)]
#[case::event_of_another_order(
    "UPDATE line_cancellations SET event_id = 2 WHERE number = 1",
    "events: order 1"
)]
#[case::event_that_is_not_there(
    "UPDATE line_cancellations SET event_id = 77 WHERE number = 2",
    "events: order 1"
)]
#[case::instant("UPDATE line_cancellations SET created_at = 1 WHERE number = 2", "events: event 6")]
#[case::refunded("UPDATE orders SET refunded = refunded - 1 WHERE id = 1", "integrity: store")]
#[case::paid("UPDATE orders SET paid = paid - 1 WHERE id = 1", "integrity: store")]
fn damage_of_parts_is_named(
    #[case] sql: &str,
    #[case] named: &str,
    #[values(On::Sqlite, On::Postgres)] on: On,
) {
    let world = history_with_parts(on);
    plant(&world, sql);
    let found = problems(&world);
    assert!(found.iter().any(|problem| problem == named), "{named} is not in {found:#?}");
}

/// The running sums let the database refuse what a defective rule would take off a line.
#[rstest]
#[case::units("line_units = quantity + 1")]
#[case::units_below("line_units = units - 1")]
#[case::amount("line_amount = net + 1")]
#[case::amount_below("line_amount = amount - 1")]
#[case::negative("units = -1")]
#[case::nothing("units = 0, amount = 0")]
#[case::restocked("is_restocked = 2")]
fn database_refuses_more_than_a_line_has(
    #[case] set: &str,
    #[values(On::Sqlite, On::Postgres)] on: On,
) {
    let world = history_with_parts(on);
    let sql = format!("UPDATE line_cancellations SET {set} WHERE number = 1");
    let refusal = if let Some(url) = &world.url {
        let mut db = cluster::shared().admin(url.rsplit('/').next().unwrap());
        db.execute(&sql, &[]).unwrap_err().as_db_error().unwrap().message().to_owned()
    } else {
        let db = Connection::open(world.folder.path().join("shop.db")).unwrap();
        db.execute(&sql, []).unwrap_err().to_string()
    };
    assert!(refusal.to_lowercase().contains("check constraint"), "{refusal}");
    world.assert_clean();
}

#[rstest]
#[case::refunded("UPDATE charges SET refunded = refunded + 1", "wallet: charge 1")]
#[case::disputed("UPDATE charges SET disputed = disputed + 1", "wallet: charge 1")]
#[case::reported("UPDATE charges SET reported_refunds = reported_refunds + 1", "wallet: charge 1")]
#[case::reported_less("UPDATE charges SET reported_refunds = 0", "wallet: charge 1")]
#[case::debt("UPDATE customers SET debt = debt + 1", "wallet: customer 1")]
#[case::negative_debt("UPDATE customers SET debt = -1", "wallet: customer 1")]
#[case::refund_gone("DELETE FROM refunds WHERE id = 3", "wallet: charge 1")]
#[case::dispute_gone(
    "DELETE FROM refunds WHERE kind = 'dispute' AND status = 'pending'",
    "wallet: charge 1"
)]
#[case::amount("UPDATE refunds SET amount = amount + 1 WHERE id = 3", "wallet: ledger entry 3")]
#[case::kind("UPDATE refunds SET kind = 'dispute' WHERE id = 3", "wallet: ledger entry 3")]
#[case::charge("UPDATE refunds SET charge_id = 9 WHERE id = 3", "wallet: refund 3")]
#[case::customer("UPDATE refunds SET customer_id = 9 WHERE id = 3", "wallet: refund 3")]
#[case::balance_after(
    "UPDATE refunds SET balance_after = 1 WHERE id = 3",
    "wallet: ledger entry 3"
)]
#[case::instant("UPDATE refunds SET created_at = 1 WHERE id = 3", "wallet: ledger entry 3")]
#[case::reference("UPDATE refunds SET reference = 'other' WHERE id = 3", "digests: refund 3")]
#[case::failed(
    "UPDATE refunds SET status = 'failed', failure = 'no' WHERE id = 3",
    "wallet: charge 1"
)]
#[case::failed_without_a_reason(
    "UPDATE refunds SET failure = NULL WHERE status = 'failed'",
    "wallet: refund 6"
)]
#[case::succeeded_with_a_reason(
    "UPDATE refunds SET failure = 'no' WHERE id = 3",
    "wallet: refund 3"
)]
#[case::settled_and_pending(
    "UPDATE refunds SET settled_at = NULL WHERE id = 3",
    "wallet: refund 3"
)]
#[case::entry_gone("DELETE FROM ledger WHERE id = 3", "wallet: refund 3")]
#[case::entry_of_another_charge(
    "UPDATE ledger SET charge_id = 9 WHERE id = 3",
    "wallet: ledger entry 3"
)]
#[case::entry_without_a_charge(
    "UPDATE ledger SET charge_id = NULL WHERE id = 3",
    "wallet: ledger entry 3"
)]
#[case::entry_of_a_refund_that_is_none(
    "UPDATE refunds SET id = 99 WHERE id = 3",
    "wallet: refund 99"
)]
#[case::debt_lent(
    "UPDATE ledger SET amount = amount + 1 WHERE kind = 6 AND amount > 0",
    "wallet: customer 1"
)]
#[case::key_of_a_refund_altered(
    "UPDATE idempotency_keys SET key = 'refunc' WHERE key = 'refund'",
    "digests: refund 3"
)]
fn audit_names_damage_of_refunds_and_debts(
    #[values(On::Sqlite, On::Postgres)] on: On,
    #[case] sql: &str,
    #[case] expected: &str,
) {
    let world = history_of_refunds(on);
    plant(&world, sql);
    let problems = problems(&world);
    assert!(problems.iter().any(|problem| problem == expected), "{problems:?}");
}
