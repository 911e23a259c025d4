//! `docs/api.md` is true: its session runs as written, its examples are what is answered, its table
//! is the one of the document, and its limits hold.

use crate::http::client::{Answer, Ask};
use crate::http::place::Place;
use crate::http::server::Server;
use serde_json::{Value, json};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;

fn guide() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/api.md");
    fs::read_to_string(path).unwrap()
}

/// The part below that heading.
fn section<'a>(guide: &'a str, heading: &str) -> &'a str {
    let (_, from) = guide.split_once(&format!("\n## {heading}\n")).unwrap();
    from.split("\n## ").next().unwrap()
}

/// What stands in fences of that kind.
fn blocks(text: &str, kind: &str) -> Vec<String> {
    let fence = format!("```{kind}\n");
    let fences = text.split(&fence).skip(1);
    fences.map(|from| from.split("```").next().unwrap().to_owned()).collect()
}

/// What a script prints, line by line.
fn script(place: &Place, text: &str, environment: &[(&str, &str)]) -> Vec<String> {
    let mut command = Command::new("sh");
    command.args(["-eu", "-c", text]).current_dir(place.path()).stdin(Stdio::null());
    let output = command.envs(environment.iter().copied()).output().unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert_ne!(output.status.code(), Some(127), "curl is needed for this test: {err}");
    assert!(output.status.success() && err.is_empty(), "{text}: {err}");
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn the_session_of_the_guide_runs_as_written() {
    let place = Place::empty();
    let server = Server::with(&place, &["--demo"]);
    let lines = blocks(section(&guide(), "A session"), "sh");
    assert_eq!(lines.len(), 6);
    let base = format!("http://{}", server.address);
    let said = script(&place, &lines.concat(), &[("BASE", &base)]).concat();
    assert!(said.contains(r#"{"customer_id":2,"balance":37850,"currency":"KRW"}"#), "{said}");
    assert!(!said.contains("/problems/"), "{said}");
    server.stop();

    assert_eq!(place.json("balance 2")["balance"], 37_850);
    let orders = place.whole_list("orders list 2");
    let orders: Vec<_> = orders.iter().map(|o| (&o["status"], &o["total"])).collect();
    assert_eq!(orders, [(&json!("cancelled"), &json!(12_000)), (&json!("paid"), &json!(12_150))]);
    let top = place.json("top");
    let top = top["items"].as_array().unwrap().iter();
    let top: Vec<_> = top.map(|item| (&item["product_id"], &item["units_sold"])).collect();
    assert_eq!(top, [(&json!(5), &json!(3)), (&json!(1), &json!(2))]);
    assert_eq!(place.json("cart show 2")["items"], json!([]));
    assert_eq!(place.json("coupon owned 2")["items"][0]["status"], "used");
    place.audit();
}

/// A line as it is compared: what differs each time is left out.
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

/// One script of all examples, so that what one has set the next one has as well.
#[test]
fn the_examples_of_the_guide_are_what_is_answered() {
    const END: &str = "-- end of an example --";
    let place = Place::empty();
    let mut server = Server::with(&place, &["--demo"]);
    let token =
        server.wait_for_line(|line| Some(line.split_once("customer 1: ")?.1.trim().to_owned()));
    let examples = blocks(&guide(), "console").concat();
    let mut told: Vec<(&str, Vec<String>)> = Vec::new();
    for line in examples.lines() {
        match line.strip_prefix("$ ") {
            Some(command) => told.push((command, Vec::new())),
            None => told.last_mut().unwrap().1.push(plain(line)),
        }
    }
    let commands: Vec<_> =
        told.iter().map(|(line, _)| format!("{line}\necho\necho '{END}'\n")).collect();
    let base = format!("http://{}", server.address);
    let environment =
        [("BASE", base.as_str()), ("TOKEN", &token), ("JSON", "Content-Type: application/json")];
    let said = script(&place, &commands.concat(), &environment);
    let mut said = said.split(|line| line == END);
    for (command, told) in told {
        let said: Vec<_> = said.next().unwrap().iter().filter(|line| !line.is_empty()).collect();
        let said: Vec<_> = said.into_iter().map(|line| plain(line)).collect();
        assert_eq!(said, told, "{command}");
    }
    server.stop();
    place.audit();
}

#[test]
fn waiting_is_asked_for_as_the_guide_shows() {
    let place = Place::with_products(&[]);
    let server = Server::start(&place);
    let shown: Vec<_> =
        blocks(section(&guide(), "Errors"), "json").iter().map(|b| plain(b.trim())).collect();

    let wrong = Ask::post("/v1/sessions", &json!({"login": "kim", "password": "wrong horse"}));
    let mut client = server.client();
    let mut tries = (0..12).map(|_| client.ask(&wrong));
    let slowed = tries.find(|answer| answer.status == 429).unwrap();
    assert_eq!(plain(&slowed.body), shown[0]);

    // Bodies that do not come hold all threads that read bodies, and one more.
    let stalled = "POST /v1/sessions HTTP/1.1\r\nHost: a\r\nContent-Length: 2000\r\n\r\n";
    let connect = || {
        let mut wire = TcpStream::connect(&server.address).unwrap();
        wire.write_all(stalled.as_bytes()).unwrap();
        wire
    };
    let wires: Vec<TcpStream> = (0..17).map(|_| connect()).collect();
    let (sender, said) = channel();
    let busy = thread::scope(|scope| {
        for wire in &wires {
            let sender = sender.clone();
            scope.spawn(move || {
                let (mut wire, mut text) = (wire, [0; 4_096]);
                // All but one hear nothing until they hang up.
                if let Ok(length @ 1..) = wire.read(&mut text) {
                    let _ = sender.send(String::from_utf8_lossy(&text[..length]).into_owned());
                }
            });
        }
        let busy = said.recv_timeout(crate::http::server::TIMEOUT);
        for wire in &wires {
            let _ = wire.shutdown(std::net::Shutdown::Both);
        }
        busy.unwrap()
    });
    assert!(busy.starts_with("HTTP/1.1 503 ") && busy.contains("Retry-After: 1\r\n"), "{busy}");
    assert_eq!(plain(busy.lines().last().unwrap()), shown[1]);
    server.stop();
}

#[test]
fn the_table_of_the_guide_is_that_of_the_document() {
    let place = Place::with_products(&[]);
    let server = Server::start(&place);
    let document = server.client().ask(&Ask::get("/openapi.json")).json();
    let guide = guide();
    let rows = section(&guide, "Calls").lines().filter(|line| line.starts_with("| `"));
    let mut rows: Vec<String> =
        rows.map(|row| row.split(" | ").take(3).collect::<Vec<_>>().join(" | ")).collect();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let parameters = operation["parameters"].to_string();
            let key = if parameters.contains("/parameters/OptionalKey\"") {
                "allowed"
            } else if parameters.contains("/parameters/Key\"") {
                "needed"
            } else {
                "-"
            };
            let who: &[&str] = if operation["security"] == json!([]) {
                &["public"]
            } else {
                &["owner", "authenticated", "admin"]
            };
            let call = format!("| `{} {path}`", method.to_uppercase());
            let found = rows
                .iter()
                .position(|row| who.iter().any(|who| *row == format!("{call} | {who} | {key}")));
            rows.remove(found.unwrap_or_else(|| panic!("{call} {who:?} {key}: {rows:?}")));
        }
    }
    assert_eq!(rows, [""; 0], "rows for calls that are not there");
    server.stop();
}

/// Each at its limit, and one beyond.
#[test]
fn the_limits_of_the_guide_hold() {
    let place = Place::with_products(&[(10, 5)]);
    place.add_customers(1, 100);
    let server = Server::start(&place);
    let token = place.admin_token();
    let client = &mut server.client();
    let mut ask = |ask: Ask| -> Answer { client.ask(&ask.by(&token)) };
    let order = |body: &Value| Ask::post("/v1/customers/1/orders", body);
    let status = |answer: Answer| answer.outcome();

    let padded = |length: usize| json!(" ".repeat(length - 2));
    assert_eq!(status(ask(order(&padded(65_536)).key("a"))).0, 422);
    assert_eq!(status(ask(order(&padded(65_537)).key("a"))).0, 413);
    let path = |length: usize| Ask::get(format!("/{}", "a".repeat(length - 1)));
    assert_eq!(status(ask(path(2_048))).0, 404);
    assert_eq!(status(ask(path(2_049))).0, 431);
    // Host, Authorization and so many others.
    let headers = |count: usize| (0..count).fold(Ask::get("/healthz"), |ask, _| ask.with("X", "a"));
    assert_eq!(status(ask(headers(62))).0, 200);
    assert_eq!(status(ask(headers(63))).0, 431);
    let one = json!({"items": [{"product_id": 1, "quantity": 1}]});
    assert_eq!(status(ask(order(&one).key("k".repeat(255)))).0, 201);
    assert_eq!(status(ask(order(&one).key("k".repeat(256)))).1, "idempotency_key_missing");
    let lines = |count: i64| {
        let lines = (1..=count).map(|product| json!({"product_id": product, "quantity": 1}));
        json!({"items": lines.collect::<Vec<_>>()})
    };
    assert_eq!(status(ask(order(&lines(1_000)).key("b"))).1, "product_not_found");
    assert_eq!(status(ask(order(&lines(1_001)).key("c"))).1, "invalid_request");
    for (target, last) in
        [("products?limit", 100), ("bestsellers?limit", 100), ("bestsellers?days", 366)]
    {
        assert_eq!(status(ask(Ask::get(format!("/v1/{target}={last}")))).0, 200);
        assert_eq!(status(ask(Ask::get(format!("/v1/{target}={}", last + 1)))).0, 422);
    }
    let charge = |amount: i64, key: &str| {
        Ask::post("/v1/customers/1/charges", &json!({"amount": amount})).key(key)
    };
    assert_eq!(status(ask(charge(1_000_000_000_000, "d"))).0, 201);
    assert_eq!(status(ask(charge(1_000_000_000_001, "e"))).0, 422);
    let who = |login: &str, password: usize| {
        let password = &"q7-horse".repeat(17)[..password];
        Ask::post("/v1/customers", &json!({"login": login, "password": password, "name": "Kim"}))
    };
    for (length, fits) in [(7, 422), (8, 201), (128, 201), (129, 422)] {
        assert_eq!(status(ask(who(&format!("kim-{length}"), length))).0, fits);
    }
    assert_eq!(status(ask(who(&"김".repeat(200), 8))).0, 201);
    assert_eq!(status(ask(who(&"김".repeat(201), 8))).0, 422);
    server.stop();
    place.audit();
}

/// What the quirks say of single calls: each, and what is answered.
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
fn the_quirks_of_the_guide_are_as_told() {
    let place = Place::with_products(&[(10, 5)]);
    place.add_customers(2, 100);
    place.json("order 1 1");
    place.fed("customer login 2 kim --password-file -", "correct horse");
    let token = place.json("admin token kim");
    let token = token["token"].as_str().unwrap();
    let server = Server::start(&place);
    let client = &mut server.client();
    for (method, target, body, status, code) in QUIRKS {
        let ask = Ask::new(method, *target).by(token);
        let ask = if body.is_empty() { ask } else { ask.text_body(body) };
        let answer = client.ask(&ask);
        assert_eq!(answer.outcome(), (*status, (*code).to_owned()), "{method} {target} {body}");
    }
    // What no rule has looked at leaves the key unused; what one has refused does not.
    let order = |quantity: i64| {
        let body = json!({"items": [{"product_id": 1, "quantity": quantity}]});
        Ask::post("/v1/customers/me/orders", &body).key("key").by(token)
    };
    assert_eq!(client.ask(&order(0)).status, 422);
    assert_eq!(client.ask(&order(5)).outcome().1, "insufficient_stock");
    place.json("product stock 1 10");
    let again = client.ask(&order(5));
    assert_eq!((again.outcome().1.as_str(), again.replayed()), ("insufficient_stock", true));
    assert_eq!(client.ask(&order(1)).outcome().1, "idempotency_key_reused");
    let items = json!({"items": [{"quantity": 5, "product_id": 1}], "payment": "now"});
    let quoted = Ask::post("/v1/customers/2/orders", &items).key("\"key\"").by(token);
    assert!(client.ask(&quoted).replayed(), "in quotes, and written in another way");
    assert_eq!(client.ask(&Ask::get("/v1/products/1").by("nonsense")).status, 200);
    server.stop();
    place.audit();
}
