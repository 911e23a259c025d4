//! The files of a store: after a process ends, and when they are deleted or replaced while a server
//! runs.

use crate::http::client::Request;
use crate::http::server::Server;
use crate::http::workspace::Workspace;
use rstest::rstest;
use serde_json::json;
use std::fs;
use std::net::TcpListener;
use std::process::Stdio;

/// Creates a store with a product and a customer with money; returns it with an admin's token.
fn shop() -> (Workspace, String) {
    let workspace = Workspace::with_products(&[(10, 1_000)]);
    workspace.add_customers(1, 10_000);
    let token = workspace.admin_token();
    (workspace, token)
}

fn order(server: &Server, key: &str, token: &str) -> (u16, serde_json::Value) {
    let body = json!({"items": [{"product_id": 1, "quantity": 1}]});
    let order = Request::post("/v1/customers/1/orders", &body).key(key).by(token);
    let response = server.client().send(&order);
    (response.status, response.json())
}

/// Asserts that the file alone is the complete store, with that many orders.
fn assert_one_file(workspace: &Workspace, orders: usize) {
    let log = fs::metadata(workspace.path().join("commerce.db-wal"));
    assert!(!log.is_ok_and(|log| log.len() > 0), "the log is left behind");
    let alone = Workspace::empty();
    fs::copy(workspace.path().join("commerce.db"), alone.path().join("commerce.db")).unwrap();
    assert_eq!(alone.whole_list("orders list 1").len(), orders);
    alone.audit();
}

#[rstest]
fn stopped_server_leaves_one_file(#[values("-TERM", "-INT", "-HUP")] signal: &str) {
    let (workspace, token) = shop();
    let server = Server::start(&workspace);
    assert_eq!(order(&server, "a", &token).0, 201);
    let open = std::net::TcpStream::connect(&server.address).unwrap();
    server.signal(signal);
    assert_eq!(server.ended().0.code(), Some(0));
    drop(open);
    assert_one_file(&workspace, 1);
}

/// The shutdown does not wait for a thread that waits for a destination, although it has the store
/// open.
#[test]
fn stopped_server_with_a_hanging_destination_leaves_one_file() {
    let (workspace, token) = shop();
    let platform = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = format!("http://{}/", platform.local_addr().unwrap());
    let events = ["--events-to", &to, "--events-allow-private", "--grace", "1"];
    let server = Server::with(&workspace, &events);
    assert_eq!(order(&server, "a", &token).0, 201);
    let held = platform.accept().unwrap();
    server.stop();
    assert_one_file(&workspace, 1);
    drop(held);
}

#[test]
fn every_command_leaves_one_file() {
    let (workspace, _) = shop();
    workspace.json("order 1 1");
    let commands =
        ["order 1 1", "audit", "backup copy.db", "events relay --to - --once", "orders show 77"];
    for command in commands {
        workspace.run(command);
        assert!(!workspace.path().join("commerce.db-wal").exists(), "{command}");
        assert_one_file(&workspace, 2);
    }
    workspace.json("events replay --from 1");
    let mut relay = workspace
        .command(&["events", "relay", "--to", "file:events.ndjson"])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let events = workspace.path().join("events.ndjson");
    crate::http::server::wait_until("sent", || {
        fs::metadata(&events).is_ok_and(|file| file.len() > 0)
    });
    let process = relay.id().to_string();
    assert!(
        std::process::Command::new("kill").args(["-INT", &process]).status().unwrap().success()
    );
    relay.wait().unwrap();
    assert_one_file(&workspace, 2);
}

#[test]
fn server_without_its_store_refuses_orders_and_is_not_ready() {
    let (workspace, token) = shop();
    let server = Server::start(&workspace);
    assert_eq!(order(&server, "a", &token).0, 201);
    let [file, aside] = ["commerce.db", "aside.db"].map(|name| workspace.path().join(name));
    fs::rename(&file, &aside).unwrap();
    let ready = Request::get("/readyz");
    for _ in 0..2 {
        let (status, problem) = order(&server, "b", &token);
        assert_eq!((status, &problem["code"]), (503, &json!("storage")), "{problem}");
        let response = server.client().send(&ready);
        assert_eq!(response.status, 503);
        let detail = response.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains("removed or replaced"), "{detail}");
        assert!(!detail.contains("commerce.db"), "{detail}");
    }
    // A new store in its place would lose the commits in the server's log.
    let refused = workspace.run("init");
    assert_eq!(refused.status, 1);
    assert!(refused.err.contains("commerce.db-wal"), "{}", refused.err);
    assert!(!file.exists());
    fs::rename(&aside, &file).unwrap();
    assert_eq!(server.client().send(&ready).status, 200);
    assert_eq!(order(&server, "b", &token).0, 201);
    server.stop();
    assert_one_file(&workspace, 2);
}

#[test]
fn running_server_does_not_write_to_a_restored_backup() {
    let (workspace, token) = shop();
    let server = Server::start(&workspace);
    assert_eq!(order(&server, "a", &token).0, 201);
    workspace.json("backup backup.db");
    assert_eq!(order(&server, "b", &token).0, 201);
    fs::rename(workspace.path().join("backup.db"), workspace.path().join("commerce.db")).unwrap();
    let before = fs::read(workspace.path().join("commerce.db")).unwrap();
    assert_eq!(order(&server, "c", &token).0, 503);
    let refused = workspace.run("balance 1");
    assert_eq!(refused.status, 1);
    assert!(refused.err.contains("commerce.db-wal"), "{}", refused.err);
    server.signal("-TERM");
    server.ended();
    assert_eq!(fs::read(workspace.path().join("commerce.db")).unwrap(), before);
    for name in ["commerce.db-wal", "commerce.db-shm"] {
        let _ = fs::remove_file(workspace.path().join(name));
    }
    workspace.json("order 1 1");
    assert_one_file(&workspace, 2);
}

/// Two processes without a common log index would overwrite each other's orders.
#[test]
fn order_ids_stay_unique_when_the_log_index_is_deleted() {
    let (workspace, token) = shop();
    let server = Server::start(&workspace);
    let first = order(&server, "a", &token).1["id"].as_i64();
    fs::remove_file(workspace.path().join("commerce.db-shm")).unwrap();
    let second = workspace.json("order 1 1")["id"].as_i64();
    assert_eq!((first, second), (Some(1), Some(2)));
    assert_eq!(order(&server, "b", &token).0, 503);
    assert_eq!(server.client().send(&Request::get("/readyz")).status, 503);
    server.kill();
    assert_eq!(workspace.whole_list("orders list 1").len(), 2);
    workspace.audit();
}

#[test]
fn every_command_reports_a_damaged_log() {
    let (workspace, token) = shop();
    let server = Server::start(&workspace);
    for key in ["a", "b", "c", "d"] {
        assert_eq!(order(&server, key, &token).0, 201);
    }
    server.kill();
    let log = workspace.path().join("commerce.db-wal");
    let mut bytes = fs::read(&log).unwrap();
    bytes[1_000] ^= 1;
    fs::write(&log, bytes).unwrap();
    for command in ["audit", "balance 1", "serve --listen 127.0.0.1:0", "backup copy.db"] {
        let output = workspace.run(command);
        assert_eq!(output.status, 1, "{command}: {}", output.err);
        let is_named =
            output.err.contains("commerce.db-wal is damaged") && output.err.contains("truncate");
        assert!(is_named, "{command}: {}", output.err);
    }
}
