//! Parts of orders that are cancelled, and money of charges that is paid back.

use super::{Bank, REPLAYED, World, schema, world, world_of};
use commerce_core::{Shop, Timestamp};
use rstest::rstest;
use serde_json::{Value, json};
use std::sync::Arc;

/// Places an order of Kim's for three units of tea with the coupon, and returns the path of its cancellation.
fn ordered(world: &World) -> String {
    let items = json!([{ "product_id": 1, "quantity": 3 }]);
    let body = json!({ "items": items, "owned_coupon_id": 1 });
    let order = world.post("/v1/customers/me/orders", "tea", &body);
    assert_eq!((order.status, &order.body["total"]), (201, &json!(13_000)), "{order:?}");
    format!("/v1/orders/{}/cancellation", order.body["id"])
}

fn units(quantity: i64) -> Value {
    json!({ "items": [{ "product_id": 1, "quantity": quantity }] })
}

#[test]
fn owner_cancels_an_order_unit_by_unit() {
    let world = world();
    let path = ordered(&world);
    let first = world.post(&path, "a", &units(1));
    assert_eq!((first.status, &first.body["status"]), (200, &json!("paid")));
    let line = &first.body["lines"][0];
    assert_eq!((&line["quantity"], &line["cancelled_quantity"]), (&json!(3), &json!(1)));
    assert_eq!(world.get("/v1/products/1").body["stock"], 7, "a unit is held by the pending order");

    let above = world.post(&path, "b", &units(3));
    assert_eq!((above.status, above.code()), (409, "items_not_cancellable"));
    let short = json!([{ "product_id": 1, "requested": 3, "available": 2 }]);
    assert_eq!(above.body["shortages"], short);

    let second = world.post(&path, "c", &units(1));
    let last = world.post(&path, "d", &units(1));
    let refunded = [&first, &second, &last].map(|seen| seen.body["refunded"].as_i64().unwrap());
    assert_eq!(refunded, [4_334, 8_667, 13_000]);
    assert_eq!((&last.body["status"], &last.body["due"]), (&json!("cancelled"), &json!(0)));
    let again = world.post(&path, "a", &units(1));
    assert_eq!((again.header(REPLAYED), &again.body), (Some("true"), &first.body));
    assert_eq!(world.get("/v1/customers/me/balance").body["balance"], 100_000);
    assert_eq!(world.get("/v1/customers/me/coupons").body["items"][0]["status"], "held");
    let none = world.post(&path, "e", &units(1));
    assert_eq!((none.status, none.code()), (409, "order_not_cancellable"));
}

#[rstest]
#[case::absent(&Value::Null)]
#[case::empty(&json!({}))]
#[case::stock_returned(&json!({ "keep_stock": false }))]
fn body_without_items_cancels_the_rest(#[case] body: &Value) {
    let world = world();
    let path = ordered(&world);
    world.post(&path, "a", &units(2));
    let rest = world.post(&path, "b", body);
    assert_eq!((rest.status, &rest.body["status"]), (200, &json!("cancelled")), "{rest:?}");
    assert_eq!(rest.body["refunded"], 13_000);
    assert_eq!(world.get("/v1/products/1").body["stock"], 9);
}

/// A customer may cancel, but goods that do not come back are for the shop to decide.
#[test]
fn only_clerks_keep_cancelled_units_out_of_stock() {
    let world = world();
    let path = ordered(&world);
    let mut body = units(1);
    body["keep_stock"] = true.into();
    let kim = world.post(&path, "a", &body);
    assert_eq!((kim.status, kim.code()), (403, "forbidden"));
    for (token, key) in [(&world.clerk, "b"), (&world.tokens[1], "c")] {
        let clerk = world.call("POST", &path, token, key, &body);
        assert_eq!(clerk.status, 200, "{clerk:?}");
    }
    assert_eq!(world.get("/v1/products/1").body["stock"], 6);
    let log = world.call("GET", "/v1/audit-log", &world.reader, "", &Value::Null);
    let entries = log.body["items"].as_array().unwrap().iter();
    let entries = entries.map(|entry| (entry["actor"].clone(), entry["action"].clone()));
    let action = json!("order.partially_cancelled");
    let expected = [(json!("token:2"), action.clone()), (json!("customer:5"), action)];
    assert_eq!(entries.collect::<Vec<_>>(), expected);
}

#[test]
fn cancelled_part_changes_the_version_of_the_order() {
    let world = world();
    let path = ordered(&world);
    let order = path.trim_end_matches("/cancellation");
    let tag = world.get(order).header("ETag").unwrap().to_owned();
    let bearer = format!("Bearer {}", world.kim);
    let cancel = |key: &str, tag: &str| {
        let headers = [
            ("Authorization", bearer.as_str()),
            ("Content-Type", "application/json"),
            ("Idempotency-Key", key),
            ("If-Match", tag),
        ];
        world.send("POST", &path, &headers, units(1).to_string().as_bytes())
    };
    let part = cancel("a", &tag);
    assert_eq!(part.status, 200, "{part:?}");
    let outdated = cancel("b", &tag);
    assert_eq!((outdated.status, outdated.code()), (412, "precondition_failed"));
    assert_eq!(world.get(order).header("ETag"), part.header("ETag"));
    assert_eq!(cancel("c", part.header("ETag").unwrap()).status, 200);
}

