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
#[case::from_a_day("orders list --from 2999-01-01", &[])]
#[case::to_a_day("orders list --to 1999-01-01", &[])]
#[case::between_days("orders list --from 1999-01-01 --to 2999-01-01", &[3, 2, 1])]
#[case::log_from_a_day("log --from 2999-01-01", &[])]
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

#[test]
fn day_of_a_sale_or_a_campaign_begins_in_the_zone_of_the_shop() {
    let dir = TestDir::stocked();
    dir.json("settings zone Asia/Seoul");
    for line in [
        "product update 1 --sale-price 200 --sale-from 2020-01-01 --sale-until 2990-01-01",
        "coupon add Spring --quantity 5 --amount 100 --from 2020-01-01 --until 2990-01-01",
        "coupon update 1 --until 2990-01-01",
    ] {
        let text = dir.run(line);
        assert_eq!(text.status, 0, "{line}: {}", text.err);
        assert!(text.out.contains("2019-12-31T15:00:00Z"), "{line}: {}", text.out);
        assert!(text.out.contains("2989-12-31T15:00:00Z"), "{line}: {}", text.out);
    }
    let wrong = dir.run("coupon update 1 --until soon");
    assert!(wrong.status == 2 && wrong.err.contains("a day like 2026-01-31, or none"));
}

#[test]
fn regular_price_is_beside_a_sale_price() {
    let dir = TestDir::stocked();
    dir.json("cart set 1 1 2");
    for line in ["product list", "cart show 1", "order 1 1"] {
        let text = dir.run(line).out;
        assert!(text.contains("12.50") && !text.contains("regular"), "{line}: {text}");
    }
    dir.json("product update 1 --sale-price 200");
    for line in ["product list", "cart show 1", "order 1 1"] {
        let text = dir.run(line).out;
        let row = text.lines().find(|line| line.contains(" 2.00")).unwrap_or_default();
        assert!(text.contains("regular") && row.contains("12.50"), "{line}: {text}");
    }
    let order = dir.run("orders show 1").out;
    assert!(order.contains("owned coupon"), "{order}");
}

#[test]
fn list_shows_what_sets_its_rows_apart() {
    let dir = TestDir::stocked();
    for (change, list, part) in [
        ("customer disable 1", "customer list", "disabled"),
        ("product update 1 --low-stock-threshold 77", "product list --low", "77"),
        ("coupon add Spring --quantity 5 --amount 100", "coupon list", "Spring"),
        ("coupon stop 1", "coupon list", "stopped"),
    ] {
        assert!(!dir.run(list).out.contains(part), "{list}");
        assert_eq!(dir.run(change).status, 0, "{change}");
        let text = dir.run(list).out;
        assert!(text.contains(part), "{list}: {text}");
    }
    let refused = dir.run("coupon claim 1 1");
    assert_eq!(refused.status, 3);
    assert!(refused.err.contains("stopped"), "{}", refused.err);
}

#[test]
fn key_is_explained_in_lines() {
    let dir = busy();
    let text = dir.run("why one").out;
    assert!(text.contains("order  1") && !text.contains('{'), "{text}");
    assert!(!text.lines().any(|line| line.starts_with("charge")), "{text}");
    assert!(text.lines().all(|line| line.len() <= 120), "{text}");
}

#[test]
fn store_with_rows_is_no_target_of_a_copy() {
    let dir = busy();
    assert_eq!(dir.run("copy --from commerce.db --to other.db").status, 0);
    let again = dir.run("copy --from commerce.db --to other.db");
    assert_eq!((again.status, again.out.as_str()), (2, ""));
    assert!(again.err.contains("name another --to"), "{}", again.err);
}
