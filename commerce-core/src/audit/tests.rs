//! A history without problems, and one case for each way in which it could be damaged.

use super::problems::Problems;
use super::{AuditReport, audit, check_tables};
use crate::clock::{ManualClock, Timestamp};
use crate::digest::Digested;
use crate::error::StoreError;
use crate::id::{CustomerId, Key, OrderId, OwnedCouponId, ProductId};
use crate::idempotency::{IdempotencyRecord, RefusedRequest, StoredResult};
use crate::model::audit_trail::{Action, Actor, Subject};
use crate::model::auth::{Credentials, PasswordHash, SessionRow, TokenHash};
use crate::model::coupon::BelowMinimum;
use crate::model::coupon::Discount;
use crate::model::event::EventKind;
use crate::model::order::{Order, OrderStatus};
use crate::model::patch::Patch;
use crate::model::wallet::{Account, ChargeSource, Customer, CustomerStatus, EntryKind, Role};
use crate::money::{Currency, Money};
use crate::rule::add_coupon::AddCoupon;
use crate::rule::add_customer::AddCustomer;
use crate::rule::add_product::AddProduct;
use crate::rule::cancel_order::CancelOrder;
use crate::rule::edit_cart::{CartEdit, EditCart};
use crate::rule::place_order::{PayWhen, PlaceOrder};
use crate::rule::tokens::CreateToken;
use crate::rule::update_product::UpdateProduct;
use crate::shop::Shop;
use crate::store::memory::MemoryStore;
use crate::store::{
    Counted, Figure, Record, SalesCount, SalesLevel, Snapshot, Store, Table, Transaction,
};
use rstest::rstest;
use std::sync::Arc;

const START: Timestamp = Timestamp::from_unix(1_767_225_600); // 2026-01-01
const KIM: CustomerId = CustomerId::new(1);
const LEE: CustomerId = CustomerId::new(2);
const TEA: ProductId = ProductId::new(1);
const CUP: ProductId = ProductId::new(2);

struct Shared(Arc<MemoryStore>);

impl Store for Shared {
    fn currency(&self) -> Currency {
        self.0.currency()
    }
    fn begin(&self) -> Result<Box<dyn Transaction + '_>, StoreError> {
        self.0.begin()
    }
    fn try_begin(&self) -> Result<Option<Box<dyn Transaction + '_>>, StoreError> {
        self.0.try_begin()
    }
    fn snapshot(&self) -> Result<Box<dyn Snapshot + '_>, StoreError> {
        self.0.snapshot()
    }
}

fn money(minor: i64) -> Money {
    Money::from_minor(minor)
}

fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

/// Order 1 of Kim is paid with coupon 1, order 2 of Lee is paid later, order 3 of Kim is cancelled,
/// order 4 of Lee is expired, and order 5 of Lee waits with coupon 2. Cups have a purchase limit.
fn history() -> Arc<MemoryStore> {
    let store = Arc::new(MemoryStore::new(Currency::KRW));
    let clock = Arc::new(ManualClock::new(START));
    let shop = Shop::builder()
        .clock(Arc::clone(&clock))
        .actor(Actor::Cli)
        .open(Shared(Arc::clone(&store)));
    for name in ["Kim", "Lee"] {
        shop.call(AddCustomer::new(name)).run().unwrap();
    }
    shop.call(AddProduct::new("Tea", money(100), 10)).run().unwrap();
    shop.call(AddProduct::new("Cup", money(30), 20)).run().unwrap();
    let discount = Discount::Fixed { amount: money(50) };
    let (name, quantity) = ("Fifty off".to_owned(), 3);
    let coupon = AddCoupon {
        below_minimum: BelowMinimum::Keep,
        name,
        discount,
        min_order_amount: None,
        quantity,
        valid_from: None,
        valid_until: None,
    };
    let coupon = shop.call(coupon).run().unwrap().id;

    shop.charge(KIM, money(1_000), &key("charge-1")).unwrap();
    shop.charge(LEE, money(500), &key("charge-2")).unwrap();
    shop.adjust_stock(TEA, 5, "found some", &key("adjust-1")).unwrap();
    let kims = Some(shop.claim_coupon(coupon, KIM, &key("claim-1")).unwrap().id);
    let lees = Some(shop.claim_coupon(coupon, LEE, &key("claim-2")).unwrap().id);
    let of_kim = PlaceOrder { owned_coupon_id: kims, ..PlaceOrder::new(KIM, [(TEA, 2), (CUP, 1)]) };
    shop.place_order(of_kim, &key("order-1")).unwrap();
    let later = PlaceOrder { pay: PayWhen::Later, ..PlaceOrder::new(LEE, [(CUP, 1)]) };
    let second = shop.place_order(later.clone(), &key("order-2")).unwrap().id;
    clock.set(START.plus_seconds(100));
    shop.pay_order(second, &key("pay-2")).unwrap();
    let third = shop.place_order(PlaceOrder::new(KIM, [(CUP, 2)]), &key("order-3")).unwrap().id;
    shop.cancel_order(third, &key("cancel-3")).unwrap();
    shop.place_order(later.clone(), &key("order-4")).unwrap();
    clock.set(START.plus_seconds(100_000));
    let held = PlaceOrder { owned_coupon_id: lees, ..later };
    shop.place_order(held, &key("order-5")).unwrap();
    shop.debit(KIM, money(10), &key("debit-1")).unwrap();
    shop.debit(LEE, money(9_999), &key("debit-2")).unwrap_err();
    shop.call(EditCart { customer_id: KIM, edit: CartEdit::Set(TEA, 1) }).run().unwrap();
    let limit_per_customer = Patch::Set(9);
    shop.call(UpdateProduct { limit_per_customer, ..UpdateProduct::new(CUP) }).run().unwrap();
    for number in ["token-1", "token-2"] {
        let hash = TokenHash::of(number).to_hex();
        let new = CreateToken { name: "till".to_owned(), role: Role::Clerk, days: None, hash };
        shop.call(new).key(&key(number)).run().unwrap();
    }
    store
}

