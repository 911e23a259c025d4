//! How a server ends when it is asked to.

use crate::http::client::{Ask, Client, is_open};
use crate::http::place::Place;
use crate::http::server::{Server, wait_until};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

#[test]
fn sigterm_under_load_finishes_what_runs_and_takes_nothing_new() {
    let place = Place::with_products(&[(10, 1_000_000)]);
    place.add_customers(8, 1_000_000);
    let token = place.admin_token();
    let server = Server::with(&place, &["--grace", "10"]);
    let address = server.address.clone();
    let answered = AtomicUsize::new(0);
    let shop = &|customer: usize| {
        let mut wire = Client::new(&address);
        let mut orders = BTreeMap::new();
        for turn in 0.. {
            let body = json!({"items": [{"product_id": 1, "quantity": 1}]});
            let order = Ask::post(format!("/v1/customers/{customer}/orders"), &body);
            // When there is no answer, the server is leaving: that was all.
            let Ok(answer) = wire.try_ask(&order.key(format!("order-{turn}")).by(&token)) else {
                break;
            };
            assert_eq!(answer.status, 201, "{}", answer.body);
            orders.insert(answer.json()["id"].as_i64().unwrap(), answer.json());
            answered.fetch_add(1, Ordering::Relaxed);
        }
        orders
    };
    let (asked, told): (Instant, Vec<BTreeMap<i64, Value>>) = thread::scope(|scope| {
        let clients: Vec<_> = (1..=8).map(|customer| scope.spawn(move || shop(customer))).collect();
        wait_until("busy", || answered.load(Ordering::Relaxed) >= 100);
        let asked = Instant::now();
        server.signal("-TERM");
        (asked, clients.into_iter().map(|client| client.join().unwrap()).collect())
    });
    let (status, said) = server.ended();
    assert_eq!(status.code(), Some(0), "{said:?}");
    assert!(asked.elapsed() < Duration::from_secs(10), "it took {:?}", asked.elapsed());
    assert!(!is_open(&address), "it still takes connections");
    // What was told is there, and what is there was told: nothing was cut off on its way.
    for (customer, told) in (1..).zip(told) {
        let orders = place.whole_list(&format!("orders list {customer}"));
        let there = orders.into_iter().map(|order| (order["id"].as_i64().unwrap(), order));
        assert_eq!(there.collect::<BTreeMap<_, _>>(), told, "customer {customer}");
    }
    place.audit();
}

#[test]
fn a_client_that_stalls_does_not_hold_the_end_up() {
    let place = Place::with_products(&[]);
    let server = Server::with(&place, &["--grace", "1"]);
    let mut stalled = TcpStream::connect(&server.address).unwrap();
    let head = "POST /v1/sessions HTTP/1.1\r\nHost: a\r\nContent-Length: 2000\r\n\r\n";
    stalled.write_all(head.as_bytes()).unwrap();
    let idle = &mut server.client();
    assert_eq!(idle.ask(&Ask::get("/healthz")).status, 200);
    let asked = Instant::now();
    server.stop();
    assert!(asked.elapsed() < Duration::from_secs(10), "it took {:?}", asked.elapsed());
}

#[test]
fn a_platform_that_hangs_does_not_hold_the_end_up() {
    let place = Place::with_products(&[(10, 5)]);
    place.add_customers(1, 100);
    let platform = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = format!("http://{}/", platform.local_addr().unwrap());
    let events = ["--events-to", &to, "--events-allow-private", "--grace", "1"];
    let server = Server::with(&place, &events);
    place.json("order 1 1");
    let held = platform.accept().unwrap();
    let asked = Instant::now();
    server.stop();
    assert!(asked.elapsed() < Duration::from_secs(10), "it took {:?}", asked.elapsed());
    drop(held);
}

#[test]
fn a_unix_socket_is_served_and_removed() {
    let place = Place::with_products(&[(10, 5)]);
    place.add_customers(1, 100);
    let token = place.admin_token();
    let socket = place.path().join("shop.sock");
    let listen = format!("unix:{}", socket.display());
    let server = Server::run(&mut place.command(&["serve", "--listen", &listen]));
    assert_eq!(server.address, listen);
    let body = json!({"items": [{"product_id": 1, "quantity": 2}]});
    let order = Ask::post("/v1/customers/1/orders", &body).key("order").by(&token);
    let client = &mut server.client();
    assert_eq!(client.ask(&order).status, 201);
    assert!(client.ask(&order).replayed());
    server.stop();
    assert!(!socket.exists());
    // One that a crash left behind is in nobody's way; one that is in use is.
    Server::run(&mut place.command(&["serve", "--listen", &listen])).kill();
    assert!(socket.exists());
    let server = Server::run(&mut place.command(&["serve", "--listen", &listen]));
    let second = place.run(&format!("serve --listen {listen}"));
    assert_eq!(second.status, 1, "{}", second.err);
    assert!(second.err.contains(&listen), "{}", second.err);
    assert_eq!(server.client().ask(&Ask::get("/v1/products/1")).json()["stock"], 3);
    server.stop();
    assert!(!socket.exists());
    place.audit();
}

/// A server is replaced by another at the same path while it still finishes what runs, or after its socket
/// was taken away by hand: what it removes at its end is its own.
#[test]
fn a_server_that_ends_leaves_its_successors_unix_socket_alone() {
    let place = Place::with_products(&[(10, 5)]);
    let socket = place.path().join("shop.sock");
    let listen = format!("unix:{}", socket.display());
    let start =
        || Server::run(&mut place.command(&["serve", "--grace", "60", "--listen", &listen]));
    let answers = |server: &Server| server.client().ask(&Ask::get("/v1/products/1")).status == 200;

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
    assert!(answers(&second));

    std::fs::remove_file(&socket).unwrap();
    let third = start();
    second.stop();
    assert!(answers(&third));
    third.stop();
    assert!(!socket.exists());
}