#[rstest]
#[case::no_items(&json!({ "items": [] }), "/items")]
#[case::null(&json!({ "items": null }), "/items")]
#[case::text(&json!({ "items": "all" }), "/items")]
#[case::no_units(&json!({ "items": [{ "product_id": 1, "quantity": 0 }] }), "/items/0/quantity")]
#[case::fraction(&json!({ "items": [{ "product_id": 1, "quantity": 0.5 }] }), "/items/0/quantity")]
#[case::no_quantity(&json!({ "items": [{ "product_id": 1 }] }), "/items/0/quantity")]
#[case::unknown_of_item(
    &json!({ "items": [{ "product_id": 1, "quantity": 1, "reason": "late" }] }),
    "/items/0/reason"
)]
#[case::number(&json!({ "keep_stock": 1 }), "/keep_stock")]
#[case::null_stock(&json!({ "keep_stock": null }), "/keep_stock")]
#[case::unknown(&json!({ "all": true }), "/all")]
fn invalid_cancellation_is_refused_by_name(#[case] body: &Value, #[case] pointer: &str) {
    let world = world();
    let seen = world.call("POST", "/v1/orders/1/cancellation", &world.clerk, "a", body);
    assert_eq!((seen.status, seen.code()), (422, "invalid_request"), "{seen:?}");
    assert_eq!(seen.body["errors"][0]["pointer"], pointer);
    assert_eq!(world.get("/v1/orders/1").body["status"], "pending");
}

const REFUNDS: &str = "/v1/customers/1/charges/1/refunds";

#[test]
fn clerk_pays_a_charge_back_in_parts() {
    let world = world();
    let body = json!({ "amount": 40_000 });
    for token in [&world.kim, &world.lee, &world.reader, &world.tokens[0]] {
        let seen = world.call("POST", REFUNDS, token, "a", &body);
        assert_eq!((seen.status, seen.code()), (403, "forbidden"));
    }
    let refund = |key: &str, body: &Value| world.call("POST", REFUNDS, &world.clerk, key, body);
    let missing = refund("", &body);
    assert_eq!((missing.status, missing.code()), (400, "idempotency_key_missing"));
    let first = refund("a", &body);
    assert_eq!((first.status, &first.body["status"]), (201, &json!("succeeded")), "{first:?}");
    assert_eq!(
        (&first.body["kind"], &first.body["balance"]),
        (&json!("requested"), &json!(60_000))
    );
    assert_eq!(first.header("Location"), Some(REFUNDS));
    let again = refund("a", &body);
    assert_eq!((again.status, again.header(REPLAYED)), (201, Some("true")));
    assert_eq!(again.body, first.body);
    let other = refund("a", &json!({ "amount": 40_001 }));
    assert_eq!((other.status, other.code()), (422, "idempotency_key_reused"));

    let above = refund("b", &json!({ "amount": 60_001 }));
    assert_eq!((above.status, above.code()), (409, "refund_above_charge"));
    assert_eq!(
        (&above.body["requested"], &above.body["refundable"]),
        (&json!(60_001), &json!(60_000))
    );
    world.post("/v1/customers/me/debits", "spend", &json!({ "amount": 20_000 }));
    let spent = refund("c", &Value::Null);
    assert_eq!((spent.status, spent.code()), (409, "insufficient_balance"));
    assert_eq!((&spent.body["balance"], &spent.body["required"]), (&json!(40_000), &json!(60_000)));

    let list = world.get(REFUNDS);
    assert_eq!(list.body["items"], json!([first.body]));
    let charge = world.get("/v1/customers/me/charges/1");
    assert_eq!((&charge.body["refunded"], &charge.body["disputed"]), (&json!(40_000), &json!(0)));
    assert_eq!(world.get("/v1/customers/me/ledger").body["items"][1]["kind"], "charge_refund");
    let report = world.call("GET", "/v1/reports/balances", &world.reader, "", &Value::Null);
    assert_eq!((&report.body["returned"], &report.body["debts"]), (&json!(40_000), &json!(0)));
    let log = world.call("GET", "/v1/audit-log", &world.reader, "", &Value::Null);
    let entry = &log.body["items"][0];
    assert_eq!(
        (&entry["actor"], &entry["action"]),
        (&json!("customer:5"), &json!("charge.refunded"))
    );
    assert_eq!(
        (&entry["subject"], &entry["changes"]),
        (&json!("charge:1"), &json!({ "amount": 40_000 }))
    );
}