/// Roll-ups by second, of products by hour, and of figures by quarter hour; the last two for the first hour.
fn levels() -> Vec<SalesLevel> {
    let level = |seconds, until, has_products, has_totals| SalesLevel {
        seconds,
        until,
        has_products,
        has_totals,
    };
    let hour = START.plus_seconds(3_600);
    vec![
        level(1, Timestamp::MAX, true, true),
        level(3_600, hour, true, false),
        level(900, hour, false, true),
    ]
}

/// Every row of the history, with sales counted at these [`levels`].
fn records() -> Vec<Record> {
    let store = history();
    let snapshot = store.snapshot().unwrap();
    let mut records = Vec::new();
    for table in Table::ALL {
        snapshot.scan(table, &mut |record| records.push(record)).unwrap();
    }
    let hours: Vec<_> = records
        .iter()
        .filter_map(|record| match record {
            Record::SalesCount(count) => {
                let seconds = if matches!(count.of, Counted::Figure(_)) { 900 } else { 3_600 };
                let start = Timestamp::from_unix(
                    count.start.unix().div_euclid(seconds).saturating_mul(seconds),
                );
                Some(Record::SalesCount(SalesCount { seconds, start, ..*count }))
            }
            _ => None,
        })
        .collect();
    records.extend(hours);
    records
}

fn table(record: &Record) -> Table {
    match record {
        Record::Account(_) => Table::Accounts,
        Record::Product(_) => Table::Products,
        Record::StockMovement(_) => Table::StockMovements,
        Record::CartLine { .. } => Table::Carts,
        Record::Coupon(_) => Table::Coupons,
        Record::OwnedCoupon(_) => Table::OwnedCoupons,
        Record::Order(_) => Table::Orders,
        Record::Purchase(_) => Table::Purchases,
        Record::Charge(_) => Table::Charges,
        Record::Refund(_) => Table::Refunds,
        Record::LedgerEntry(_) => Table::Ledger,
        Record::Event(_) => Table::Events,
        Record::Epoch(_) => Table::Epochs,
        Record::NextEvent(_) => Table::Relay,
        Record::Delivery(_) => Table::Deliveries,
        Record::Key { .. } => Table::Keys,
        Record::SalesCount(_) => Table::Sales,
        Record::Credentials(_) => Table::Credentials,
        Record::Session(_) => Table::Sessions,
        Record::Settings(_) => Table::Settings,
        Record::Token(_) => Table::Tokens,
        Record::AuditEntry(_) => Table::AuditTrail,
        Record::Digest { of, .. } => match of {
            Digested::Order(_) => Table::Orders,
            Digested::Charge(_) => Table::Charges,
            Digested::Refund(_) => Table::Refunds,
            Digested::Debit(_) => Table::Ledger,
            Digested::OwnedCoupon(_) => Table::OwnedCoupons,
        },
    }
}

/// The problems that the audit reports for these rows, each as `check: subject`.
fn reported(records: &[Record]) -> Vec<String> {
    let scan = |wanted: Table, visit: &mut dyn FnMut(Record)| {
        records.iter().filter(|record| table(record) == wanted).cloned().for_each(visit);
        Ok(())
    };
    let mut problems = Problems::default();
    check_tables(&scan, levels(), &mut problems).unwrap();
    let named = problems.into_list().into_iter();
    named.map(|problem| format!("{}: {}", problem.check, problem.subject)).collect()
}

#[test]
fn audit_of_a_sound_history_finds_no_problem() {
    let store = history();
    let AuditReport { ok, checked, problems } = audit(&*store.snapshot().unwrap()).unwrap();
    assert_eq!((ok, problems), (true, vec![]));
    let expected = [
        ("audit_trail", 13),
        ("carts", 1),
        ("charges", 2),
        ("coupons", 1),
        ("credentials", 0),
        ("customers", 2),
        ("deliveries", 0),
        ("epochs", 1),
        ("events", 4),
        ("keys", 16),
        ("ledger", 7),
        ("orders", 5),
        ("owned_coupons", 2),
        ("products", 2),
        ("purchases", 2),
        ("refunds", 0),
        ("relay", 1),
        ("sales", 21),
        ("sessions", 0),
        ("settings", 1),
        ("stock_movements", 3),
        ("tokens", 2),
    ];
    assert_eq!(checked.into_iter().collect::<Vec<_>>(), expected);
    assert_eq!(reported(&records()), [""; 0]);
}

#[test]
fn audit_reports_an_unreadable_row_and_ends_there() {
    let corrupt = |wanted: Table, visit: &mut dyn FnMut(Record)| match wanted {
        Table::Ledger => Err(StoreError::Corrupt("no such kind".to_owned())),
        _ => history().snapshot().unwrap().scan(wanted, visit),
    };
    let mut problems = Problems::default();
    check_tables(&corrupt, levels(), &mut problems).unwrap();
    let subjects: Vec<_> =
        problems.into_list().into_iter().map(|problem| problem.subject).collect();
    assert_eq!(subjects, ["table ledger"]);
    let busy = |_: Table, _: &mut dyn FnMut(Record)| Err(StoreError::Busy(None));
    assert_eq!(
        check_tables(&busy, levels(), &mut Problems::default()),
        Err(StoreError::Busy(None))
    );
}

#[rstest]
#[case::empty(START, &[])]
#[case::the_first_minute(START.plus_seconds(60), &[
    "sales of product 1 in 60 s from 2026-01-01T00:00:00Z", "sales of product 2 in 60 s from 2026-01-01T00:00:00Z",
    "money for product 1 in 60 s from 2026-01-01T00:00:00Z", "money for product 2 in 60 s from 2026-01-01T00:00:00Z",
])]
fn audit_requires_rollup_counts_up_to_the_watermark(
    #[case] until: Timestamp,
    #[case] expected: &[&str],
) {
    let store = history();
    let snapshot = store.snapshot().unwrap();
    let scan = |table: Table, visit: &mut dyn FnMut(Record)| snapshot.scan(table, visit);
    let mut levels = snapshot.sales_levels().unwrap();
    levels.push(SalesLevel { seconds: 60, until, has_products: true, has_totals: false });
    let mut problems = Problems::default();
    check_tables(&scan, levels, &mut problems).unwrap();
    let subjects: Vec<_> =
        problems.into_list().into_iter().map(|problem| problem.subject).collect();
    assert_eq!(subjects, expected);
}

