//! Graceful shutdown of a server.

use crate::http::client::{Client, Request, is_open};
use crate::http::server::{Server, wait_until};
use crate::http::workspace::Workspace;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

#[test]
fn sigterm_under_load_drains_running_requests() {
    let workspace = Workspace::with_products(&[(10, 1_000_000)]);
    workspace.add_customers(8, 1_000_000);
    let token = workspace.admin_token();
    let server = Server::with(&workspace, &["--grace", "10"]);
    let address = server.address.clone();
    let answered = AtomicUsize::new(0);
    let shop = &|customer: usize| {
        let mut wire = Client::new(&address);
        let mut orders = BTreeMap::new();
        for turn in 0.. {
            let body = json!({"items": [{"product_id": 1, "quantity": 1}]});
            let order = Request::post(format!("/v1/customers/{customer}/orders"), &body);
            // Without a response the server is shutting down.
            let Ok(response) = wire.try_send(&order.key(format!("order-{turn}")).by(&token)) else {
                break;
            };
            assert_eq!(response.status, 201, "{}", response.body);
            orders.insert(response.json()["id"].as_i64().unwrap(), response.json());
            answered.fetch_add(1, Ordering::Relaxed);
        }
        orders
    };
    let (asked, acknowledged): (Instant, Vec<BTreeMap<i64, Value>>) = thread::scope(|scope| {
        let clients: Vec<_> = (1..=8).map(|customer| scope.spawn(move || shop(customer))).collect();
        wait_until("busy", || answered.load(Ordering::Relaxed) >= 100);
        let asked = Instant::now();
        server.signal("-TERM");
        (asked, clients.into_iter().map(|client| client.join().unwrap()).collect())
    });
    let (status, lines) = server.ended();
    assert_eq!(status.code(), Some(0), "{lines:?}");
    assert!(asked.elapsed() < Duration::from_secs(10), "it took {:?}", asked.elapsed());
    assert!(!is_open(&address), "it still takes connections");
    // Every acknowledged order exists, and every order was acknowledged: no response was cut off.
    for (customer, acknowledged) in (1..).zip(acknowledged) {
        let orders = workspace.whole_list(&format!("orders list {customer}"));
        let there = orders.into_iter().map(|order| (order["id"].as_i64().unwrap(), order));
        assert_eq!(there.collect::<BTreeMap<_, _>>(), acknowledged, "customer {customer}");
    }
    workspace.audit();
}

#[test]
fn stalled_client_does_not_delay_the_shutdown() {
    let workspace = Workspace::with_products(&[]);
    let server = Server::with(&workspace, &["--grace", "1"]);
    let mut stalled = TcpStream::connect(&server.address).unwrap();
    let head = "POST /v1/sessions HTTP/1.1\r\nHost: a\r\nContent-Length: 2000\r\n\r\n";
    stalled.write_all(head.as_bytes()).unwrap();
    let idle = &mut server.client();
    assert_eq!(idle.send(&Request::get("/healthz")).status, 200);
    let asked = Instant::now();
    server.stop();
    assert!(asked.elapsed() < Duration::from_secs(10), "it took {:?}", asked.elapsed());
}

#[test]
fn hanging_destination_does_not_delay_the_shutdown() {
    let workspace = Workspace::with_products(&[(10, 5)]);
    workspace.add_customers(1, 100);
    let platform = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = format!("http://{}/", platform.local_addr().unwrap());
    let events = ["--events-to", &to, "--events-allow-private", "--grace", "1"];
    let server = Server::with(&workspace, &events);
    workspace.json("order 1 1");
    let held = platform.accept().unwrap();
    let asked = Instant::now();
    server.stop();
    assert!(asked.elapsed() < Duration::from_secs(10), "it took {:?}", asked.elapsed());
    drop(held);
}

#[test]
fn unix_socket_is_served_and_removed() {
    let workspace = Workspace::with_products(&[(10, 5)]);
    workspace.add_customers(1, 100);
    let token = workspace.admin_token();
    let socket = workspace.path().join("shop.sock");
    let listen = format!("unix:{}", socket.display());
    let server = Server::run(&mut workspace.command(&["serve", "--listen", &listen]));
    assert_eq!(server.address, listen);
    let body = json!({"items": [{"product_id": 1, "quantity": 2}]});
    let order = Request::post("/v1/customers/1/orders", &body).key("order").by(&token);
    let client = &mut server.client();
    assert_eq!(client.send(&order).status, 201);
    assert!(client.send(&order).replayed());
    server.stop();
    assert!(!socket.exists());
    // A socket left by a crash is replaced; a socket in use is not.
    Server::run(&mut workspace.command(&["serve", "--listen", &listen])).kill();
    assert!(socket.exists());
    let server = Server::run(&mut workspace.command(&["serve", "--listen", &listen]));
    let second = workspace.run(&format!("serve --listen {listen}"));
    assert_eq!(second.status, 1, "{}", second.err);
    assert!(second.err.contains(&listen), "{}", second.err);
    assert_eq!(server.client().send(&Request::get("/v1/products/1")).json()["stock"], 3);
    server.stop();
    assert!(!socket.exists());
    workspace.audit();
}

/// A server is replaced by another at the same path while it still drains, or after its socket was
/// removed by hand: at its end it removes only its own socket.
#[test]
fn stopped_server_keeps_its_successors_unix_socket() {
    let workspace = Workspace::with_products(&[(10, 5)]);
    let socket = workspace.path().join("shop.sock");
    let listen = format!("unix:{}", socket.display());
    let start =
        || Server::run(&mut workspace.command(&["serve", "--grace", "60", "--listen", &listen]));
    let responses =
        |server: &Server| server.client().send(&Request::get("/v1/products/1")).status == 200;

    let first = start();
    let mut slow = UnixStream::connect(&socket).unwrap();
    let head = "POST /v1/sessions HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\
                Content-Length: 2\r\n\r\n";
    slow.write_all(head.as_bytes()).unwrap();
    slow.read_exact(&mut [0; 12]).unwrap(); // its body is wanted: it is under way
    first.signal("-TERM");
    wait_until("closed", || !socket.exists());
    let second = start();
    slow.write_all(b"{}").unwrap();
    assert_eq!(first.ended().0.code(), Some(0));
    assert!(responses(&second));

    std::fs::remove_file(&socket).unwrap();
    let third = start();
    second.stop();
    assert!(responses(&third));
    third.stop();
    assert!(!socket.exists());
}
