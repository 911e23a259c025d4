//! Parts of orders that are cancelled, and money of charges that is paid back.

use crate::command::TestDir;
use rstest::rstest;
use rusqlite::Connection;
use serde_json::{Value, json};

#[test]
fn units_are_cancelled_one_by_one_until_the_order_is() {
    let dir = TestDir::stocked();
    let placed = dir.run("order 1 1:3 2:2 --key order");
    assert!(
        !placed.out.contains("cancelled") && !placed.out.contains("refunded"),
        "{}",
        placed.out
    );

    let part = dir.json("orders cancel 1 --item 1:1 --key part");
    assert_eq!((&part["status"], &part["refunded"]), (&json!("paid"), &json!(1_250)));
    assert_eq!((&part["total"], &part["due"]), (&json!(3_948), &json!(0)));
    let cancelled = |order: &Value| -> Vec<Value> {
        let lines = order["lines"].as_array().unwrap().iter();
        lines.map(|line| line["cancelled_quantity"].clone()).collect()
    };
    assert_eq!(cancelled(&part), [1, 0]);
    assert_eq!(dir.json("product show 1")["stock"], 8);
    let shown = dir.run("orders show 1").out;
    assert!(shown.contains("quantity  cancelled"), "{shown}");
    assert!(shown.contains("total 39.48 USD, refunded 12.50 USD"), "{shown}");

    // Several products after one option, a default of one unit, and goods that do not come back.
    let damaged = dir.json("orders cancel 1 --keep-stock --item 1 2:2");
    assert_eq!(
        (&damaged["refunded"], cancelled(&damaged)),
        (&json!(2_698), vec![2.into(), 2.into()])
    );
    assert_eq!(dir.json("product show 1")["stock"], 8);
    assert_eq!(dir.json("product show 2")["stock"], 498);

    let rest = dir.json("orders cancel 1");
    assert_eq!((&rest["status"], &rest["refunded"]), (&json!("cancelled"), &json!(3_948)));
    assert_eq!(dir.json("orders cancel 1 --item 1:1 --key part"), part, "repeated with its key");
    assert_eq!(dir.json("balance 1")["balance"], 10_000);
    assert_eq!(dir.json("product show 1")["stock"], 9);
    let events = dir.json("events list");
    let types = events["items"].as_array().unwrap().iter().map(|event| event["type"].clone());
    let part = "order.partially_cancelled";
    assert_eq!(types.collect::<Vec<_>>(), ["order.paid", part, part, "order.cancelled"]);
    let actions = dir.json("log --limit 3");
    let actions = actions["items"].as_array().unwrap().iter().map(|entry| entry["action"].clone());
    assert_eq!(actions.collect::<Vec<_>>(), ["order.cancelled", part, part]);
    assert_eq!(dir.json("audit")["ok"], true);
}

#[test]
fn more_units_than_are_left_are_refused_with_what_is_left() {
    let dir = TestDir::stocked();
    dir.json("order 1 1:2");
    let output = dir.run("--json orders cancel 1 --item 1:1 --item 1:2 2:1");
    let problem: Value = serde_json::from_str(&output.err).unwrap();
    let short = json!([
        {"product_id": 1, "requested": 3, "available": 2},
        {"product_id": 2, "requested": 1, "available": 0},
    ]);
    assert_eq!((output.status, &problem["code"]), (3, &json!("items_not_cancellable")));
    assert_eq!(problem["shortages"], short);
    assert_eq!(dir.json("orders show 1")["refunded"], 0);
}

#[test]
fn part_of_an_unpaid_order_is_no_longer_due() {
    let dir = TestDir::stocked();
    dir.json("order 1 1:2 --unpaid");
    let text = dir.run("orders cancel 1 --item 1").out;
    assert!(text.contains("total 25.00 USD, due 12.50 USD"), "{text}");
    assert_eq!(dir.json("orders pay 1")["due"], 0);
    assert_eq!(dir.json("balance 1")["balance"], 8_750);
    assert_eq!(dir.json("audit")["ok"], true);
}

#[rstest]
#[case::kept("", "keep", 1_050)]
#[case::lost("--below-minimum recalculate", "recalculate", 850)]
fn discount_below_the_minimum_is_kept_or_lost(
    #[case] option: &str,
    #[case] rule: &str,
    #[case] refunded: i64,
) {
    let dir = TestDir::stocked();
    let add = format!("coupon add Spring --quantity 1 --amount 400 --min-order 2000 {option}");
    assert_eq!(dir.json(&add)["below_minimum"], rule);
    let shown = dir.run("coupon show 1").out;
    let is_lost = "minimum order  20.00 USD, below it no discount is left";
    assert_eq!(shown.contains(is_lost), rule == "recalculate", "{shown}");
    dir.json("coupon claim 1 1");
    dir.json("order 1 1:2 --coupon 1");
    assert_eq!(dir.json("orders cancel 1 --item 1")["refunded"], refunded);
    assert_eq!(dir.json("orders cancel 1")["refunded"], 2_100);
    assert_eq!(dir.json("coupon owned 1")["items"][0]["status"], "held");
    assert_eq!(dir.json("audit")["ok"], true);
}

