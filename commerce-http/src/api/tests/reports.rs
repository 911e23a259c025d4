//! Reports: each parameter, refusals, forms and caching.

use super::*;

/// 2027-01-15T08:00:00Z, a Friday.
const NOW: i64 = 1_800_000_000;

/// The world five minutes after Kim has paid 4,500 for a tea.
fn sold() -> World {
    let world = world();
    assert_eq!(world.post("/v1/orders/1/payment", "pay", &Value::Null).status, 200);
    world.clock.set(Timestamp::from_unix(NOW + 300));
    world
}

impl World {
    fn report(&self, target: &str) -> Seen {
        self.call("GET", &format!("/v1/reports/{target}"), &self.admin, "", &Value::Null)
    }

    /// A report as text.
    fn text(&self, target: &str, accept: &str) -> (Seen, String) {
        let bearer = format!("Bearer {}", self.admin);
        let headers = [("Authorization", bearer.as_str()), ("Accept", accept)];
        let seen = self.send("GET", &format!("/v1/reports/{target}"), &headers, b"");
        let headers = headers.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        let request = Request {
            method: "GET".to_owned(),
            target: format!("/v1/reports/{target}"),
            headers: headers.collect(),
            ..Request::default()
        };
        let body = self.api.answer(&request).body.into_owned();
        (seen, String::from_utf8(body).unwrap())
    }
}

#[test]
fn report_follows_each_parameter() {
    let world = sold();
    for (target, pointer, expected) in [
        ("sales", "/from", json!("2027-01-08T23:59:59Z")),
        ("sales", "/buckets/6/net", json!(4_500)),
        ("sales", "/basis", json!("booked")),
        ("sales", "/currency", json!("KRW")),
        ("sales?days=1", "/from", json!("2027-01-14T23:59:59Z")),
        ("sales?days=1&zone=Asia/Kathmandu", "/from", json!("2027-01-14T18:14:59Z")),
        ("sales?zone=Asia/Seoul", "/zone", json!("Asia/Seoul")),
        ("sales?from=2027-01-15T07:59:59Z", "/totals/orders", json!(1)),
        ("sales?from=2027-01-15T08:00:00Z", "/totals/orders", json!(0)),
        ("sales?days=1&to=2027-01-15T07:59:59Z", "/totals/orders", json!(0)),
        ("sales?days=1&to=2027-01-15T08:00:00Z", "/totals/orders", json!(1)),
        ("sales?days=1&by=hour", "/buckets/8/from", json!("2027-01-15T07:59:59Z")),
        ("sales?days=20&by=month", "/buckets/1/from", json!("2026-12-31T23:59:59Z")),
        ("sales", "/previous", Value::Null),
        ("sales?days=2&compare=previous", "/previous/to", json!("2027-01-13T08:05:00Z")),
        ("sales?compare=previous", "/previous/buckets/0/orders", json!(0)),
        ("sales?compare=last-week", "/previous/to", json!("2027-01-08T08:05:00Z")),
        ("sales?compare=last-year", "/previous/to", json!("2026-01-15T08:05:00Z")),
        ("sales?basis=standing", "/totals/first_orders", json!(1)),
        ("products", "/items/0/rank", json!(1)),
        ("products?by=net", "/by", json!("net")),
        ("products?by=rising", "/items/0/units_before", json!(0)),
        ("products?days=1", "/from", json!("2027-01-14T08:05:00Z")),
        ("products?at=2027-01-15T07:59:59Z", "/items", json!([])),
        ("stock?days=10", "/items/0/days_left", json!(90)),
        ("coupons", "/items/0/issued", json!(1)),
        ("balances", "/outstanding", json!(95_500)),
        ("balances?at=2027-01-15T07:59:59Z", "/charged", json!(0)),
        ("events", "/waiting", json!(1)),
        ("sales", "/differences", Value::Null),
        ("sales?prove=true", "/differences", json!([])),
        ("products?prove=true", "/differences", json!([])),
        ("stock?prove=true", "/differences", json!([])),
        ("coupons?prove=true", "/differences", json!([])),
        ("balances?prove=true", "/differences", json!([])),
        ("sales?prove=false", "/differences", Value::Null),
    ] {
        let seen = world.report(target);
        assert_eq!(seen.status, 200, "{target}: {seen:?}");
        let found = seen.body.pointer(pointer).unwrap_or(&Value::Null);
        assert_eq!(found, &expected, "{target}: {}", seen.body);
    }
}

