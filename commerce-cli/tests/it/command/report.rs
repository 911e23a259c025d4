//! Reports and the settings they depend on.

use super::TestDir;
use rstest::rstest;
use serde_json::json;

/// A shop with an order of 2 tea and 1 gum, and a cancelled one of 3 gum.
fn sold() -> TestDir {
    let dir = TestDir::stocked();
    for line in ["order 1 1:2 2:1 --key one", "order 1 2:3 --key two", "orders cancel 2 --key off"]
    {
        assert_eq!(dir.run(line).status, 0, "{line}");
    }
    dir
}

#[rstest]
#[case::booked("booked", [2, 6, 2_896, 1, 297])]
#[case::standing("standing", [1, 3, 2_599, 0, 0])]
fn sales_report_counts_orders_on_each_basis(#[case] basis: &str, #[case] expected: [i64; 5]) {
    let report = sold().json(&format!("report sales --days 1 --basis {basis}"));
    let totals = &report["totals"];
    let names = ["orders", "units", "net", "cancelled_orders", "refunds"];
    assert_eq!(names.map(|name| totals[name].as_i64().unwrap()), expected, "{totals}");
    assert_eq!((&report["basis"], &report["zone"]), (&json!(basis), &json!("UTC")));
}

#[rstest]
#[case("sales")]
#[case("products")]
#[case("stock")]
#[case("coupons")]
#[case("balances")]
fn report_is_proved_and_written_as_csv(#[case] report: &str) {
    let dir = sold();
    let proved = dir.json(&format!("report {report} --prove"));
    assert_eq!(proved["differences"], json!([]));
    assert_eq!(proved["currency"], json!("USD"));
    let csv = dir.run(&format!("report {report} --csv --bom --prove"));
    assert_eq!(csv.status, 0, "{}", csv.err);
    assert!(csv.out.starts_with('\u{feff}') && csv.out.ends_with("\r\n"), "{:?}", csv.out);
    assert!(csv.err.contains("(proved"), "{}", csv.err);
    let text = dir.run(&format!("report {report}"));
    assert_eq!((text.status, text.err.as_str()), (0, ""));
}

#[test]
fn report_with_a_wrong_count_fails_its_proof() {
    let dir = sold();
    // Empties the counts, as a defect or another program could.
    let db = rusqlite::Connection::open(dir.0.path().join("commerce.db")).unwrap();
    assert!(db.execute("DELETE FROM sales", []).unwrap() > 0);
    let proved = dir.run("report sales --days 1 --prove");
    assert_eq!(proved.status, 3);
    assert!(proved.err.contains("/totals/orders: 0, counted again: 2"), "{}", proved.err);
}

#[test]
fn page_of_the_day_shows_sales_products_and_events() {
    let dir = sold();
    let page = dir.run("report").out;
    for part in
        ["today", "Net by hour, at most", "Tea", "2 sold", "All stock", "wait for delivery: 3."]
    {
        assert!(page.contains(part), "{part} is missing:\n{page}");
    }
    for line in page.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
    let body = dir.json("report");
    assert_eq!(body["sales"]["totals"]["orders"], json!(2));
    assert_eq!(body["events"]["waiting"], json!(3));
}

#[test]
fn zone_of_the_shop_is_set_once_and_changed_by_settings() {
    let dir = TestDir::empty();
    let init = dir.run("init --zone Asia/Seoul");
    assert!(init.out.contains("days of Asia/Seoul"), "{}", init.out);
    assert_eq!(dir.json("report sales")["zone"], json!("Asia/Seoul"));
    let other = dir.run("init --zone Asia/Kathmandu");
    assert_eq!(other.status, 2);
    assert!(other.err.contains("commerce settings zone Asia/Kathmandu"), "{}", other.err);
    assert_eq!(dir.json("settings zone Asia/Kathmandu")["zone"], json!("Asia/Kathmandu"));
    assert_eq!(dir.json("settings"), json!({ "zone": "Asia/Kathmandu", "currency": "KRW" }));
    assert_eq!(dir.json("report sales --zone UTC")["zone"], json!("UTC"));
}

/// A day as an end of a window is the whole local day.
#[test]
fn days_as_ends_of_a_window_are_local() {
    let dir = TestDir::stocked();
    let line = "report sales --from 2026-01-01 --to 2026-01-02 --zone Asia/Seoul";
    let report = dir.json(line);
    assert_eq!(report["from"], json!("2025-12-31T14:59:59Z"));
    assert_eq!(report["to"], json!("2026-01-02T14:59:59Z"));
    assert_eq!(report["buckets"].as_array().unwrap().len(), 2);
}

#[rstest]
#[case::zone("report sales --zone Asia/Soul", "no zone of the IANA database")]
#[case::order("report sales --from 2026-01-02 --to 2026-01-01", "which is 2026-01-01\n")]
#[case::both("report sales --from 2026-01-02 --days 3", "cannot be used with")]
#[case::day("report sales --from 2026-02-30", "or a day like 2026-01-31")]
#[case::buckets("report sales --days 366 --by hour", "more than 1000")]
#[case::days("report products --days 0", "from 1 to 366")]
#[case::limit("report stock --limit 101", "from 1 to 100")]
#[case::bom("report stock --bom", "--csv")]
#[case::formats("--json report stock --csv", "omit one of them")]
fn invalid_report_arguments_are_refused(#[case] line: &str, #[case] reason: &str) {
    let output = TestDir::stocked().run(line);
    assert_eq!((output.status, output.out.as_str()), (2, ""), "{}", output.err);
    assert!(output.err.contains(reason), "{}", output.err);
}

/// 2 tea at 12.50 bring more than 1 gum at 0.99, which sold once.
#[test]
fn top_ranks_by_units_or_by_money() {
    let dir = sold();
    assert_eq!(dir.run("order 1 2:4 --key many").status, 0);
    let first = |line: &str| dir.json(line)["items"][0].clone();
    let by_units = first("top");
    assert_eq!((&by_units["name"], by_units.get("net")), (&json!("Gum"), None));
    let by_net = first("top --by net");
    assert_eq!((&by_net["name"], &by_net["net"]), (&json!("Tea"), &json!(2_500)));
    let text = dir.run("top --by net").out;
    assert!(text.contains("25.00 USD"), "{text}");
}