#[test]
fn charge_is_paid_back_in_parts() {
    let dir = TestDir::stocked();
    let paid = dir.run("charges refund 1 --amount 2500 --key a");
    let sentence = "paid back 25.00 USD of charge 1, 75.00 USD of it can still be paid back: the balance of customer 1 \
                    is 75.00 USD\n";
    assert_eq!((paid.status, paid.out.as_str()), (0, sentence), "{}", paid.err);
    let again = dir.run("charges refund 1 --amount 2500 --key a");
    assert_eq!((again.status, again.out.as_str()), (0, sentence));
    assert!(again.err.contains("used before"), "{}", again.err);
    let other = dir.run("charges refund 1 --amount 2501 --key a");
    assert_eq!((other.status, other.err.contains("key")), (3, true), "{}", other.err);

    dir.json("order 1 1:2");
    let short = dir.run("--json charges refund 1");
    let problem: Value = serde_json::from_str(&short.err).unwrap();
    assert_eq!((short.status, &problem["code"]), (3, &json!("insufficient_balance")));
    let above = dir.run("--json charges refund 1 --amount 7501");
    let problem: Value = serde_json::from_str(&above.err).unwrap();
    assert_eq!((above.status, &problem["code"]), (3, &json!("refund_above_charge")));
    assert_eq!((&problem["requested"], &problem["refundable"]), (&json!(7_501), &json!(7_500)));

    dir.json("orders cancel 1");
    let rest = dir.json("charges refund 1");
    assert_eq!((&rest["amount"], &rest["status"]), (&json!(7_500), &json!("succeeded")));
    assert_eq!((&rest["charge_id"], &rest["balance"]), (&json!(1), &json!(0)));
    assert_eq!(dir.run("charges refund 1").status, 3, "nothing is left");
    let refunds = dir.json("charges refunds 1");
    let amounts =
        refunds["items"].as_array().unwrap().iter().map(|refund| refund["amount"].clone());
    assert_eq!(amounts.collect::<Vec<_>>(), [2_500, 7_500]);
    assert_eq!(refunds["items"][1], rest);
    let page = dir.run("charges refunds 1 --limit 1");
    assert!(page.out.contains("refund") && page.err.contains("--cursor"), "{}", page.err);

    assert!(dir.run("charges list").out.contains("refunded (USD)"));
    assert_eq!(dir.json("charges list")["items"][0]["refunded"], 10_000);
    assert!(dir.run("ledger 1").out.contains("charge refund"));
    let report = dir.run("report balances").out;
    assert!(report.contains("paid back to payers   100.00 USD"), "{report}");
    assert_eq!(dir.json("report balances --prove")["returned"], 10_000);
    assert_eq!(dir.json("log --limit 1")["items"][0]["action"], "charge.refunded");
    assert_eq!(dir.json("why a")["items"][0]["charge_id"], 1);
    assert_eq!(dir.json("audit")["ok"], true);
}

/// The money has left the balance, and the key to go on with is named.
#[test]
fn refund_without_the_gateway_of_its_charge_is_pending() {
    let dir = TestDir::stocked();
    dir.json("charge 1 500 --gateway simulated --payment-method card");
    let output = dir.run("charges refund 2 --key back");
    let message = "is pending, there is no gateway to call: repeat with --key back";
    assert_eq!((output.status, output.out.contains(message)), (0, true), "{}", output.out);
    assert_eq!(dir.json("balance 1")["balance"], 10_000);
    assert_eq!(dir.json("charges refunds 2")["items"][0]["status"], "pending");
    let output = dir.run("--json charges refund 2 --key back");
    assert!(output.err.contains("repeat with --key back"), "{}", output.err);
    assert_eq!(dir.json("charges list --limit 1")["items"][0]["refunded"], 500);
    assert_eq!(dir.json("audit")["ok"], true);
}

#[test]
fn debt_is_beside_the_balance() {
    let dir = TestDir::stocked();
    assert_eq!(
        dir.json("balance 1"),
        json!({"customer_id": 1, "balance": 10_000, "debt": 0, "currency": "USD"})
    );
    let db = Connection::open(dir.0.path().join("commerce.db")).unwrap();
    db.execute("UPDATE customers SET debt = 250", []).unwrap();
    drop(db);
    let text = dir.run("balance 1").out;
    assert_eq!(text, "100.00 USD, and a debt of 2.50 USD, which later charges pay\n");
    assert_eq!(dir.json("balance 1")["debt"], 250);
}
