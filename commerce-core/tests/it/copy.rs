//! A store copied to another kind of store and back has the same content and continues normally.

use crate::common::{NOW, assert_clean, cluster, key};
use commerce_core::limits::{DELIVERY_LEASE, RETRY_DELAYS};
use commerce_core::store::{Record, Table};
use commerce_core::testing::{
    AttemptResult, DeliveryOutcome, LeasedEvent, Notice, OpenCharge, RecordNotice, RelayEvents,
    SettleCharge, Settlement,
};
use commerce_core::{
    AddCustomer, BestSellersRequest, CancelOrder, CartEdit, ChargeId, Currency, CustomerId,
    EditCart, MemoryStore, Money, OrderId, Patch, PayWhen, PlaceOrder, ProductId, RefundCharge,
    ReportedRefund, Role, Shop, SqliteStore, Store, StoreError, UpdateProduct, copy,
};
use commerce_postgres::PostgresStore;
use rstest::rstest;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

fn shop(store: &Arc<dyn Store>) -> Shop {
    shop_at(store, 90_000)
}

fn shop_at(store: &Arc<dyn Store>, seconds: i64) -> Shop {
    let clock = commerce_core::ManualClock::new(NOW.plus_seconds(seconds));
    Shop::builder().clock(clock).open(Arc::clone(store))
}

/// Puts a product on sale, and limits the units of another that a customer may buy.
fn set_terms(shop: &Shop, reduced: ProductId, limited: ProductId) {
    let sale = UpdateProduct {
        sale_price: Patch::Set(Money::from_minor(3)),
        low_stock_threshold: Patch::Set(4_990),
        ..UpdateProduct::new(reduced)
    };
    shop.call(sale).run().unwrap();
    let limit_per_customer = Patch::Set(2_000);
    let limit = UpdateProduct { limit_per_customer, ..UpdateProduct::new(limited) };
    shop.call(limit).run().unwrap();
}

/// Cancels a unit of an order; every second one is lost.
fn cancel_part(shop: &Shop, order_id: OrderId, product: ProductId, number: usize) {
    let keep_stock = number.is_multiple_of(2);
    let part = CancelOrder { order_id, items: Some(vec![(product, 1)]), keep_stock };
    shop.call(part).key(&key(&format!("part-{number}"))).run().unwrap();
}

/// Pays money of charge 4 back, and disputes the charge of a customer, who has spent some of it.
fn go_back(shop: &Shop) {
    let amount = Some(Money::from_minor(2));
    let reference = Some("refund".to_owned());
    let refund = RefundCharge { amount, reference, ..RefundCharge::new(ChargeId::new(4)) };
    shop.call(refund).key(&key("refund")).run().unwrap();
    let outside = ReportedRefund { reference: None, amount: Money::from_minor(1) };
    let dispute = "dp_1".to_owned();
    let disputed = Notice::DisputeOpened { dispute, amount: Money::from_minor(950) };
    for (charge, notice) in [(4, Notice::Refunded { refunds: vec![outside] }), (1, disputed)] {
        shop.call(RecordNotice { charge_id: ChargeId::new(charge), notice }).run().unwrap();
    }
}

/// Charges a customer three times: without a result, with the money, and without it.
fn charge_through_gateway(shop: &Shop, customer_id: CustomerId) {
    for (number, settlement) in
        [None, Some(Settlement::Paid), Some(Settlement::Declined("no".to_owned()))]
            .into_iter()
            .enumerate()
    {
        let charge = OpenCharge {
            customer_id,
            amount: Money::from_minor(7),
            payment_method: Some("card".to_owned()),
            gateway: "double".to_owned(),
            reference: format!("reference-{number}"),
        };
        let name = format!("charge-{number}");
        let charge_id = shop.call(charge).key(&key(&name)).run().unwrap().id;
        if let Some(settlement) = settlement {
            shop.call(SettleCharge { charge_id, settlement }).run().unwrap();
        }
    }
}

