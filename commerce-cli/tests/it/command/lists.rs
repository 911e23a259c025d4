//! Lists of the back office.

use super::TestDir;
use rstest::rstest;
use serde_json::{Value, json};

/// A shop with two customers and three orders: the second is cancelled, the third is unpaid and of the second customer. Tea
/// has got five more units.
fn busy() -> TestDir {
    let dir = TestDir::stocked();
    for line in [
        "customer add Lee",
        "order 1 1:2 2:1 --key one",
        "order 1 2:3 --key two",
        "orders cancel 2 --key off",
        "order 2 1 --unpaid --key three",
        "product stock 1 5 --reason delivery --key add",
    ] {
        assert_eq!(dir.run(line).status, 0, "{line}");
    }
    dir
}

fn ids(list: &Value) -> Vec<i64> {
    let items = list["items"].as_array().unwrap();
    items.iter().map(|item| item["id"].as_i64().unwrap()).collect()
}

#[rstest]
#[case::all("orders list", &[3, 2, 1])]
#[case::customer("orders list 1", &[2, 1])]
#[case::status("orders list --status cancelled", &[2])]
#[case::product("orders list --product 1", &[3, 1])]
#[case::together("orders list 1 --product 2 --status paid", &[1])]
#[case::future("orders list --from 2999-01-01T00:00:00Z", &[])]
#[case::past("orders list --to 1999-01-01T00:00:00Z", &[])]
#[case::coupon("orders list --coupon 1", &[])]
#[case::reference("orders list --reference PO-1", &[])]
#[case::charges("charges list --status succeeded --customer 1", &[1])]
#[case::failed_charges("charges list --status failed", &[])]
#[case::products("product list --search TEA", &[1])]
#[case::archived("product list --archived", &[])]
#[case::all_products("product list --all", &[1, 2])]
#[case::low_products("product list --low", &[])]
#[case::customers("customer list --search LE", &[2])]
fn list_has_the_rows_of_its_filters(#[case] line: &str, #[case] expected: &[i64]) {
    assert_eq!(ids(&busy().json(line)), expected);
}

#[test]
fn orders_are_paged_with_the_cursor_of_their_filter() {
    let dir = busy();
    let page = dir.json("orders list --product 1 --limit 1");
    let cursor = page["next_cursor"].as_str().unwrap();
    assert_eq!(ids(&dir.json(&format!("orders list --product 1 --cursor {cursor}"))), [1]);
    let other = dir.run(&format!("orders list --product 2 --cursor {cursor}"));
    assert_eq!(other.status, 2);
    assert!(other.err.contains("cursor"), "{}", other.err);
    let text = dir.run("orders list --product 1 --limit 1");
    assert!(text.err.contains(&format!("--cursor {cursor}")), "{}", text.err);
}

#[test]
fn history_of_a_product_has_each_change_of_its_stock() {
    let dir = busy();
    let history = dir.json("product history 1");
    let mut changes: Vec<_> = history["items"].as_array().unwrap().iter().collect();
    assert_eq!(changes[0]["stock_after"], 12);
    let delivery = changes.iter().find(|change| change["reason"] == "delivery").unwrap();
    assert_eq!((&delivery["actor"], &delivery["order_id"]), (&json!("cli"), &Value::Null));
    changes.sort_by_key(|change| change["delta"].as_i64());
    let deltas: Vec<_> = changes.iter().map(|change| &change["delta"]).collect();
    assert_eq!(deltas, [&json!(-2), &json!(-1), &json!(5), &json!(10)]);
    let text = dir.run("product history 1").out;
    assert!(text.contains("+5") && text.contains("delivery") && text.contains("ordered"), "{text}");
    assert_eq!(dir.run("product history 9").status, 3);
}

#[test]
fn claims_of_a_campaign_are_listed_by_rank() {
    let dir = busy();
    for line in
        ["coupon add Spring --quantity 5 --amount 100", "coupon claim 1 2", "coupon claim 1 1"]
    {
        assert_eq!(dir.run(line).status, 0, "{line}");
    }
    let claims = dir.json("coupon claims 1");
    let customers: Vec<_> =
        claims["items"].as_array().unwrap().iter().map(|claim| &claim["customer_id"]).collect();
    assert_eq!(customers, [&json!(2), &json!(1)]);
    assert!(dir.run("coupon claims 1").out.contains("held"));
    assert_eq!(dir.run("coupon claims 9").status, 3);
}
