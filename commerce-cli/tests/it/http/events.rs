//! The relay inside the server: what was paid is told, whoever it was that took the order.

use crate::http::client::Ask;
use crate::http::place::Place;
use crate::http::server::{Server, wait_until};
use serde_json::{Value, json};
use std::fs;

/// What has been told so far.
fn told(place: &Place) -> Vec<Value> {
    let lines = fs::read_to_string(place.path().join("events.ndjson")).unwrap_or_default();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn events_are_told_while_it_serves() {
    let place = Place::with_products(&[(10, 100)]);
    place.add_customers(1, 1_000);
    let token = place.admin_token();
    fs::write(place.path().join("serve.toml"), "events-to = \"file:events.ndjson\"\n").unwrap();
    let server = Server::with(&place, &["--config", "serve.toml"]);

    let body = json!({"items": [{"product_id": 1, "quantity": 1}]});
    let order = Ask::post("/v1/customers/1/orders", &body).key("order").by(&token);
    assert_eq!(server.client().ask(&order).status, 201);
    wait_until("the first is told", || told(&place).len() == 1);
    place.json("order 1 1:2");
    wait_until("that of another process is told", || told(&place).len() == 2);
    // What was told is written down a moment later.
    for line in ["commerce_outbox_events 0", "commerce_deliveries_total{outcome=\"delivered\"} 2"] {
        wait_until(line, || server.client().ask(&Ask::get("/metrics")).body.contains(line));
    }
    server.stop();

    place.json("orders cancel 1");
    assert_eq!(told(&place).len(), 2, "nobody tells any more");
    assert_eq!(place.json("events list")["items"][2]["delivery"]["status"], "waiting");
    place.audit();
}

#[test]
fn a_destination_that_makes_no_sense_is_told_before_anything_is_served() {
    let place = Place::with_products(&[]);
    for to in ["nowhere", "http://127.0.0.1/"] {
        let said = place.run(&format!("serve --listen 127.0.0.1:0 --events-to {to}"));
        assert_eq!(said.status, 2, "{}", said.err);
        assert_eq!(said.err.trim().lines().count(), 1, "{}", said.err);
    }
}
