//! The relay inside the server delivers the events of all processes.

use crate::http::client::Request;
use crate::http::server::{Server, wait_until};
use crate::http::workspace::Workspace;
use serde_json::{Value, json};
use std::fs;

/// Returns the events delivered so far.
fn delivered(workspace: &Workspace) -> Vec<Value> {
    let lines = fs::read_to_string(workspace.path().join("events.ndjson")).unwrap_or_default();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn server_delivers_events_of_all_processes() {
    let workspace = Workspace::with_products(&[(10, 100)]);
    workspace.add_customers(1, 1_000);
    let token = workspace.admin_token();
    fs::write(workspace.path().join("serve.toml"), "events-to = \"file:events.ndjson\"\n").unwrap();
    let server = Server::with(&workspace, &["--config", "serve.toml"]);

    let body = json!({"items": [{"product_id": 1, "quantity": 1}]});
    let order = Request::post("/v1/customers/1/orders", &body).key("order").by(&token);
    assert_eq!(server.client().send(&order).status, 201);
    wait_until("the first event", || delivered(&workspace).len() == 1);
    workspace.json("order 1 1:2");
    wait_until("the event of another process", || delivered(&workspace).len() == 2);
    // The outcome is recorded a moment after the delivery.
    for line in ["commerce_outbox_events 0", "commerce_deliveries_total{outcome=\"delivered\"} 2"] {
        wait_until(line, || server.client().send(&Request::get("/metrics")).body.contains(line));
    }
    server.stop();

    workspace.json("orders cancel 1");
    assert_eq!(delivered(&workspace).len(), 2, "no relay runs");
    assert_eq!(workspace.json("events list")["items"][2]["delivery"]["status"], "waiting");
    workspace.audit();
}

#[test]
fn invalid_destination_is_refused_before_serving() {
    let workspace = Workspace::with_products(&[]);
    for to in ["nowhere", "http://127.0.0.1/"] {
        let output = workspace.run(&format!("serve --listen 127.0.0.1:0 --events-to {to}"));
        assert_eq!(output.status, 2, "{}", output.err);
        assert_eq!(output.err.trim().lines().count(), 1, "{}", output.err);
    }
}