type Damage = fn(&mut Vec<Record>);

/// Changes the matching rows.
macro_rules! change {
    ($row:pat if $fits:expr => $($change:tt)+) => {
        |records: &mut Vec<Record>| {
            for record in records.iter_mut() {
                match record {
                    $row if $fits => { $($change)+; }
                    _ => {}
                }
            }
        }
    };
}

/// Removes the matching rows.
macro_rules! lose {
    ($row:pat if $fits:expr) => {
        |records: &mut Vec<Record>| records.retain(|record| !matches!(record, $row if $fits))
    };
}

/// Adds a changed copy of the matching row.
macro_rules! copy {
    ($row:pat if $fits:expr => $($change:tt)+) => {
        |records: &mut Vec<Record>| {
            let mut copy = records.iter().find(|record| matches!(record, $row if $fits)).unwrap().clone();
            if let $row = &mut copy { $($change)+; }
            records.push(copy);
        }
    };
}

#[rstest]
#[case::balance(
    change!(Record::Account(a) if a.customer.id == KIM => a.balance = money(1)),
    &["customer 1"],
)]
#[case::balance_below_zero(
    change!(Record::Account(a) if a.customer.id == KIM => a.balance = money(-1)),
    &["customer 1", "customer 1"],
)]
#[case::last_entry(
    change!(Record::Account(a) if a.customer.id == LEE => a.last_entry = None),
    &["customer 2"],
)]
#[case::balance_after(
    change!(Record::LedgerEntry(e) if e.id.get() == 4 => e.balance_after = money(1)),
    &["ledger entry 4"],
)]
#[case::previous_entry(
    change!(Record::LedgerEntry(e) if e.id.get() == 6 => e.previous = None),
    &["ledger entry 6"],
)]
#[case::debit_that_adds(
    change!(Record::LedgerEntry(e) if e.id.get() == 7 => e.amount = money(10)),
    &["ledger entry 7", "ledger entry 7", "customer 1"],
)]
#[case::edge_amount(
    change!(Record::LedgerEntry(e) if e.id.get() == 1 => e.amount = money(i64::MAX)),
    &["ledger entry 1", "ledger entry 1", "customer 1"],
)]
#[case::entry_of_unknown_customer(
    change!(Record::LedgerEntry(e) if e.id.get() == 7 => e.customer_id = CustomerId::new(9)),
    &["ledger entry 7", "customer 1", "customer 1"],
)]
#[case::lost_charge(lose!(Record::Charge(c) if c.id.get() == 2), &["ledger entry 2"])]
#[case::charge_without_entry(
    copy!(Record::Charge(c) if c.id.get() == 2 => c.id = 3.into()),
    &["charge 3"],
)]
#[case::charge_amount(
    change!(Record::Charge(c) if c.id.get() == 2 => c.amount = money(1)),
    &["ledger entry 2"],
)]
#[case::charge_named_twice(
    change!(Record::LedgerEntry(e) if e.id.get() == 1 => e.charge_id = Some(2.into())),
    &["ledger entry 1", "ledger entry 2", "charge 1"],
)]
#[case::payment_names_a_charge(
    change!(Record::LedgerEntry(e) if e.id.get() == 3 => e.charge_id = Some(1.into())),
    &["ledger entry 3"],
)]
#[case::charge_names_none(
    change!(Record::LedgerEntry(e) if e.id.get() == 1 => e.charge_id = None),
    &["ledger entry 1", "charge 1"],
)]
fn damaged_money_is_reported(#[case] damage: Damage, #[case] expected: &[&str]) {
    assert_reported("wallet", damage, expected);
}

fn expire(order: &mut Order) {
    order.status = OrderStatus::Expired;
}

#[rstest]
#[case::no_lines(
    change!(Record::Order(o) if o.id.get() == 4 => o.lines.clear()),
    &["order 4", "order 4"],
)]
#[case::quantity(
    change!(Record::Order(o) if o.id.get() == 4 => o.lines[0].quantity = 0),
    &["order 4", "order 4"],
)]
#[case::line_amount(
    change!(Record::Order(o) if o.id.get() == 4 => o.lines[0].amount = money(1)),
    &["order 4", "order 4"],
)]
#[case::a_product_twice(
    change!(Record::Order(o) if o.id.get() == 1 => o.lines[1].product_id = TEA),
    &["order 1"],
)]
#[case::regular_price(
    change!(Record::Order(o) if o.id.get() == 4 => o.lines[0].regular_price = money(29)),
    &["order 4"],
)]
#[case::subtotal(
    change!(Record::Order(o) if o.id.get() == 4 => (o.subtotal, o.total) = (money(9), money(9))),
    &["order 4"],
)]
#[case::discount_without_coupon(
    change!(Record::Order(o) if o.id.get() == 4 => (o.discount, o.total) = (money(9), money(21))),
    &["order 4"],
)]
#[case::total(change!(Record::Order(o) if o.id.get() == 4 => o.total = money(9)), &["order 4"])]
#[case::total_below_zero(
    change!(Record::Order(o) if o.id.get() == 5 => (o.discount, o.total) = (money(31), money(-1))),
    &["order 5"],
)]
#[case::expired_and_cancelled(
    change!(Record::Order(o) if o.id.get() == 4 => o.cancelled_at = Some(START)),
    &["order 4"],
)]
#[case::pending_without_expiry(
    change!(Record::Order(o) if o.id.get() == 5 => o.expires_at = None),
    &["order 5"],
)]
#[case::previous_order(
    change!(Record::Order(o) if o.id.get() == 3 => o.previous = Some(OrderId::new(2))),
    &["order 3"],
)]
#[case::last_order(
    change!(Record::Account(a) if a.customer.id == KIM => a.last_order = Some(OrderId::new(1))),
    &["customer 1"],
)]
#[case::order_of_unknown_customer(
    change!(Record::Order(o) if o.id.get() == 4 => o.customer_id = CustomerId::new(9)),
    &["order 4", "order 5"],
)]
fn damaged_orders_are_reported(#[case] damage: Damage, #[case] expected: &[&str]) {
    assert_reported("orders", damage, expected);
}

