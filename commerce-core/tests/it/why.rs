//! Explanations of idempotency keys: they match the rows.

use crate::common::{NOW, On, World, key};
use commerce_core::store::{Record, StoredResult, Table};
use commerce_core::{
    Actor, AddCoupon, AddCustomer, AddProduct, AdjustStock, CancelOrder, ChargeBalance, ChargeId,
    Code, CustomerId, DebitBalance, Discount, KeyExplanation, Money, NewLogin, Order, OrderId,
    PasswordHash, PayWhen, PlaceOrder, ProductId, Role, SqliteStore, Store, UpdateCoupon,
    UpdateProduct,
};
use rstest::rstest;
use serde_json::json;
use std::collections::BTreeSet;

impl World {
    /// Returns the one explanation of a key.
    fn why(&self, text: &str) -> KeyExplanation {
        let mut explained = self.shop.explain_key(&key(text), None).unwrap();
        assert_eq!(explained.len(), 1, "{explained:?}");
        explained.remove(0)
    }
}

#[rstest]
fn success_is_explained_by_what_it_made(#[values(On::Memory, On::Sqlite, On::Postgres)] on: On) {
    let world = World::new(on);
    let shop = &world.shop;
    let kim = world.customer(10_000).id;
    let (tea, coupon) = (world.product(100, 9).id, world.coupon(3, 10).id);
    let owned = shop.claim_coupon(coupon, kim, &key("claim")).unwrap();
    shop.charge(kim, Money::from_minor(50), &key("charge")).unwrap();
    shop.debit(kim, Money::from_minor(40), &key("debit")).unwrap();
    let later = PlaceOrder { pay: PayWhen::Later, ..PlaceOrder::new(kim, [(tea, 2)]) };
    let order = shop.place_order(later, &key("order")).unwrap();
    shop.pay_order(order.id, &key("pay")).unwrap();
    shop.cancel_order(order.id, &key("cancel")).unwrap();
    world.clock.set(NOW.plus_seconds(5));
    shop.adjust_stock(tea, 3, "delivery", &key("stock")).unwrap();
    let expected = [
        ("claim", json!({ "claim_coupon": { "coupon_id": coupon, "customer_id": kim } })),
        ("charge", json!({ "charge_balance": { "customer_id": kim, "amount": 50 } })),
        ("debit", json!({ "debit_balance": { "customer_id": kim, "amount": 40 } })),
        (
            "order",
            json!({ "place_order": { "customer_id": kim, "items": { "listed": [[tea, 2]] },
                    "owned_coupon_id": null, "pay": "later", "reference": null } }),
        ),
        ("pay", json!({ "pay_order": { "order_id": order.id } })),
        ("cancel", json!({ "cancel_order": { "order_id": order.id } })),
        (
            "stock",
            json!({ "adjust_stock": { "product_id": tea, "delta": 3, "reason": "delivery" } }),
        ),
    ];
    for (text, request) in expected {
        let explained = world.why(text);
        assert_eq!(explained.request, Some(request), "{text}");
        assert!(explained.answer.is_some() && explained.refusal.is_none(), "{explained:?}");
        let is_shops = text == "stock";
        assert_eq!(explained.customer_id, (!is_shops).then_some(kim), "{text}");
    }
    let answer = world.why("order").answer.unwrap();
    assert_eq!(
        (&answer["order"]["status"], world.why("pay").order_id),
        (&json!("pending"), Some(order.id))
    );
    assert_eq!(world.why("cancel").answer.unwrap()["order"]["status"], "cancelled");
    assert_eq!(world.why("charge").charge_id.map(ChargeId::get), Some(2));
    assert_eq!(world.why("claim").answer.unwrap()["owned_coupon"]["id"], json!(owned.id));
    assert_eq!(shop.explain_key(&key("unknown"), None).unwrap(), vec![]);
    assert_eq!(shop.explain_key(&key("order"), Some(CustomerId::new(9))).unwrap(), vec![]);
    world.assert_clean();
}

