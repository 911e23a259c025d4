//! The files of a store: what a process leaves behind when it ends, and what it does when they are deleted or
//! replaced while it runs.

use crate::http::client::Ask;
use crate::http::place::Place;
use crate::http::server::Server;
use rstest::rstest;
use serde_json::json;
use std::fs;
use std::net::TcpListener;
use std::process::Stdio;

/// A store with a customer who can pay and a product, and an admin's token.
fn shop() -> (Place, String) {
    let place = Place::with_products(&[(10, 1_000)]);
    place.add_customers(1, 10_000);
    let token = place.admin_token();
    (place, token)
}

fn order(server: &Server, key: &str, token: &str) -> (u16, serde_json::Value) {
    let body = json!({"items": [{"product_id": 1, "quantity": 1}]});
    let order = Ask::post("/v1/customers/1/orders", &body).key(key).by(token);
    let answer = server.client().ask(&order);
    (answer.status, answer.json())
}

/// Asserts that the file alone is the store, with that many orders.
fn assert_one_file(place: &Place, orders: usize) {
    let log = fs::metadata(place.path().join("commerce.db-wal"));
    assert!(!log.is_ok_and(|log| log.len() > 0), "the log is left behind");
    let alone = Place::empty();
    fs::copy(place.path().join("commerce.db"), alone.path().join("commerce.db")).unwrap();
    assert_eq!(alone.whole_list("orders list 1").len(), orders);
    alone.audit();
}

#[rstest]
fn a_server_that_ends_leaves_one_file(#[values("-TERM", "-INT", "-HUP")] signal: &str) {
    let (place, token) = shop();
    let server = Server::start(&place);
    assert_eq!(order(&server, "a", &token).0, 201);
    let open = std::net::TcpStream::connect(&server.address).unwrap();
    server.signal(signal);
    assert_eq!(server.ended().0.code(), Some(0));
    drop(open);
    assert_one_file(&place, 1);
}

/// A thread that waits for the other side is not waited for, and has the store open.
#[test]
fn a_server_whose_destination_hangs_leaves_one_file() {
    let (place, token) = shop();
    let platform = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = format!("http://{}/", platform.local_addr().unwrap());
    let events = ["--events-to", &to, "--events-allow-private", "--grace", "1"];
    let server = Server::with(&place, &events);
    assert_eq!(order(&server, "a", &token).0, 201);
    let held = platform.accept().unwrap();
    server.stop();
    assert_one_file(&place, 1);
    drop(held);
}

#[test]
fn every_command_leaves_one_file() {
    let (place, _) = shop();
    place.json("order 1 1");
    let commands =
        ["order 1 1", "audit", "backup copy.db", "events relay --to - --once", "orders show 77"];
    for command in commands {
        place.run(command);
        assert!(!place.path().join("commerce.db-wal").exists(), "{command}");
        assert_one_file(&place, 2);
    }
    place.json("events replay --from 1");
    let mut relay = place
        .command(&["events", "relay", "--to", "file:events.ndjson"])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let events = place.path().join("events.ndjson");
    crate::http::server::wait_until("sent", || {
        fs::metadata(&events).is_ok_and(|file| file.len() > 0)
    });
    let process = relay.id().to_string();
    assert!(
        std::process::Command::new("kill").args(["-INT", &process]).status().unwrap().success()
    );
    relay.wait().unwrap();
    assert_one_file(&place, 2);
}

#[test]
fn a_server_whose_store_is_deleted_takes_no_orders_and_is_not_ready() {
    let (place, token) = shop();
    let server = Server::start(&place);
    assert_eq!(order(&server, "a", &token).0, 201);
    let [file, aside] = ["commerce.db", "aside.db"].map(|name| place.path().join(name));
    fs::rename(&file, &aside).unwrap();
    let ready = Ask::get("/readyz");
    for _ in 0..2 {
        let (status, problem) = order(&server, "b", &token);
        assert_eq!((status, &problem["code"]), (503, &json!("storage")), "{problem}");
        let answer = server.client().ask(&ready);
        assert_eq!(answer.status, 503);
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains("removed or replaced"), "{detail}");
        assert!(!detail.contains("commerce.db"), "{detail}");
    }
    // A new store in its place would cost what the server still has in its log.
    let refused = place.run("init");
    assert_eq!(refused.status, 1);
    assert!(refused.err.contains("commerce.db-wal"), "{}", refused.err);
    assert!(!file.exists());
    fs::rename(&aside, &file).unwrap();
    assert_eq!(server.client().ask(&ready).status, 200);
    assert_eq!(order(&server, "b", &token).0, 201);
    server.stop();
    assert_one_file(&place, 2);
}

#[test]
fn a_backup_put_in_place_under_a_server_is_left_alone_by_it() {
    let (place, token) = shop();
    let server = Server::start(&place);
    assert_eq!(order(&server, "a", &token).0, 201);
    place.json("backup backup.db");
    assert_eq!(order(&server, "b", &token).0, 201);
    fs::rename(place.path().join("backup.db"), place.path().join("commerce.db")).unwrap();
    let before = fs::read(place.path().join("commerce.db")).unwrap();
    assert_eq!(order(&server, "c", &token).0, 503);
    let refused = place.run("balance 1");
    assert_eq!(refused.status, 1);
    assert!(refused.err.contains("commerce.db-wal"), "{}", refused.err);
    server.signal("-TERM");
    server.ended();
    assert_eq!(fs::read(place.path().join("commerce.db")).unwrap(), before);
    for name in ["commerce.db-wal", "commerce.db-shm"] {
        let _ = fs::remove_file(place.path().join(name));
    }
    place.json("order 1 1");
    assert_one_file(&place, 2);
}

/// Two processes without a common index of the log overwrite each other's orders.
#[test]
fn no_order_id_is_given_out_twice_when_the_index_is_deleted() {
    let (place, token) = shop();
    let server = Server::start(&place);
    let first = order(&server, "a", &token).1["id"].as_i64();
    fs::remove_file(place.path().join("commerce.db-shm")).unwrap();
    let second = place.json("order 1 1")["id"].as_i64();
    assert_eq!((first, second), (Some(1), Some(2)));
    assert_eq!(order(&server, "b", &token).0, 503);
    assert_eq!(server.client().ask(&Ask::get("/readyz")).status, 503);
    server.kill();
    assert_eq!(place.whole_list("orders list 1").len(), 2);
    place.audit();
}

#[test]
fn a_damaged_log_is_named_by_every_command() {
    let (place, token) = shop();
    let server = Server::start(&place);
    for key in ["a", "b", "c", "d"] {
        assert_eq!(order(&server, key, &token).0, 201);
    }
    server.kill();
    let log = place.path().join("commerce.db-wal");
    let mut bytes = fs::read(&log).unwrap();
    bytes[1_000] ^= 1;
    fs::write(&log, bytes).unwrap();
    for command in ["audit", "balance 1", "serve --listen 127.0.0.1:0", "backup copy.db"] {
        let said = place.run(command);
        assert_eq!(said.status, 1, "{command}: {}", said.err);
        let is_named =
            said.err.contains("commerce.db-wal is damaged") && said.err.contains("truncate");
        assert!(is_named, "{command}: {}", said.err);
    }
}