#[rstest]
#[case::lost_payment(lose!(Record::LedgerEntry(e) if e.id.get() == 4), &["order 2"])]
#[case::lost_refund(lose!(Record::LedgerEntry(e) if e.id.get() == 6), &["order 3"])]
#[case::paid_twice(
    copy!(Record::LedgerEntry(e) if e.id.get() == 4 => e.id = 8.into()),
    &["ledger entry 8"],
)]
#[case::refund_of_a_paid_order(
    change!(Record::LedgerEntry(e) if e.id.get() == 6 => e.order_id = Some(OrderId::new(1))),
    &["ledger entry 6", "ledger entry 6", "order 3"],
)]
#[case::payment_of_a_pending_order(
    change!(Record::LedgerEntry(e) if e.id.get() == 4 => e.order_id = Some(OrderId::new(5))),
    &["ledger entry 4", "ledger entry 4", "order 2"],
)]
#[case::amount(
    change!(Record::LedgerEntry(e) if e.id.get() == 4 => e.amount = money(-1)),
    &["ledger entry 4"],
)]
#[case::another_customer(
    change!(Record::LedgerEntry(e) if e.id.get() == 4 => e.customer_id = KIM),
    &["ledger entry 4"],
)]
#[case::unknown_order(
    change!(Record::LedgerEntry(e) if e.id.get() == 4 => e.order_id = Some(OrderId::new(9))),
    &["ledger entry 4", "order 2"],
)]
#[case::no_order(
    change!(Record::LedgerEntry(e) if e.id.get() == 4 => e.order_id = None),
    &["ledger entry 4", "order 2"],
)]
#[case::debit_of_an_order(
    change!(Record::LedgerEntry(e) if e.id.get() == 7 => e.order_id = Some(OrderId::new(1))),
    &["ledger entry 7"],
)]
#[case::payment_called_a_debit(
    change!(Record::LedgerEntry(e) if e.id.get() == 4 => e.kind = EntryKind::Debit),
    &["ledger entry 4", "order 2"],
)]
fn damaged_payments_are_reported(#[case] damage: Damage, #[case] expected: &[&str]) {
    assert_reported("payments", damage, expected);
}

#[rstest]
#[case::stock(change!(Record::Product(p) if p.id == TEA => p.stock = 12), &["product 1"])]
#[case::stock_below_zero(
    change!(Record::Product(p) if p.id == TEA => p.stock = -1),
    &["product 1", "product 1"],
)]
#[case::movement(
    change!(Record::StockMovement(m) if m.id.get() == 2 => m.delta = i64::MIN),
    &["product 2"],
)]
#[case::movement_of_unknown_product(
    change!(Record::StockMovement(m) if m.id.get() == 3 => m.product_id = ProductId::new(9)),
    &["stock movement 3", "product 1"],
)]
#[case::line_of_unknown_product(
    change!(Record::Order(o) if o.id.get() == 4 => o.lines[0].product_id = ProductId::new(9)),
    &["order 4"],
)]
#[case::lapsed_without_release(
    change!(Record::Order(o) if o.id.get() == 5 => expire(o)),
    &["product 2"],
)]
fn damaged_stock_is_reported(#[case] damage: Damage, #[case] expected: &[&str]) {
    assert_reported("stock", damage, expected);
}

#[rstest]
#[case::units(
    change!(Record::Purchase(p) if p.customer_id == LEE => p.units = 1),
    &["purchases of product 2 by customer 2"],
)]
#[case::lost(
    lose!(Record::Purchase(p) if p.customer_id == KIM),
    &["purchases of product 2 by customer 1"],
)]
#[case::no_limit(
    change!(Record::Product(p) if p.id == CUP => p.limit_per_customer = None),
    &["purchases of product 2 by customer 1", "purchases of product 2 by customer 2"],
)]
#[case::not_counted(
    change!(Record::Product(p) if p.id == TEA => p.limit_per_customer = Some(1)),
    &["purchases of product 1 by customer 1"],
)]
#[case::unknown_customer(
    change!(Record::Purchase(p) if p.customer_id == LEE => p.customer_id = CustomerId::new(9)),
    &[
        "purchases of product 2 by customer 9",
        "purchases of product 2 by customer 9",
        "purchases of product 2 by customer 2",
    ],
)]
#[case::unknown_product(
    change!(Record::Purchase(p) if p.customer_id == LEE => p.product_id = ProductId::new(9)),
    &["purchases of product 9 by customer 2", "purchases of product 2 by customer 2"],
)]
#[case::not_given_back(
    change!(Record::Order(o) if o.id.get() == 5 => expire(o)),
    &["purchases of product 2 by customer 2"],
)]
fn damaged_purchases_are_reported(#[case] damage: Damage, #[case] expected: &[&str]) {
    assert_reported("purchases", damage, expected);
}