#[rstest]
fn cancellations_of_parts_are_explained(#[values(On::Memory, On::Sqlite, On::Postgres)] on: On) {
    let world = World::new(on);
    let shop = &world.shop;
    let kim = world.customer(10_000).id;
    let (tea, cup) = (world.product(100, 9).id, world.product(30, 9).id);
    let later = PlaceOrder { pay: PayWhen::Later, ..PlaceOrder::new(kim, [(tea, 5), (cup, 4)]) };
    let order_id = shop.place_order(later, &key("order")).unwrap().id;
    let cancel = |name: &str, items: Option<&[(ProductId, i64)]>, keep_stock| {
        let items = items.map(<[_]>::to_vec);
        let request = CancelOrder { order_id, items, keep_stock };
        shop.call(request).key(&key(name)).run().map(drop)
    };
    cancel("unpaid", Some(&[(cup, 1), (tea, 1)]), false).unwrap();
    shop.pay_order(order_id, &key("pay")).unwrap();
    cancel("first", Some(&[(tea, 1), (tea, 1)]), false).unwrap();
    cancel("second", Some(&[(cup, 1)]), true).unwrap();
    cancel("many", Some(&[(tea, 1), (cup, 9)]), false).unwrap_err();
    cancel("rest", None, true).unwrap();
    cancel("late", Some(&[(tea, 1)]), false).unwrap_err();
    let items = |items: serde_json::Value, keep_stock: bool| {
        let mut request = json!({ "order_id": order_id, "items": items });
        if keep_stock {
            request["keep_stock"] = json!(true);
        }
        json!({ "cancel_order": request })
    };
    let expected = [
        ("unpaid", items(json!([[tea, 1], [cup, 1]]), false), "pending", 620 - 130, 0),
        ("pay", json!({ "pay_order": { "order_id": order_id } }), "paid", 0, 0),
        ("first", items(json!([[tea, 2]]), false), "paid", 0, 200),
        ("second", items(json!([[cup, 1]]), true), "paid", 0, 230),
        (
            "rest",
            json!({ "cancel_order": { "order_id": order_id, "keep_stock": true } }),
            "cancelled",
            0,
            490,
        ),
    ];
    for (name, request, status, due, refunded) in expected {
        let explained = world.why(name);
        assert_eq!(explained.request, Some(request), "{name}");
        assert_eq!(explained.order_id, Some(order_id));
        let order = &explained.answer.unwrap()["order"];
        assert_eq!(order["status"], status, "{name}");
        assert_eq!((&order["due"], &order["refunded"]), (&json!(due), &json!(refunded)), "{name}");
    }
    let lost = world.why("many");
    let refusal = lost.refusal.unwrap();
    assert_eq!(refusal.code, Code::ItemsNotCancellable);
    let shortage = json!([{ "product_id": cup, "requested": 9, "available": 2 }]);
    assert_eq!(refusal.fields["shortages"], shortage);
    assert_eq!(lost.request, Some(items(json!([[tea, 1], [cup, 9]]), false)));
    assert_eq!(world.why("late").refusal.unwrap().code, Code::OrderNotCancellable);
}

/// Units of a part that came back are the first return after a refusal for want of stock.
#[rstest]
fn part_that_gave_units_back_is_named(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
    #[values(0, 10)] later: i64,
) {
    let world = World::new(on);
    let shop = &world.shop;
    let kim = world.customer(10_000).id;
    let tea = world.product(10, 9).id;
    let order_id = shop.place_order(PlaceOrder::new(kim, [(tea, 9)]), &key("all")).unwrap().id;
    let cancel = |units, keep_stock| {
        let request = CancelOrder { order_id, items: Some(vec![(tea, units)]), keep_stock };
        shop.call(request).run().unwrap();
    };
    cancel(1, false);
    shop.place_order(PlaceOrder::new(kim, [(tea, 2)]), &key("late")).unwrap_err();
    world.clock.set(NOW.plus_seconds(later));
    cancel(1, true);
    cancel(2, false);
    shop.cancel_order(order_id, &key("rest")).unwrap();
    let back = world.why("late").shortages.remove(0).back.unwrap();
    assert_eq!((back.delta, back.reason.as_str()), (2, "part of order cancelled"));
    assert_eq!((back.order_id, back.created_at), (Some(order_id), NOW.plus_seconds(later)));
}