#[test]
fn refunds_are_read_by_staff_and_the_owner() {
    let world = world();
    let get = |target: &str, token: &str| {
        let seen = world.call("GET", target, token, "", &Value::Null);
        (seen.status, seen.code().to_owned())
    };
    for token in [&world.kim, &world.reader, &world.tokens[0]] {
        assert_eq!(get(REFUNDS, token).0, 200);
    }
    assert_eq!(get(REFUNDS, &world.lee), (403, "forbidden".to_owned()));
    let not_found = (404, "charge_not_found".to_owned());
    assert_eq!(get("/v1/customers/me/charges/1/refunds", &world.lee), not_found);
    assert_eq!(get("/v1/customers/me/charges/9/refunds", &world.kim), not_found);
    let others = "/v1/customers/2/charges/1/refunds";
    let seen = world.call("POST", others, &world.clerk, "a", &Value::Null);
    assert_eq!((seen.status, seen.code()), (404, "charge_not_found"));
    assert_eq!(world.get("/v1/customers/me/balance").body["balance"], 100_000);
}

#[rstest]
#[case::zero(&json!({ "amount": 0 }), "/amount")]
#[case::negative(&json!({ "amount": -5 }), "/amount")]
#[case::text(&json!({ "amount": "5" }), "/amount")]
#[case::null(&json!({ "amount": null }), "/amount")]
#[case::unknown(&json!({ "amount": 5, "reason": "late" }), "/reason")]
fn invalid_refund_is_refused_by_name(#[case] body: &Value, #[case] pointer: &str) {
    let world = world();
    let seen = world.call("POST", REFUNDS, &world.clerk, "a", body);
    assert_eq!((seen.status, seen.code()), (422, "invalid_request"), "{seen:?}");
    assert_eq!(seen.body["errors"][0]["pointer"], pointer);
}

#[test]
fn refund_follows_the_result_of_the_gateway() {
    let world = world_of(Shop::builder().gateway(Arc::new(Bank::default())));
    let charge = world.post("/v1/customers/me/charges", "a", &json!({ "amount": 408_408 }));
    assert_eq!(charge.status, 202, "{charge:?}");
    let path = format!("/v1/customers/1/charges/{}/refunds", charge.body["id"]);
    let refund = |key: &str, amount: i64| {
        world.call("POST", &path, &world.clerk, key, &json!({ "amount": amount }))
    };
    let early = refund("early", 5);
    assert_eq!((early.status, early.code()), (409, "charge_not_refundable"));
    assert_eq!(early.body["charge_status"], "pending");
    world.clock.set(Timestamp::from_unix(1_800_000_001));
    world.post("/v1/customers/me/charges", "a", &json!({ "amount": 408_408 }));
    let balance = || world.get("/v1/customers/me/balance").body["balance"].as_i64().unwrap();
    assert_eq!(balance(), 508_408);

    let declined = refund("b", 402);
    assert_eq!((declined.status, &declined.body["status"]), (201, &json!("failed")));
    assert_eq!(declined.body["failure"], "no");
    assert_eq!(schema::validate(schema::find("Refund"), &declined.body), []);
    assert_eq!(balance(), 508_408, "it is back");

    let pending = refund("c", 408);
    assert_eq!((pending.status, &pending.body["status"]), (202, &json!("pending")));
    assert_eq!((pending.header("Location"), balance()), (Some(path.as_str()), 508_000));
    let line =
        world.lines.lock().unwrap().iter().rfind(|line| line.contains("refundCharge")).cloned();
    assert!(line.as_ref().is_some_and(|line| line.contains(" detail=\"no answer\"")), "{line:?}");
    assert_eq!(refund("c", 408).status, 202, "the gateway is asked again");
    world.clock.set(Timestamp::from_unix(1_800_000_002));
    let later = refund("c", 408);
    assert_eq!((later.status, &later.body["status"]), (201, &json!("succeeded")), "{later:?}");
    assert_eq!((&later.body["id"], balance()), (&pending.body["id"], 508_000));
    let list = world.get(&path);
    let statuses = list.body["items"].as_array().unwrap().iter().map(|item| item["status"].clone());
    assert_eq!(statuses.collect::<Vec<_>>(), ["failed", "succeeded"]);
}

#[test]
fn campaign_keeps_or_recalculates_its_discount_below_the_minimum() {
    let world = world();
    let mut body = json!({
        "name": "Autumn", "discount": { "type": "fixed", "amount": 500 },
        "min_order_amount": 9_000, "quantity": 5, "below_minimum": "recalculate",
    });
    let coupon = world.call("POST", "/v1/coupons", &world.admin, "a", &body);
    assert_eq!((coupon.status, &coupon.body["below_minimum"]), (201, &json!("recalculate")));
    body["below_minimum"] = "lose".into();
    let wrong = world.call("POST", "/v1/coupons", &world.admin, "b", &body);
    assert_eq!((wrong.status, wrong.code()), (422, "invalid_request"));
    assert_eq!(wrong.body["errors"][0]["pointer"], "/below_minimum");
    assert_eq!(world.get("/v1/coupons/1").body["below_minimum"], "keep");
}