#[rstest]
#[case::issued(change!(Record::Coupon(c) if c.issued == 2 => c.issued = 3), &["coupon 1"])]
#[case::too_many(change!(Record::Coupon(c) if c.issued == 2 => c.quantity = 1), &["coupon 1"])]
#[case::lost(
    lose!(Record::OwnedCoupon(o) if o.id.get() == 1),
    &["order 1", "coupon 1", "coupon 1", "coupon 1", "coupon 1", "coupon 1"],
)]
#[case::rank_too_high(
    change!(Record::OwnedCoupon(o) if o.id.get() == 1 => o.rank = 7),
    &["coupon 1", "owned coupon 1"],
)]
#[case::rank_twice(
    change!(Record::OwnedCoupon(o) if o.id.get() == 2 => o.rank = 1),
    &["owned coupon 2"],
)]
#[case::one_customer_two(
    change!(Record::OwnedCoupon(o) if o.id.get() == 2 => o.customer_id = KIM),
    &["order 5", "owned coupon 2"],
)]
#[case::unknown_coupon(
    change!(Record::OwnedCoupon(o) if o.id.get() == 2 => o.coupon_id = 9.into()),
    &["owned coupon 2", "coupon 1", "coupon 1", "owned coupon 2"],
)]
#[case::unknown_customer(
    change!(Record::OwnedCoupon(o) if o.id.get() == 2 => o.customer_id = 9.into()),
    &["owned coupon 2", "order 5"],
)]
#[case::held_though_used(
    change!(Record::OwnedCoupon(o) if o.id.get() == 1 => o.order_id = None),
    &["order 1"],
)]
#[case::used_by_another(
    change!(Record::OwnedCoupon(o) if o.id.get() == 1 => o.order_id = Some(OrderId::new(2))),
    &["order 1", "owned coupon 1"],
)]
#[case::not_released(
    change!(Record::Order(o) if o.id.get() == 5 => expire(o)),
    &["coupon 1", "coupon 1", "owned coupon 2"],
)]
#[case::order_without_it(
    change!(Record::Order(o) if o.id.get() == 1 => o.owned_coupon_id = None),
    &["coupon 1", "coupon 1", "coupon 1", "owned coupon 1"],
)]
#[case::two_orders(
    change!(Record::Order(o) if o.id.get() == 2 => o.owned_coupon_id = Some(OwnedCouponId::new(2))),
    &["order 2", "coupon 1", "coupon 1"],
)]
#[case::used(change!(Record::Coupon(c) if c.usage.used == 2 => c.usage.used = 1), &["coupon 1"])]
#[case::given_back(change!(Record::Coupon(c) if true => c.usage.given_back = 1), &["coupon 1"])]
#[case::discounts(change!(Record::Coupon(c) if true => c.usage.discounts = Money::ZERO), &["coupon 1"])]
#[case::payments(change!(Record::Coupon(c) if true => c.usage.net = Money::ZERO), &["coupon 1"])]
fn damaged_coupons_are_reported(#[case] damage: Damage, #[case] expected: &[&str]) {
    assert_reported("coupons", damage, expected);
}

#[rstest]
#[case::units(
    change!(Record::SalesCount(c) if (c.seconds, c.of) == (3_600, Counted::Units(TEA)) => c.count = 3),
    &["sales of product 1 in 3600 s from 2026-01-01T00:00:00Z"],
)]
#[case::lost(
    lose!(Record::SalesCount(c) if (c.seconds, c.of) == (1, Counted::Units(TEA))),
    &["sales of product 1 in 1 s from 2026-01-01T00:00:00Z"],
)]
#[case::no_such_bucket(
    change!(Record::SalesCount(c) if (c.seconds, c.of) == (1, Counted::Units(TEA)) => c.start = START.plus_seconds(3)),
    &["sales of product 1 in 1 s from 2026-01-01T00:00:00Z", "sales of product 1 in 1 s from 2026-01-01T00:00:03Z"],
)]
#[case::another_day(
    change!(Record::SalesCount(c) if (c.seconds, c.of) == (1, Counted::Units(TEA)) => c.start = START.plus_seconds(86_400)),
    &["sales of product 1 in 1 s from 2026-01-01T00:00:00Z", "sales of product 1 in 1 s from 2026-01-02T00:00:00Z"],
)]
#[case::no_such_level(
    change!(Record::SalesCount(c) if (c.seconds, c.of) == (1, Counted::Units(TEA)) => c.seconds = 7),
    &["sales of product 1 in 1 s from 2026-01-01T00:00:00Z", "sales of product 1 in 7 s from 2026-01-01T00:00:00Z"],
)]
#[case::counted_though_not_paid(
    change!(Record::Order(o) if o.id.get() == 2 => expire(o)),
    &[
        "sales of product 2 in 1 s from 2026-01-01T00:01:40Z",
        "money for product 2 in 1 s from 2026-01-01T00:01:40Z",
        "orders in 1 s from 2026-01-01T00:01:40Z",
        "units in 1 s from 2026-01-01T00:01:40Z",
        "gross in 1 s from 2026-01-01T00:01:40Z",
        "first orders in 1 s from 2026-01-01T00:01:40Z",
        "orders in 900 s from 2026-01-01T00:00:00Z",
        "units in 900 s from 2026-01-01T00:00:00Z",
        "gross in 900 s from 2026-01-01T00:00:00Z",
        "first orders in 900 s from 2026-01-01T00:00:00Z",
        "sales of product 2 in 3600 s from 2026-01-01T00:00:00Z",
        "money for product 2 in 3600 s from 2026-01-01T00:00:00Z",
    ],
)]
#[case::money(
    change!(Record::SalesCount(c) if (c.seconds, c.of) == (3_600, Counted::Net(CUP)) => c.count += 1),
    &["money for product 2 in 3600 s from 2026-01-01T00:00:00Z"],
)]
#[case::figure(
    change!(Record::SalesCount(c) if (c.seconds, c.of) == (900, Counted::Figure(Figure::VoidUnits)) => c.count = 1),
    &["void units in 900 s from 2026-01-01T00:00:00Z"],
)]
#[case::lost_figure(
    lose!(Record::SalesCount(c) if (c.seconds, c.of) == (1, Counted::Figure(Figure::Refunds))),
    &["sales of all time", "refunds in 1 s from 2026-01-01T00:01:40Z"],
)]
#[case::ledger(
    change!(Record::LedgerEntry(e) if e.kind == EntryKind::Refund => e.amount = Money::from_minor(59)),
    &["sales of all time"],
)]
#[case::another_first_order(
    change!(Record::Account(a) if a.customer.id == LEE => a.first_order = None),
    &[
        "first orders in 1 s from 2026-01-01T00:01:40Z",
        "first orders in 900 s from 2026-01-01T00:00:00Z",
    ],
)]
fn damaged_rollups_are_reported(#[case] damage: Damage, #[case] expected: &[&str]) {
    assert_reported("sales", damage, expected);
}