#[rstest]
fn requests_of_the_back_office_are_named(#[values(On::Memory, On::Sqlite, On::Postgres)] on: On) {
    let world = World::new(on);
    let shop = &world.shop;
    let tea = AddProduct::new("Tea", Money::from_minor(450), 9);
    let tea: ProductId = shop.call(tea).key(&key("add")).run().unwrap().id;
    shop.adjust_stock(tea, 3, "delivery", &key("stock")).unwrap();
    let archive = UpdateProduct::archive(tea);
    shop.call(archive).key(&key("archive")).run().unwrap();
    let five = Discount::Fixed { amount: Money::from_minor(5) };
    let spring = AddCoupon::new("Spring", five, 10);
    let spring = shop.call(spring).key(&key("coupon")).run().unwrap();
    let more = UpdateCoupon { quantity: Some(20), ..UpdateCoupon::new(spring.id) };
    shop.call(more).key(&key("more")).run().unwrap();
    let kim = shop.call(AddCustomer::new("Kim")).key(&key("kim")).run().unwrap().id;
    let expected = [
        ("add", json!({ "id": null, "name": "Tea", "price": 450, "stock": 9 }), "add_product"),
        ("stock", json!({ "product_id": tea, "delta": 3, "reason": "delivery" }), "adjust_stock"),
        ("archive", json!({ "product_id": tea }), "update_product"),
        ("more", json!({ "coupon_id": spring.id }), "update_coupon"),
        ("kim", json!({ "customer_id": kim }), "add_customer"),
    ];
    for (text, request, kind) in expected {
        assert_eq!(world.why(text).request, Some(json!({ kind: request })), "{text}");
    }
    let request = world.why("coupon").request.unwrap();
    assert_eq!(request["add_coupon"]["quantity"], 10, "{request}");
}

#[rstest]
fn adjustments_that_took_the_last_units_are_named(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let world = World::new(on);
    let kim = world.customer(10_000).id;
    let tea = world.product(100, 9).id;
    let broken = AdjustStock { product_id: tea, delta: -9, reason: "broken".to_owned() };
    world.shop.call(broken).actor(Some(Actor::Cli)).run().unwrap();
    world.shop.place_order(PlaceOrder::new(kim, [(tea, 1)]), &key("late")).unwrap_err();
    world.shop.adjust_stock(tea, 5, "delivery", &key("more")).unwrap();
    world.shop.adjust_stock(tea, -1, "lost", &key("lost")).unwrap();
    let shortage = world.why("late").shortages.remove(0);
    let removed: Vec<_> =
        shortage.removed_by.iter().map(|row| (row.delta, row.reason.as_str(), row.actor)).collect();
    assert_eq!(removed, [(-9, "broken", Some(Actor::Cli))]);
    assert_eq!(shortage.taken_by, vec![]);
}

#[rstest]
fn key_is_explained_in_each_scope(#[values(On::Memory, On::Sqlite, On::Postgres)] on: On) {
    let world = World::new(on);
    let (kim, lee) = (world.customer(100).id, world.customer(100).id);
    for customer in [lee, kim] {
        world.shop.debit(customer, Money::from_minor(1), &key("same")).unwrap();
    }
    let add = AddProduct::new("Tea", Money::from_minor(1), 1);
    world.shop.call(add).key(&key("same")).run().unwrap();
    let explained = world.shop.explain_key(&key("same"), None).unwrap();
    let owners: Vec<_> = explained.iter().map(|explained| explained.customer_id).collect();
    assert_eq!(owners, [None, Some(kim), Some(lee)]);
    assert_eq!(world.shop.explain_key(&key("same"), Some(lee)).unwrap().len(), 1);
}