#[test]
fn report_refuses_a_parameter_by_name() {
    let world = world();
    for (target, pointer, part) in [
        ("sales?zone=Asia/Soul", "/zone", "no zone"),
        ("sales?from=2027-01-01T00:00:00Z&days=3", "/days", "either from or days"),
        ("sales?from=yesterday", "/from", "RFC 3339"),
        ("sales?from=2027-02-01T00:00:00Z", "/from", "before to"),
        ("sales?days=0", "/days", "at least 1"),
        ("sales?days=367", "/days", "at most 366"),
        ("sales?by=minute", "/by", "\"hour\", \"day\""),
        ("sales?days=366&by=hour", "/by", "1000"),
        ("sales?compare=before", "/compare", "\"last-week\""),
        ("sales?basis=paid", "/basis", "\"standing\""),
        ("sales?format=xlsx", "/format", "\"csv-bom\""),
        ("sales?prove=yes", "/prove", "true or false"),
        ("sales?prove=true&format=csv", "/prove", "JSON"),
        ("sales?by=day&by=day", "/by", "twice"),
        ("products?by=price", "/by", "\"rising\""),
        ("products?limit=0", "/limit", "at least 1"),
        ("products?limit=101", "/limit", "at most 100"),
        ("products?at=noon", "/at", "RFC 3339"),
        ("stock?days=367", "/days", "at most 366"),
        ("balances?at=1", "/at", "RFC 3339"),
    ] {
        let seen = world.report(target);
        assert_eq!((seen.status, seen.code()), (422, "invalid_request"), "{target}: {seen:?}");
        let error = &seen.body["errors"][0];
        assert_eq!(error["pointer"], pointer, "{target}: {seen:?}");
        let detail = error["detail"].as_str().unwrap();
        assert!(detail.contains(part), "{target}: {detail}");
    }
}

#[test]
fn best_sellers_rank_by_units_or_money() {
    let world = sold();
    let first =
        |query: &str| world.get(&format!("/v1/bestsellers{query}")).body["items"][0].clone();
    assert_eq!(first("?by=net")["net"], 4_500);
    assert_eq!((&first("?by=units")["units_sold"], first("").get("net")), (&json!(1), None));
    let refused = world.get("/v1/bestsellers?by=rising");
    assert_eq!(refused.body["errors"][0]["pointer"], "/by", "{refused:?}");
}

#[test]
fn cancellation_counts_by_basis() {
    let world = sold();
    assert_eq!(world.post("/v1/orders/1/cancellation", "cancel", &Value::Null).status, 200);
    let totals = |basis: &str| world.report(&format!("sales?basis={basis}")).body["totals"].clone();
    let booked = totals("booked");
    assert_eq!((&booked["orders"], &booked["cancelled_orders"]), (&json!(1), &json!(1)));
    assert_eq!((&booked["net"], &booked["refunds"]), (&json!(4_500), &json!(4_500)));
    let standing = totals("standing");
    assert_eq!((&standing["orders"], &standing["cancelled_orders"]), (&json!(0), &json!(0)));
    assert_eq!((&standing["net"], &standing["refunds"]), (&json!(0), &json!(0)));
}

#[test]
fn csv_defuses_formulas_and_has_a_mark_on_request_only() {
    let world = sold();
    let name = "=HYPERLINK(\"x\",\"y\")";
    let evil = AddProduct::new(name, Money::from_minor(100), 5);
    world.api.shop().call(evil).run().unwrap();
    let cell = "2,\"'=HYPERLINK(\"\"x\"\",\"\"y\"\")\",0,5,5,0,,\r\n";
    for (target, accept, mark) in [
        ("stock?format=csv", "", ""),
        ("stock?format=csv-bom", "", "\u{feff}"),
        ("stock", "text/csv", ""),
    ] {
        let (seen, text) = world.text(target, accept);
        assert_eq!((seen.status, seen.header("Vary")), (200, Some("Accept")));
        assert_eq!(seen.header("Content-Type"), Some("text/csv; charset=utf-8"));
        let head = format!(
            "{mark}product_id,name,sold,received,stock,sell_through_basis_points,days_left,low_stock_threshold\r\n"
        );
        assert!(text.starts_with(&head) && text.ends_with(cell), "{text}");
    }
    for report in ["sales", "products", "coupons", "balances"] {
        let (seen, text) = world.text(&format!("{report}?format=csv"), "");
        assert_eq!((seen.status, text.starts_with('{')), (200, false), "{text}");
        let (seen, _) = world.text(&format!("{report}?format=json"), "text/csv");
        assert_eq!(seen.header("Content-Type"), Some("application/json"));
    }
}

#[test]
fn reports_match_their_schemas() {
    let world = sold();
    for route in ROUTES.iter().filter(|route| route.has_csv) {
        let Some(target) = route.path.strip_prefix("/v1/reports/") else { continue };
        let compared = if target == "sales" { "&compare=previous" } else { "" };
        let seen = world.report(&format!("{target}?prove=true{compared}"));
        let errors = schema::validate(schema::find(route.response.unwrap()), &seen.body);
        assert!(errors.is_empty(), "{errors:?} in {}", seen.body);
    }
}

/// A report is about an instant, and about money: no cache keeps it.
#[test]
fn reports_are_not_cached() {
    let world = sold();
    for route in ROUTES.iter().filter(|route| route.path.starts_with("/v1/reports/")) {
        let seen = world.call("GET", route.path, &world.admin, "", &Value::Null);
        assert_eq!(seen.header("Cache-Control"), Some("no-store"), "{}", route.path);
        assert_eq!(seen.header("ETag"), None, "{}", route.path);
        assert_eq!(route.auth, Auth::Staff(Role::Reader), "{}", route.path);
    }
}