#[rstest]
#[case::none(change!(Record::Account(a) if a.customer.id == KIM => a.first_order = None), &["customer 1"])]
#[case::not_cancelled(
    change!(Record::Order(o) if o.id.get() == 1 => o.status = OrderStatus::Cancelled),
    &["customer 1"],
)]
#[case::earlier_one(
    change!(Record::Order(o) if o.id.get() == 3 => o.paid_at = Some(Timestamp::MIN)),
    &["customer 1"],
)]
fn damaged_first_orders_are_reported(#[case] damage: Damage, #[case] expected: &[&str]) {
    assert_reported("first_orders", damage, expected);
}

#[rstest]
#[case::gap(lose!(Record::Event(e) if e.id.get() == 2), &["event 2", "order 2"])]
#[case::first_lost(lose!(Record::Event(e) if e.id.get() == 1), &["event 1", "order 1"])]
#[case::last_lost(lose!(Record::Event(e) if e.id.get() == 4), &["order 3"])]
#[case::repeated(copy!(Record::Event(e) if e.id.get() == 4 => e.id = 5.into()), &["event 5"])]
#[case::of_another_order(
    copy!(Record::Event(e) if e.id.get() == 4 => (e.id, e.order_id) = (5.into(), OrderId::new(1))),
    &["event 5"],
)]
#[case::unknown_order(
    copy!(Record::Event(e) if e.id.get() == 4 => (e.id, e.order_id) = (5.into(), OrderId::new(9))),
    &["event 5"],
)]
#[case::wrong_kind(
    change!(Record::Event(e) if e.id.get() == 2 => e.kind = EventKind::OrderCancelled),
    &["event 2", "order 2"],
)]
fn damaged_events_are_reported(#[case] damage: Damage, #[case] expected: &[&str]) {
    assert_reported("events", damage, expected);
}

#[rstest]
#[case::owner(
    change!(Record::Key { key, owner, .. } if key.as_str() == "order-1" => *owner = LEE),
    &["key order-1 of customer 2"],
)]
#[case::no_owner(
    change!(Record::Key { key, owner, .. } if key.as_str() == "debit-2" => *owner = CustomerId::new(9)),
    &["key debit-2 of customer 9"],
)]
#[case::shop(
    change!(Record::Key { key, owner, .. } if key.as_str() == "order-1" => *owner = CustomerId::new(0)),
    &["key order-1 of the shop"],
)]
#[case::shops(
    change!(Record::Key { key, owner, .. } if key.as_str() == "adjust-1" => *owner = KIM),
    &["key adjust-1 of customer 1"],
)]
#[case::order(
    change!(Record::Key { record, .. } if matches!(&record.answer, StoredResult::Order(id, _) if id.get() == 4) => record.answer = StoredResult::Order(OrderId::new(9), OrderStatus::Paid)),
    &["key order-4 of customer 2"],
)]
#[case::request_of_a_success(
    change!(Record::Key { key, record, .. } if key.as_str() == "order-1" => record.request = Some(RefusedRequest {
        operation: "{}".to_owned(),
        is_redacted: true,
        last_order: OrderId::new(0),
        last_movement: 0,
        last_event: 0,
    })),
    &["key order-1 of customer 1"],
)]
#[case::another_request(
    change!(Record::Key { record, .. } if record.request.is_some() => record.request.as_mut().unwrap().is_redacted = false),
    &["key debit-2 of customer 2"],
)]
#[case::lost_owned_coupon(
    lose!(Record::OwnedCoupon(o) if o.id.get() == 1),
    &["key claim-1 of customer 1"],
)]
#[case::lost_product(lose!(Record::Product(p) if p.id == TEA), &["key adjust-1 of the shop"])]
#[case::lost_debit(
    lose!(Record::LedgerEntry(e) if e.id.get() == 7),
    &["key debit-1 of customer 1"],
)]
fn damaged_idempotency_keys_are_reported(#[case] damage: Damage, #[case] expected: &[&str]) {
    assert_reported("keys", damage, expected);
}

#[rstest]
#[case::unknown_customer(
    change!(Record::CartLine { customer_id, .. } if *customer_id == KIM => *customer_id = 9.into()),
    &["product 1 in the cart of customer 9"],
)]
#[case::unknown_product(
    change!(Record::CartLine { product_id, .. } if *product_id == TEA => *product_id = 9.into()),
    &["product 9 in the cart of customer 1"],
)]
#[case::quantity_below_one(
    change!(Record::CartLine { quantity, .. } if *quantity == 1 => *quantity = 0),
    &["product 1 in the cart of customer 1"],
)]
fn damaged_carts_are_reported(#[case] damage: Damage, #[case] expected: &[&str]) {
    assert_reported("carts", damage, expected);
}

#[rstest]
#[case::lost(lose!(Record::AuditEntry(e) if e.action == Action::StockAdjusted), &["audit entry 9", "stock movement 3"])]
#[case::unknown_actor(
    change!(Record::AuditEntry(e) if e.id.get() == 2 => e.actor = Actor::Customer(9.into())),
    &["audit entry 2"],
)]
#[case::unknown_subject(
    change!(Record::AuditEntry(e) if e.id.get() == 2 => e.subject = Subject::Product(9.into())),
    &["audit entry 2"],
)]
#[case::another_actor(
    change!(Record::AuditEntry(e) if e.action == Action::StockAdjusted => e.actor = Actor::Customer(KIM)),
    &["stock movement 3"],
)]
#[case::unknown_token(
    change!(Record::AuditEntry(e) if e.id.get() == 2 => e.actor = Actor::Token(9.into())),
    &["audit entry 2"],
)]
fn damaged_audit_trail_is_reported(#[case] damage: Damage, #[case] expected: &[&str]) {
    assert_reported("audit_trail", damage, expected);
}

