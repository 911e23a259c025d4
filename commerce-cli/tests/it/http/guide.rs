//! `docs/api.md` against the server: its session runs as written, its examples match the responses,
//! its table matches the OpenAPI document, and its limits hold.

use crate::http::client::{Request, Response};
use crate::http::server::Server;
use crate::http::workspace::Workspace;
use rusqlite::Connection;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

fn guide() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/api.md");
    fs::read_to_string(path).unwrap()
}

/// Returns the text below that heading.
fn section<'a>(guide: &'a str, heading: &str) -> &'a str {
    let (_, from) = guide.split_once(&format!("\n## {heading}\n")).unwrap();
    from.split("\n## ").next().unwrap()
}

/// Returns the fenced blocks of that kind.
fn blocks(text: &str, kind: &str) -> Vec<String> {
    let fence = format!("```{kind}\n");
    let fences = text.split(&fence).skip(1);
    fences.map(|from| from.split("```").next().unwrap().to_owned()).collect()
}

/// Runs a script; returns the lines of its output.
fn script(workspace: &Workspace, text: &str, environment: &[(&str, &str)]) -> Vec<String> {
    let mut command = Command::new("sh");
    command.args(["-eu", "-c", text]).current_dir(workspace.path()).stdin(Stdio::null());
    let output = command.envs(environment.iter().copied()).output().unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert_ne!(output.status.code(), Some(127), "curl is needed for this test: {err}");
    assert!(output.status.success() && err.is_empty(), "{text}: {err}");
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn guide_session_runs_as_written() {
    let workspace = Workspace::empty();
    let server = Server::with(&workspace, &["--demo"]);
    let lines = blocks(section(&guide(), "A session"), "sh");
    assert_eq!(lines.len(), 6);
    let base = format!("http://{}", server.address);
    let printed = script(&workspace, &lines.concat(), &[("BASE", &base)]).concat();
    assert!(
        printed.contains(r#"{"customer_id":2,"balance":37850,"debt":0,"currency":"KRW"}"#),
        "{printed}"
    );
    assert!(!printed.contains("/problems/"), "{printed}");
    server.stop();

    assert_eq!(workspace.json("balance 2")["balance"], 37_850);
    let orders = workspace.whole_list("orders list 2");
    let orders: Vec<_> = orders.iter().map(|o| (&o["status"], &o["total"])).collect();
    assert_eq!(orders, [(&json!("cancelled"), &json!(12_000)), (&json!("paid"), &json!(12_150))]);
    let top = workspace.json("top");
    let top = top["items"].as_array().unwrap().iter();
    let top: Vec<_> = top.map(|item| (&item["product_id"], &item["units_sold"])).collect();
    assert_eq!(top, [(&json!(5), &json!(3)), (&json!(1), &json!(2))]);
    assert_eq!(workspace.json("cart show 2")["items"], json!([]));
    assert_eq!(workspace.json("coupon owned 2")["items"][0]["status"], "used");
    workspace.audit();
}

/// Removes the parts of a line that differ between runs.
fn plain(line: &str) -> String {
    let Ok(mut document) = serde_json::from_str::<Value>(line) else { return line.to_owned() };
    for name in ["request_id", "created_at", "retry_after"] {
        if let Some(member) = document.get_mut(name) {
            *member = Value::Null;
        }
    }
    let mut text = document.to_string();
    if document["code"] == "too_many_requests" {
        text.retain(|letter| !letter.is_ascii_digit());
    }
    text
}

/// Runs all examples as one script, so that variables of one are set in the next.
#[test]
fn guide_examples_match_the_responses() {
    const END: &str = "-- end of an example --";
    let workspace = Workspace::empty();
    let mut server = Server::with(&workspace, &["--demo"]);
    let token =
        server.wait_for_line(|line| Some(line.split_once("customer 1: ")?.1.trim().to_owned()));
    let text = blocks(&guide(), "console").concat();
    let mut examples: Vec<(&str, Vec<String>)> = Vec::new();
    for line in text.lines() {
        match line.strip_prefix("$ ") {
            Some(command) => examples.push((command, Vec::new())),
            None => examples.last_mut().unwrap().1.push(plain(line)),
        }
    }
    let commands: Vec<_> =
        examples.iter().map(|(line, _)| format!("{line}\necho\necho '{END}'\n")).collect();
    let base = format!("http://{}", server.address);
    let environment =
        [("BASE", base.as_str()), ("TOKEN", &token), ("JSON", "Content-Type: application/json")];
    let printed = script(&workspace, &commands.concat(), &environment);
    let mut printed = printed.split(|line| line == END);
    for (command, expected) in examples {
        let actual: Vec<_> =
            printed.next().unwrap().iter().filter(|line| !line.is_empty()).collect();
        let actual: Vec<_> = actual.into_iter().map(|line| plain(line)).collect();
        assert_eq!(actual, expected, "{command}");
    }
    server.stop();
    workspace.audit();
}

#[test]
fn guide_retry_after_examples_match_the_responses() {
    let workspace = Workspace::with_products(&[]);
    let server = Server::start(&workspace);
    let shown: Vec<_> =
        blocks(section(&guide(), "Errors"), "json").iter().map(|b| plain(b.trim())).collect();

    let wrong = Request::post("/v1/sessions", &json!({"login": "kim", "password": "wrong horse"}));
    let mut client = server.client();
    let mut tries = (0..12).map(|_| client.send(&wrong));
    let slowed = tries.find(|response| response.status == 429).unwrap();
    assert_eq!(plain(&slowed.body), shown[0]);

    // Another program holds the write lock of the store for longer than a call waits.
    let store = Connection::open(workspace.path().join("commerce.db")).unwrap();
    store.execute_batch("BEGIN IMMEDIATE").unwrap();
    // A login without failed attempts, which a read refuses before the store is asked to write.
    let other = Request::post("/v1/sessions", &json!({"login": "lee", "password": "wrong horse"}));
    let busy = client.send(&other);
    assert_eq!((busy.status, busy.header("Retry-After")), (503, Some("1")));
    assert_eq!(plain(&busy.body), shown[1]);
    store.execute_batch("ROLLBACK").unwrap();
    server.stop();
}

#[test]
fn guide_table_matches_the_openapi_document() {
    let workspace = Workspace::with_products(&[]);
    let server = Server::start(&workspace);
    let document = server.client().send(&Request::get("/openapi.json")).json();
    let guide = guide();
    let rows = section(&guide, "Calls").lines().filter(|line| line.starts_with("| `"));
    let mut rows: Vec<String> =
        rows.map(|row| row.split(" | ").take(3).collect::<Vec<_>>().join(" | ")).collect();
    for (path, methods) in document["paths"].as_object().unwrap() {
        let operations = methods.as_object().unwrap().iter();
        for (method, operation) in operations.filter(|(name, _)| *name != "parameters") {
            let parameters = operation["parameters"].to_string();
            let key = if parameters.contains("/parameters/OptionalKey\"") {
                "allowed"
            } else if parameters.contains("/parameters/Key\"") {
                "needed"
            } else {
                "-"
            };
            let description = operation["description"].as_str().unwrap();
            let who = [
                ("From reader up.", "reader"),
                ("From clerk up.", "clerk"),
                ("From admin up.", "admin"),
                ("Owner", "owner"),
                ("Any customer", "customer"),
            ];
            let who = who.iter().find(|(text, _)| description.contains(text));
            let who = who.map_or("public", |(_, who)| who);
            // A public call with parameters for staff takes a token too.
            let is_public = [json!([]), json!([{}, { "bearer": [] }])];
            assert_eq!(who == "public", is_public.contains(&operation["security"]), "{path}");
            let call = format!("| `{} {path}`", method.to_uppercase());
            let found = rows.iter().position(|row| *row == format!("{call} | {who} | {key}"));
            rows.remove(found.unwrap_or_else(|| panic!("{call} {who} {key}: {rows:?}")));
        }
    }
    assert_eq!(rows, [""; 0], "rows for calls that are not there");
    server.stop();
}

/// Checks each limit at its value and one beyond.
#[test]
fn guide_limits_hold() {
    let workspace = Workspace::with_products(&[(10, 5)]);
    workspace.add_customers(1, 100);
    let server = Server::start(&workspace);
    let token = workspace.admin_token();
    let client = &mut server.client();
    let mut request = |request: Request| -> Response { client.send(&request.by(&token)) };
    let order = |body: &Value| Request::post("/v1/customers/1/orders", body);
    let status = |response: Response| response.outcome();

    let padded = |length: usize| json!(" ".repeat(length - 2));
    assert_eq!(status(request(order(&padded(65_536)).key("a"))).0, 422);
    assert_eq!(status(request(order(&padded(65_537)).key("a"))).0, 413);
    let path = |length: usize| Request::get(format!("/{}", "a".repeat(length - 1)));
    assert_eq!(status(request(path(2_048))).0, 404);
    assert_eq!(status(request(path(2_049))).0, 431);
    // Host, Authorization and `count` others.
    let headers = |count: usize| {
        (0..count).fold(Request::get("/healthz"), |request, _| request.with("X", "a"))
    };
    assert_eq!(status(request(headers(62))).0, 200);
    assert_eq!(status(request(headers(63))).0, 431);
    let one = json!({"items": [{"product_id": 1, "quantity": 1}]});
    assert_eq!(status(request(order(&one).key("k".repeat(255)))).0, 201);
    assert_eq!(status(request(order(&one).key("k".repeat(256)))).1, "idempotency_key_missing");
    let lines = |count: i64| {
        let lines = (1..=count).map(|product| json!({"product_id": product, "quantity": 1}));
        json!({"items": lines.collect::<Vec<_>>()})
    };
    assert_eq!(status(request(order(&lines(1_000)).key("b"))).1, "product_not_found");
    assert_eq!(status(request(order(&lines(1_001)).key("c"))).1, "invalid_request");
    for (target, last) in
        [("products?limit", 100), ("bestsellers?limit", 100), ("bestsellers?days", 366)]
    {
        assert_eq!(status(request(Request::get(format!("/v1/{target}={last}")))).0, 200);
        assert_eq!(status(request(Request::get(format!("/v1/{target}={}", last + 1)))).0, 422);
    }
    let charge = |amount: i64, key: &str| {
        Request::post("/v1/customers/1/charges", &json!({"amount": amount})).key(key)
    };
    assert_eq!(status(request(charge(1_000_000_000_000, "d"))).0, 201);
    assert_eq!(status(request(charge(1_000_000_000_001, "e"))).0, 422);
    let who = |login: &str, password: usize| {
        let password = &"q7-horse".repeat(17)[..password];
        Request::post(
            "/v1/customers",
            &json!({"login": login, "password": password, "name": "Kim"}),
        )
    };
    for (length, fits) in [(7, 422), (8, 201), (128, 201), (129, 422)] {
        assert_eq!(status(request(who(&format!("kim-{length}"), length))).0, fits);
    }
    assert_eq!(status(request(who(&"김".repeat(200), 8))).0, 201);
    assert_eq!(status(request(who(&"김".repeat(201), 8))).0, 422);
    server.stop();
    workspace.audit();
}

/// The known quirks as single calls, with the expected responses.
const QUIRKS: &[(&str, &str, &str, u16, &str)] = &[
    ("GET", "/v1/products/x", "", 404, "not_found"),
    ("GET", "/v1/products/0", "", 404, "not_found"),
    ("GET", "/v1/products/01", "", 404, "not_found"),
    ("GET", "/v1/products/", "", 404, "not_found"),
    ("GET", "/v1/products/99", "", 404, "product_not_found"),
    ("GET", "/v1/products?colour=green", "", 200, ""),
    ("DELETE", "/v1/customers/me/cart?colour=green", "", 422, "invalid_request"),
    ("GET", "/v1/%70roducts/1", "", 200, ""),
    ("GET", "/v1/products?limit=2&limit=3", "", 422, "invalid_request"),
    ("PUT", CART_ITEM, r#"{"quantity":1,"quantity":2}"#, 400, "malformed_request"),
    ("PUT", CART_ITEM, r#"{"quantity":1,"colour":2}"#, 422, "invalid_request"),
    ("PUT", CART_ITEM, r#"{"quantity":1.0}"#, 422, "invalid_request"),
    ("PUT", CART_ITEM, r#"{"quantity":"1"}"#, 422, "invalid_request"),
    ("PUT", CART_ITEM, r#"{"quantity":0}"#, 409, "not_in_cart"),
    ("PUT", CART_ITEM, "{}", 422, "invalid_request"),
    ("PUT", CART_ITEM, "", 400, "malformed_request"),
    ("DELETE", CART_ITEM, "", 409, "not_in_cart"),
    ("GET", "/v1/products/1", "{}", 200, ""),
    ("GET", "/v1/products/1", r#"{"a":1}"#, 422, "invalid_request"),
    ("DELETE", "/v1/customers/me/cart", r#"{"a":1}"#, 422, "invalid_request"),
    ("GET", "/v1/customers/1", "", 403, "forbidden"),
    ("GET", "/v1/customers/99", "", 403, "forbidden"),
    ("GET", "/v1/orders/1", "", 404, "order_not_found"),
    ("PATCH", "/v1/products/1", r#"{"price":1}"#, 403, "forbidden"),
    ("POST", "/v1/products/1", "{}", 405, "method_not_allowed"),
    ("HEAD", "/v1/products/1", "", 200, ""),
    ("OPTIONS", "/v1/products/1", "", 204, ""),
    ("GET", "/v1/bestsellers?at=2026-01-01T00:00:00+09:00", "", 422, "invalid_request"),
    ("GET", "/v1/bestsellers?at=2026-01-01T00:00:00.9%2B09:00", "", 200, ""),
];

const CART_ITEM: &str = "/v1/customers/me/cart/items/1";

#[test]
fn guide_quirks_match_the_responses() {
    let workspace = Workspace::with_products(&[(10, 5)]);
    workspace.add_customers(2, 100);
    workspace.json("order 1 1");
    workspace.fed("customer login 2 kim --password-file -", "correct horse");
    let token = workspace.json("admin token kim");
    let token = token["token"].as_str().unwrap();
    let server = Server::start(&workspace);
    let client = &mut server.client();
    for (method, target, body, status, code) in QUIRKS {
        let request = Request::new(method, *target).by(token);
        let request = if body.is_empty() { request } else { request.text_body(body) };
        let response = client.send(&request);
        assert_eq!(response.outcome(), (*status, (*code).to_owned()), "{method} {target} {body}");
    }
    // A request that is invalid before any rule leaves the key unused; a refusal by a rule uses it.
    let order = |quantity: i64| {
        let body = json!({"items": [{"product_id": 1, "quantity": quantity}]});
        Request::post("/v1/customers/me/orders", &body).key("key").by(token)
    };
    assert_eq!(client.send(&order(0)).status, 422);
    assert_eq!(client.send(&order(5)).outcome().1, "insufficient_stock");
    workspace.json("product stock 1 10");
    let again = client.send(&order(5));
    assert_eq!((again.outcome().1.as_str(), again.replayed()), ("insufficient_stock", true));
    assert_eq!(client.send(&order(1)).outcome().1, "idempotency_key_reused");
    let items = json!({"items": [{"quantity": 5, "product_id": 1}], "payment": "now"});
    let quoted = Request::post("/v1/customers/2/orders", &items).key("\"key\"").by(token);
    assert!(client.send(&quoted).replayed(), "in quotes, and written in another way");
    assert_eq!(client.send(&Request::get("/v1/products/1").by("nonsense")).status, 200);
    server.stop();
    workspace.audit();
}