#[rstest]
fn refusal_is_explained_with_its_request_and_numbers(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let world = World::new(on);
    let kim = world.customer(100).id;
    let tea = world.product(70, 9).id;
    world.shop.place_order(PlaceOrder::new(kim, [(tea, 2)]), &key("dear")).unwrap_err();
    let explained = world.why("dear");
    let refusal = explained.refusal.unwrap();
    assert_eq!(refusal.code, Code::InsufficientBalance);
    assert_eq!(
        (&refusal.fields["balance"], &refusal.fields["required"]),
        (&json!(100), &json!(140))
    );
    assert!(refusal.detail.contains("140 KRW"), "{}", refusal.detail);
    assert_eq!(explained.request.unwrap()["place_order"]["items"], json!({ "listed": [[tea, 2]] }));
    assert_eq!((explained.answer, explained.order_id), (None, None));
    assert_eq!(explained.shortages, vec![]);
    // A copy keeps the request.
    let copy = SqliteStore::open(&world.folder.path().join("copy.db")).unwrap();
    if let Some(url) = &world.url {
        let from = commerce_postgres::PostgresStore::open(url).unwrap();
        commerce_core::copy(&from, &copy, &mut |_| {}).unwrap();
        let record = record(&copy, "dear");
        assert!(record.request.unwrap().operation.contains("place_order"));
    }
    world.assert_clean();
}

fn record(store: &dyn Store, text: &str) -> commerce_core::store::IdempotencyRecord {
    let records = store.snapshot().unwrap().keys(&key(text)).unwrap();
    records.into_iter().next().unwrap().1
}

/// Texts that may be personal are not kept, and never a password.
#[test]
fn request_of_a_refusal_has_no_personal_texts() {
    let world = World::new(On::Sqlite);
    let login = NewLogin {
        login: "secret-login".into(),
        password: PasswordHash::new("$argon2id$secret-hash"),
        role: Some(Role::Admin),
    };
    let customer =
        |name: &str| AddCustomer { login: Some(login.clone()), ..AddCustomer::new(name) };
    world.shop.call(customer("Kim")).run().unwrap();
    let kim = CustomerId::new(1);
    let refused = world.shop.call(customer("secret-name")).key(&key("customer")).run();
    assert_eq!(refused.unwrap_err().code(), Code::LoginTaken);
    let debit = DebitBalance {
        customer_id: kim,
        amount: Money::from_minor(77),
        note: Some("secret-note".into()),
    };
    world.shop.call(debit).key(&key("debit")).run().unwrap_err();
    let store = SqliteStore::open(&world.folder.path().join("shop.db")).unwrap();
    for text in ["customer", "debit"] {
        let request = record(&store, text).request.unwrap();
        assert!(request.is_redacted && !request.operation.contains("secret"), "{request:?}");
    }
    let explained = world.why("debit").request.unwrap();
    assert_eq!(explained["debit_balance"], json!({ "customer_id": 1, "amount": 77, "note": null }));
    world.assert_clean();
}

/// Only a refusal costs the request.
#[test]
fn success_keeps_no_request() {
    let world = World::new(On::Sqlite);
    let kim = world.customer(1_000).id;
    let tea = world.product(70, 9).id;
    world.shop.place_order(PlaceOrder::new(kim, [(tea, 2)]), &key("order")).unwrap();
    world
        .shop
        .call(ChargeBalance { customer_id: kim, amount: Money::from_minor(5) })
        .key(&key("charge"))
        .run()
        .unwrap();
    world.shop.call(UpdateProduct::archive(tea)).key(&key("archive")).run().unwrap();
    let store = SqliteStore::open(&world.folder.path().join("shop.db")).unwrap();
    let mut count = 0;
    store
        .snapshot()
        .unwrap()
        .scan(Table::Keys, &mut |row| {
            if let Record::Key { record, .. } = row {
                assert!(!matches!(record.answer, StoredResult::Refused(_)));
                assert_eq!(record.request, None);
                count += 1;
            }
        })
        .unwrap();
    assert_eq!(count, 3);
}