/// Adds rows of every kind.
fn fill(store: &Arc<dyn Store>) {
    let shop = shop(store);
    let kim = shop.register("Kim", "kim", "correct horse", Role::Admin).unwrap().id;
    let request = AddCustomer { balance: Money::from_minor(900), ..AddCustomer::new("Lee") };
    let lee = shop.call(request).run().unwrap().id;
    shop.charge(kim, Money::from_minor(100_000), &key("charge")).unwrap();
    shop.debit(kim, Money::from_minor(40), &key("debit")).unwrap();
    charge_through_gateway(&shop, kim);
    go_back(&shop);
    let add = |price| commerce_core::AddProduct::new("Tea", Money::from_minor(price), 5_000);
    let products: Vec<_> = (1..=30).map(|price| shop.call(add(price)).run().unwrap().id).collect();
    shop.adjust_stock(products[0], -3, "broken", &key("broken")).unwrap();
    set_terms(&shop, products[4], products[0]);
    let coupon = commerce_core::AddCoupon {
        below_minimum: commerce_core::BelowMinimum::Keep,
        name: "Spring".to_owned(),
        discount: commerce_core::Discount::Percent { percent: 10, max_amount: None },
        min_order_amount: None,
        quantity: 9,
        valid_from: None,
        valid_until: None,
    };
    let coupon = shop.call(coupon).run().unwrap().id;
    let owned = shop.claim_coupon(coupon, kim, &key("claim")).unwrap().id;
    shop.claim_coupon(coupon, lee, &key("claim")).unwrap();
    let order = PlaceOrder {
        owned_coupon_id: Some(owned),
        reference: Some("web-1".to_owned()),
        ..PlaceOrder::new(kim, [(products[4], 3)])
    };
    let reduced = shop.place_order(order, &key("coupon")).unwrap();
    assert_eq!(reduced.lines[0].reduced_from(), Some(Money::from_minor(5)));
    for number in 0_usize..70 {
        let at = NOW.plus_seconds(i64::try_from(number).unwrap() * 1_301);
        let order =
            PlaceOrder::new(kim, [(products[number % 30], 2), (products[29 - number % 29], 1)]);
        let placed = shop.call_at(order, at).key(&key(&format!("order-{number}"))).run().unwrap();
        if number % 7 == 1 {
            cancel_part(&shop, placed.id, products[number % 30], number);
        }
        if number % 9 == 0 {
            shop.cancel_order(placed.id, &key(&format!("cancel-{number}"))).unwrap();
        }
    }
    let later = PlaceOrder { pay: PayWhen::Later, ..PlaceOrder::new(lee, [(products[0], 1)]) };
    shop.place_order(later, &key("later")).unwrap();
    for product in &products {
        let edit = CartEdit::Set(*product, 2);
        shop.call(EditCart { customer_id: lee, edit }).run().unwrap();
    }
    shop.log_in("kim", "correct horse").unwrap();
    // Of the leased events one is parked, one is delivered, one waits for a retry and one is due.
    let ask = |outcomes, max_events| RelayEvents {
        token: 7,
        outcomes,
        max_events,
        fresh_first: false,
        jitter: 0,
    };
    let fails = |claimed: &LeasedEvent| DeliveryOutcome {
        event_id: claimed.event.id,
        order_id: claimed.event.order_id,
        result: AttemptResult::Failed { error: "400".to_owned(), retry_after: None },
    };
    // The last attempt is made at the current time of the shop.
    let mut seconds = 90_000 - RETRY_DELAYS.iter().sum::<i64>();
    for delay in [0].into_iter().chain(RETRY_DELAYS) {
        seconds += delay;
        let then = shop_at(store, seconds);
        let claim = then.call(ask(vec![], 1)).run().unwrap();
        let outcomes = claim.events.iter().map(fails).collect();
        then.call(ask(outcomes, 0)).run().unwrap();
    }
    assert_eq!(shop.outbox().unwrap().parked, 1);
    let claim = shop.call(ask(vec![], 3)).run().unwrap();
    let endings = [
        AttemptResult::Delivered,
        AttemptResult::Failed { error: "503".to_owned(), retry_after: None },
        AttemptResult::Released,
    ];
    let outcomes = claim.events.iter().zip(endings).map(|(claimed, result)| DeliveryOutcome {
        event_id: claimed.event.id,
        order_id: claimed.event.order_id,
        result,
    });
    shop.call(ask(outcomes.collect(), 0)).run().unwrap();
    assert_clean(&shop);
}

/// Events in flight during the copy are due in the copy: its relay sends them.
#[test]
fn leased_events_are_due_in_the_copy() {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (sqlite(folder.path(), "a.db"), postgres());
    fill(&from);
    let ask =
        RelayEvents { token: 7, outcomes: vec![], max_events: 1, fresh_first: false, jitter: 0 };
    let claim = shop(&from).call(ask.clone()).run().unwrap();
    copy(&*from, &*to, &mut |_| ()).unwrap();
    let more = RelayEvents { max_events: 3, ..ask };
    let claimed = shop_at(&to, 90_000 + DELIVERY_LEASE).call(more).run().unwrap();
    assert!(claimed.events.contains(&claim.events[0]), "{claimed:#?}");
    assert_clean(&shop(&to));
}

/// Returns every row but those of sales, with a roll-up that may have reached another watermark, and
/// epochs, of which a copy has one more.
fn rows(store: &dyn Store) -> Vec<Record> {
    let snapshot = store.snapshot().unwrap();
    let mut rows = Vec::new();
    let compared = |table: &Table| ![Table::Sales, Table::Epochs].contains(table);
    for table in Table::ALL.into_iter().filter(compared) {
        snapshot.scan(table, &mut |row| rows.push(row)).unwrap();
    }
    rows
}

fn ranking(shop: &Shop, days: i64) -> String {
    let at = Some(NOW.plus_seconds(91_000));
    format!(
        "{:?}",
        shop.best_sellers(&BestSellersRequest { days, at, limit: 20, ..Default::default() })
            .unwrap()
    )
}