/// Erases Kim's account only, or with the name.
fn erase(records: &mut [Record], name: &str) {
    for record in records {
        if let Record::Account(Account { customer, .. }) = record
            && customer.id == KIM
        {
            (customer.status, customer.name) = (CustomerStatus::Erased, name.to_owned());
        }
    }
}

fn is_cart(record: &Record) -> bool {
    matches!(record, Record::CartLine { .. })
}

fn erased_without_cart(records: &mut Vec<Record>) {
    erase(records, Customer::ERASED_NAME);
    records.retain(|record| !is_cart(record));
}

fn kept_answer(answer: StoredResult, owner: CustomerId) -> Record {
    let (created_at, digest) = (START, None);
    let record = IdempotencyRecord { fingerprint: 1, answer, created_at, digest, request: None };
    Record::Key { key: key("kept"), owner, record }
}

fn session_of(customer_id: CustomerId) -> Record {
    let token = TokenHash::new([7; 32]);
    let expires_at = START.plus_seconds(60);
    Record::Session(SessionRow { token, customer_id, created_at: START, expires_at })
}

#[rstest]
#[case::named(|rows: &mut Vec<Record>| { erased_without_cart(rows); erase(rows, "Kim") }, &["customer 1"])]
#[case::with_cart(|rows: &mut Vec<Record>| erase(rows, Customer::ERASED_NAME), &["cart of customer 1"])]
#[case::with_login(
    |rows: &mut Vec<Record>| {
        erased_without_cart(rows);
        let (login, password) = ("kim".to_owned(), PasswordHash::new("$argon2id$..."));
        rows.push(Record::Credentials(Credentials { customer_id: KIM, login, password }));
    },
    &["credentials of customer 1"],
)]
#[case::with_payment_method(
    |rows: &mut Vec<Record>| {
        erased_without_cart(rows);
        for record in rows {
            if let Record::Charge(row) = record && row.customer_id == KIM {
                let (gateway, reference) = ("bank".to_owned(), "one".to_owned());
                let payment_method = Some("card".to_owned());
                row.source = Some(ChargeSource { gateway, reference, payment_method });
            }
        }
    },
    &["charge 1"],
)]
#[case::with_session(
    |rows: &mut Vec<Record>| { erased_without_cart(rows); rows.push(session_of(KIM)) },
    &["session of customer 1"],
)]
#[case::named_by_key(
    |rows: &mut Vec<Record>| {
        erased_without_cart(rows);
        let found = rows.iter().find_map(|record| match record {
            Record::Account(row) if row.customer.id == KIM => Some(row.customer.clone()),
            _ => None,
        });
        let customer = Customer { name: "Kim".to_owned(), ..found.unwrap() };
        rows.push(kept_answer(StoredResult::Customer(customer), KIM));
    },
    &["key kept"],
)]
#[case::disabled_with_session(
    |rows: &mut Vec<Record>| {
        for record in rows.iter_mut() {
            if let Record::Account(row) = record && row.customer.id == LEE {
                row.customer.status = CustomerStatus::Disabled;
            }
        }
        rows.push(session_of(LEE));
    },
    &["session of customer 2"],
)]
fn remains_of_customers_are_reported(#[case] damage: Damage, #[case] expected: &[&str]) {
    assert_reported("customers", damage, expected);
}

#[rstest]
#[case::lost(lose!(Record::Token(t) if t.id.get() == 1), &["token 2"])]
#[case::role(change!(Record::Token(t) if t.id.get() == 1 => t.role = Role::Customer), &["token 1"])]
#[case::hash(change!(Record::Token(t) if t.id.get() == 1 => t.hash = "secret".to_owned()), &["token 1"])]
#[case::same_hash(change!(Record::Token(t) if t.id.get() > 0 => t.hash = "a".repeat(64)), &["token 2"])]
fn damaged_tokens_are_reported(#[case] damage: Damage, #[case] expected: &[&str]) {
    assert_reported("tokens", damage, expected);
}

/// Asserts that the check reports exactly these rows; other checks may report some as well.
fn assert_reported(check: &str, damage: Damage, subjects: &[&str]) {
    let mut records = records();
    damage(&mut records);
    let reported = reported(&records);
    let prefix = format!("{check}: ");
    let rows: Vec<_> =
        reported.iter().filter_map(|problem| problem.strip_prefix(&prefix)).collect();
    assert_eq!(rows, subjects);
}

/// The history, and then parts: of order 1 a cup that is lost and a cup of tea that goes back, and of order 6 of Lee a cup
/// before and a cup after the payment.
fn history_with_parts() -> Vec<Record> {
    let store = history();
    let clock = Arc::new(ManualClock::new(START.plus_seconds(200_000)));
    let shop = Shop::builder().clock(Arc::clone(&clock)).open(Shared(Arc::clone(&store)));
    let cancel = |order: i64, product, keep_stock, name: &str| {
        let (order_id, items) = (OrderId::new(order), Some(vec![(product, 1)]));
        let request = CancelOrder { order_id, items, keep_stock };
        shop.call(request).key(&key(name)).run().unwrap();
    };
    cancel(1, TEA, false, "part-1");
    clock.set(START.plus_seconds(200_001));
    cancel(1, CUP, true, "part-2");
    let later = PlaceOrder { pay: PayWhen::Later, ..PlaceOrder::new(LEE, [(CUP, 3)]) };
    let order = shop.place_order(later, &key("order-6")).unwrap().id;
    assert_eq!(order, OrderId::new(6));
    cancel(6, CUP, false, "part-3");
    shop.pay_order(order, &key("pay-6")).unwrap();
    cancel(6, CUP, false, "part-4");
    let snapshot = store.snapshot().unwrap();
    let mut records = Vec::new();
    for table in Table::ALL {
        snapshot.scan(table, &mut |record| records.push(record)).unwrap();
    }
    records
}