/// A thousand customers compete for fifty units, and some give theirs back.
#[rstest]
fn losing_key_is_explained_by_the_orders_before_it_and_the_next_return(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let world = World::new(on);
    let shop = &world.shop;
    let (tea, cup) = (world.product(1, 50).id, world.product(1, 5_000).id);
    let customers: Vec<_> = (0..1_000)
        .map(|_| AddCustomer { balance: Money::from_minor(9), ..AddCustomer::new("Kim") })
        .map(|add| shop.call(add).submit())
        .collect();
    let customers: Vec<CustomerId> =
        customers.into_iter().map(|call| call.outcome().result.unwrap().id).collect();
    let name = |customer: CustomerId| key(&format!("order-{customer}"));
    let place = |customers: &[CustomerId]| -> Vec<_> {
        let order = |id| PlaceOrder::new(id, [(tea, 1), (cup, 1)]);
        let calls: Vec<_> = customers
            .iter()
            .map(|id| (*id, shop.call(order(*id)).key(&name(*id)).submit()))
            .collect();
        calls.into_iter().map(|(id, call)| (id, call.outcome().result)).collect()
    };
    let first = place(&customers[..500]);
    let won: Vec<&Order> = first.iter().filter_map(|(_, result)| result.as_ref().ok()).collect();
    assert_eq!(won.len(), 50);
    // All in one second: three units come back, the rest compete for them, and then there is a delivery.
    for order in &won[..3] {
        shop.cancel_order(order.id, &key(&format!("cancel-{}", order.id))).unwrap();
    }
    let second = place(&customers[500..]);
    world.clock.set(NOW.plus_seconds(60));
    shop.adjust_stock(tea, 4, "delivery", &key("delivery")).unwrap();
    let losers = |results: &[(CustomerId, Result<Order, _>)]| -> Vec<CustomerId> {
        results.iter().filter(|(_, result)| result.is_err()).map(|(id, _)| *id).collect()
    };
    assert_eq!((losers(&first).len(), losers(&second).len()), (450, 497));
    let takers = |explained: &KeyExplanation| -> Vec<OrderId> {
        explained.shortages[0].taken_by.iter().map(|taker| taker.order_id).collect()
    };
    let newest_first = |range: std::ops::RangeInclusive<i64>| -> Vec<OrderId> {
        range.rev().map(OrderId::new).collect()
    };
    for id in losers(&first).into_iter().step_by(37) {
        let explained = &shop.explain_key(&name(id), Some(id)).unwrap()[0];
        let shortage = &explained.shortages[0];
        assert_eq!((shortage.product_id, shortage.requested, shortage.available), (tea, 1, 0));
        assert_eq!(takers(explained), newest_first(41..=50));
        let back = shortage.back.as_ref().unwrap();
        assert_eq!(back.reason, "order cancelled");
        assert!(won[..3].iter().any(|order| Some(order.id) == back.order_id), "{back:?}");
        assert_eq!((back.delta, back.created_at), (1, NOW));
    }
    for id in losers(&second).into_iter().step_by(37) {
        let explained = &shop.explain_key(&name(id), None).unwrap()[0];
        assert_eq!(takers(explained), newest_first(44..=53));
        let back = explained.shortages[0].back.as_ref().unwrap();
        assert_eq!((back.reason.as_str(), back.delta, back.order_id), ("delivery", 4, None));
    }
    // Each taker is a row.
    let explained = world.why(name(losers(&second)[0]).as_str());
    for taker in &explained.shortages[0].taken_by {
        let order = shop.order(taker.order_id).unwrap();
        assert_eq!(
            (order.customer_id, order.status, order.created_at),
            (taker.customer_id, taker.status, taker.created_at)
        );
        let lines: BTreeSet<_> =
            order.lines.iter().map(|line| (line.product_id, line.quantity)).collect();
        assert!(lines.contains(&(tea, taker.quantity)));
    }
    world.assert_clean();
}

#[rstest]
fn stock_that_has_not_come_back_is_explained_so(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let world = World::new(on);
    let kim = world.customer(1_000).id;
    let tea = world.product(1, 2).id;
    let later = |units| PlaceOrder { pay: PayWhen::Later, ..PlaceOrder::new(kim, [(tea, units)]) };
    world.shop.call(later(2)).run().unwrap();
    world.shop.place_order(later(1), &key("late")).unwrap_err();
    let remove = AdjustStock { product_id: ProductId::new(1), delta: -5, reason: "broken".into() };
    world.shop.call(remove).key(&key("remove")).run().unwrap_err();
    assert_eq!(world.why("late").shortages[0].back, None);
    assert_eq!(world.why("remove").shortages[0].available, 0);
    // The hold of the first order ends.
    world.clock.set(NOW.plus_seconds(900));
    let back = world.why("late").shortages[0].back.clone().unwrap();
    assert_eq!((back.created_at, back.delta), (NOW.plus_seconds(900), 2));
    assert_eq!((back.reason.as_str(), back.order_id), ("order expired", Some(OrderId::new(1))));
}