fn sqlite(folder: &Path, name: &str) -> Arc<dyn Store> {
    Arc::new(SqliteStore::open(&folder.join(name)).unwrap())
}

fn postgres() -> Arc<dyn Store> {
    Arc::new(PostgresStore::open(&cluster::shared().database()).unwrap())
}

#[rstest]
fn copy_to_another_store_and_back_is_identical(#[values(true, false)] from_file: bool) {
    let folder = tempfile::tempdir().unwrap();
    let file = |name| sqlite(folder.path(), name);
    let [first, second, third] = if from_file {
        [file("a.db"), postgres(), file("b.db")]
    } else {
        [postgres(), file("a.db"), postgres()]
    };
    fill(&first);
    let mut written = 0;
    copy(&*first, &*second, &mut |rows| written = rows).unwrap();
    assert!(written > 300, "{written}");
    copy(&*second, &*third, &mut |_| ()).unwrap();
    let shops = [&first, &second, &third].map(shop);
    for (store, copied) in [(&second, &shops[1]), (&third, &shops[2])] {
        assert_eq!(rows(&**store), rows(&*first));
        for days in [1, 2, 30] {
            assert_eq!(ranking(copied, days), ranking(&shops[0], days));
        }
        assert_clean(copied);
    }
    // The copy continues with the next ids, knows the idempotency keys, and accepts the same
    // logins.
    let orders = shops.each_ref().map(|shop| {
        let order = PlaceOrder::new(1.into(), [(7.into(), 1)]);
        let placed = shop.place_order(order, &key("one-more")).unwrap();
        assert!(shop.log_in("kim", "correct horse").is_ok());
        assert_clean(shop);
        placed
    });
    assert!(orders.iter().all(|order| *order == orders[0]));
}

#[test]
fn copy_refuses_a_target_with_rows_or_another_currency() {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (sqlite(folder.path(), "a.db"), postgres());
    fill(&from);
    shop(&to).call(AddCustomer::new("Choi")).run().unwrap();
    let before = rows(&*to);
    assert!(matches!(copy(&*from, &*to, &mut |_| ()), Err(StoreError::Incompatible(_))));
    assert_eq!(rows(&*to), before);
    let dollars = MemoryStore::new(Currency::from_code("USD").unwrap());
    assert!(matches!(copy(&*from, &dollars, &mut |_| ()), Err(StoreError::Incompatible(_))));
}

/// The rows of a copy refer to rows of earlier writes, which the server looks up at the end.
#[test]
fn copy_refuses_an_entry_of_no_customer() {
    let (url, to) = (cluster::shared().database(), postgres());
    let from: Arc<dyn Store> = Arc::new(PostgresStore::open(&url).unwrap());
    fill(&from);
    let before = rows(&*to);
    let mut admin = cluster::shared().admin(url.rsplit('/').next().unwrap());
    let damage = "UPDATE ledger SET customer_id = 77
                  WHERE id = (SELECT min(id) FROM ledger WHERE kind = 0)";
    assert_eq!(admin.execute(damage, &[]).unwrap(), 1);
    let refused = copy(&*from, &*to, &mut |_| ()).unwrap_err();
    let text = "ledger refers to rows of customers that do not exist: customer_id 77";
    assert_eq!(refused, StoreError::ConstraintViolation(text.to_owned()));
    assert_eq!(rows(&*to), before);
}

/// The server ends a transaction that is idle for five seconds; a copy from a slow source must not
/// be ended.
#[test]
fn copy_from_a_slow_source_outlives_the_idle_timeout() {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (sqlite(folder.path(), "a.db"), postgres());
    fill(&from);
    let mut pause = Some(Duration::from_secs(7));
    copy(&*from, &*to, &mut |_| std::thread::sleep(pause.take().unwrap_or_default())).unwrap();
    assert_eq!(rows(&*to), rows(&*from));
}

/// A cart is written whole, even where a chunk of rows would end inside it.
#[test]
fn copy_keeps_big_carts_whole() {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (sqlite(folder.path(), "a.db"), postgres());
    let shop = shop(&from);
    for _ in 0..90 {
        shop.call(commerce_core::AddProduct::new("Tea", Money::from_minor(1), 9)).run().unwrap();
    }
    let tickets: Vec<_> = (1..=30_i64)
        .flat_map(|customer| {
            shop.call(AddCustomer::new("Kim")).run().unwrap();
            (1..=90_i64).map(move |product| (customer, product))
        })
        .map(|(customer, product)| {
            let edit = CartEdit::Set(product.into(), 2);
            shop.call(EditCart { customer_id: customer.into(), edit }).submit()
        })
        .collect();
    for ticket in tickets {
        ticket.wait().unwrap();
    }
    copy(&*from, &*to, &mut |_| ()).unwrap();
    assert_eq!(rows(&*to), rows(&*from));
}