/// Changes the cancellation with that position of an order.
macro_rules! change_part {
    ($order:literal, $index:literal, $part:ident => $($change:tt)+) => {
        change!(Record::Order(o) if o.id.get() == $order => {
            let $part = &mut o.cancellations[$index];
            $($change)+;
        })
    };
}

/// Checks the cancellations, the ledger and the events of damaged parts, without a roll-up of sales.
fn reported_of_parts(damage: Damage) -> Vec<String> {
    let mut records = history_with_parts();
    damage(&mut records);
    let scan = |wanted: Table, visit: &mut dyn FnMut(Record)| {
        records.iter().filter(|record| table(record) == wanted).cloned().for_each(visit);
        Ok(())
    };
    let mut problems = Problems::default();
    let levels = levels().into_iter().take(1).collect();
    check_tables(&scan, levels, &mut problems).unwrap();
    let named = problems.into_list().into_iter();
    named.map(|problem| format!("{}: {}", problem.check, problem.subject)).collect()
}

#[test]
fn audit_of_parts_finds_no_problem() {
    assert_eq!(reported_of_parts(|_| {}), [""; 0]);
}

#[rstest]
#[case::number(change_part!(1, 1, part => part.number = 3), 1)]
#[case::customer(change_part!(1, 0, part => part.customer_id = LEE), 1)]
#[case::product_of_no_line(change_part!(1, 1, part => part.product_id = ProductId::new(9)), 1)]
#[case::event_before_that_of_the_part_before(
    change_part!(1, 1, part => part.event_id = Some(1.into())),
    1
)]
#[case::no_event_after_the_payment(change_part!(1, 1, part => part.event_id = None), 1)]
#[case::nothing_left(
    change_part!(1, 0, part => {
        (part.units, part.line_units) = (2, 2);
        (part.amount, part.line_amount) = (money(157), money(157));
    }),
    1
)]
#[case::sum_of_units(change_part!(1, 0, part => part.line_units = 2), 1)]
#[case::sum_of_amounts(change_part!(1, 0, part => part.line_amount = money(78)), 1)]
#[case::quantity(change_part!(1, 0, part => part.quantity = 3), 1)]
#[case::net(change_part!(1, 0, part => part.net = money(156)), 1)]
#[case::negative_units(change_part!(1, 0, part => (part.units, part.line_units) = (-1, -1)), 2)]
#[case::more_than_the_line(
    change_part!(1, 0, part => {
        (part.units, part.line_units) = (3, 3);
        (part.amount, part.line_amount) = (money(157), money(157));
    }),
    1
)]
#[case::more_than_its_share(
    change_part!(1, 0, part => (part.amount, part.line_amount) = (money(80), money(80))),
    1
)]
#[case::less_than_its_share(
    change_part!(1, 0, part => (part.amount, part.line_amount) = (money(78), money(78))),
    1
)]
fn damaged_cancellations_are_reported(#[case] damage: Damage, #[case] times: usize) {
    let reported = reported_of_parts(damage);
    let own = reported.iter().filter(|problem| *problem == "cancellations: order 1");
    assert_eq!(own.count(), times, "{reported:#?}");
}

#[rstest]
#[case::lost(
    change!(Record::Order(o) if o.id.get() == 6 => o.cancellations.remove(0)),
    "cancellations: order 6"
)]
#[case::of_an_unpaid_order(
    change!(Record::Order(o) if o.id.get() == 6 => o.paid_at = None),
    "cancellations: order 6"
)]
#[case::units_that_did_not_go_back(
    change_part!(1, 1, part => part.is_restocked = true),
    "stock: product 2"
)]
#[case::units_that_went_back(change_part!(1, 0, part => part.is_restocked = false), "stock: product 1")]
#[case::units_of_a_limited_product(
    change!(Record::Order(o) if o.id.get() == 6 => o.cancellations.pop()),
    "purchases: purchases of product 2 by customer 2"
)]
#[case::instant(
    change_part!(1, 0, part => part.created_at = START),
    "events: event 5"
)]
#[case::instant_of_the_refund(
    change_part!(1, 0, part => part.created_at = START),
    "payments: ledger entry 8"
)]
#[case::event_of_another_order(
    change_part!(1, 1, part => part.event_id = Some(8.into())),
    "events: event 6"
)]
#[case::lost_event(lose!(Record::Event(e) if e.id.get() == 5), "events: order 1")]
#[case::event_of_another_kind(
    change!(Record::Event(e) if e.id.get() == 5 => e.kind = EventKind::OrderCancelled),
    "events: event 5"
)]
#[case::event_without_a_part(
    copy!(Record::Event(e) if e.id.get() == 5 => e.id = 9.into()),
    "events: event 9"
)]
#[case::lost_refund(lose!(Record::LedgerEntry(e) if e.id.get() == 9), "payments: order 1")]
#[case::amount_of_a_refund(
    change!(Record::LedgerEntry(e) if e.id.get() == 8 => e.amount = money(80)),
    "payments: ledger entry 8"
)]
#[case::refund_twice(
    copy!(Record::LedgerEntry(e) if e.id.get() == 9 => e.id = 12.into()),
    "payments: ledger entry 12"
)]
#[case::payment_of_the_whole(
    change!(Record::LedgerEntry(e) if e.id.get() == 10 => e.amount = money(-90)),
    "payments: ledger entry 10"
)]
#[case::use_of_the_coupon(
    change_part!(1, 0, part => (part.amount, part.line_amount) = (money(80), money(80))),
    "coupons: coupon 1"
)]
#[case::sales(
    change_part!(1, 0, part => (part.amount, part.line_amount) = (money(80), money(80))),
    "sales: refunds in 1 s from 2026-01-03T07:33:20Z"
)]
fn damage_of_parts_is_named(#[case] damage: Damage, #[case] named: &str) {
    let reported = reported_of_parts(damage);
    assert!(reported.iter().any(|problem| problem == named), "{named} is not in {reported:#?}");
}
