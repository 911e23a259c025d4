//! Every event reaches its destination, with a receiver that refuses, hangs, hangs up, answers
//! twice and is down for a while, and with a server and separate relays that are killed under load.

use crate::http::client::{Client, Request};
use crate::http::server::{Server, wait_until};
use crate::http::workspace::Workspace;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::thread;
use std::time::{Duration, Instant};

const ORDERS: usize = 10_000;
const CLIENTS: i64 = 8;
const PRICE: i64 = 10;
const KILLS: usize = 8;
/// The bound for the last events, on a slow and busy machine: each refusal pauses a relay for a
/// moment, and events leased by a killed relay are sent again a minute later.
const LAST: Duration = Duration::from_secs(600);

/// The received requests, in order.
#[derive(Default)]
struct Received {
    /// The id of the event, its content, and true if it was accepted.
    events: Vec<(i64, Value, bool)>,
    requests: usize,
    /// Events that have failed once; they are accepted the next time, so that the test does not
    /// wait for a third attempt.
    failed: HashSet<i64>,
    /// The end of the outage, in which the receiver hangs up on every request.
    down: Option<Instant>,
    /// Connections without an answer.
    held: Vec<TcpStream>,
}

/// A destination with varying behaviour.
struct Receiver {
    url: String,
    received: Arc<Mutex<Received>>,
}

/// The behaviour for one request.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mood {
    Takes,
    TakesAndAnswersTwice,
    TakesAndHangsUp,
    Refuses(&'static str),
    Hangs,
    HangsUp,
}

impl Receiver {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/events", listener.local_addr().unwrap());
        let received: Arc<Mutex<Received>> = Arc::default();
        let shared = Arc::clone(&received);
        // The thread ends with the test's process.
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let received = Arc::clone(&shared);
                thread::spawn(move || while take(&stream, &received).is_some() {});
            }
        });
        Self { url, received }
    }
}

/// Reads and answers one request; returns `None` at the end of the connection.
fn take(stream: &TcpStream, received: &Mutex<Received>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let event: Value = serde_json::from_slice(&body).unwrap();
    let id = event["sequence"].as_str().unwrap().parse().unwrap();
    let mood = {
        let mut received = received.lock().unwrap();
        received.requests += 1;
        if received.requests == ORDERS / 3 {
            received.down = Some(Instant::now() + Duration::from_secs(1));
        }
        let down = received.down.is_some_and(|until| Instant::now() < until);
        let mood = if down { Mood::HangsUp } else { mood(received.requests) };
        let fails = !matches!(mood, Mood::Takes | Mood::TakesAndAnswersTwice);
        let mood = if fails && !received.failed.insert(id) { Mood::Takes } else { mood };
        let taken = !matches!(mood, Mood::Refuses(_) | Mood::Hangs | Mood::HangsUp);
        received.events.push((id, event, taken));
        if mood == Mood::Hangs {
            received.held.push(stream.try_clone().unwrap());
        }
        mood
    };
    let mut stream = stream;
    let fine = "HTTP/1.1 204 No Content\r\n\r\n";
    match mood {
        Mood::Takes => stream.write_all(fine.as_bytes()).ok(),
        Mood::TakesAndAnswersTwice => stream.write_all(fine.repeat(2).as_bytes()).ok(),
        Mood::Refuses(response) => stream.write_all(response.as_bytes()).ok(),
        Mood::TakesAndHangsUp | Mood::Hangs | Mood::HangsUp => None,
    }
}

fn mood(request: usize) -> Mood {
    match request {
        500 | 5_000 => Mood::Hangs,
        _ if request % 97 == 13 => {
            Mood::Refuses("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n")
        }
        _ if request % 101 == 7 => Mood::Refuses(
            "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n",
        ),
        _ if request % 89 == 5 => Mood::TakesAndHangsUp,
        _ if request % 113 == 3 => Mood::TakesAndAnswersTwice,
        _ => Mood::Takes,
    }
}

/// Places the remaining orders and cancels one of five; each call is retried with its key until
/// there is a response.
fn shop(address: &RwLock<String>, token: &str, customer: i64, left: &AtomicUsize) {
    let mut client = Client::new(&address.read().unwrap());
    let mut insist = |request: &Request| {
        let mut response = None;
        wait_until("answered", || {
            response = client.try_send(request).ok();
            if response.is_none() {
                client = Client::new(&address.read().unwrap());
            }
            response.is_some()
        });
        response.unwrap()
    };
    let one_less = |left: usize| left.checked_sub(1);
    while let Ok(turn) = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less) {
        let items = json!({"items": [{"product_id": 1, "quantity": 1}]});
        let order = Request::post(format!("/v1/customers/{customer}/orders"), &items);
        let response = insist(&order.key(format!("order-{turn}")).by(token));
        assert_eq!(response.status, 201, "{}", response.body);
        if turn % 5 == 0 {
            let id = &response.json()["id"];
            let cancel = Request::new("POST", format!("/v1/orders/{id}/cancellation"));
            let response = insist(&cancel.key(format!("cancel-{turn}")).by(token));
            assert_eq!(response.status, 200, "{}", response.body);
        }
    }
}

#[test]
fn every_event_is_delivered_despite_kills_and_failures() {
    let workspace = Workspace::with_products(&[(PRICE, 1_000_000)]);
    workspace.add_customers(usize::try_from(CLIENTS).unwrap(), 1_000_000);
    let admin = workspace.admin_token();
    let receiver = Receiver::start();
    let flags = ["--events-to", &receiver.url, "--events-allow-private"];
    let relay = || {
        let mut relay =
            workspace.command(&["events", "relay", "--allow-private", "--to", &receiver.url]);
        RelayProcess(relay.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    };
    let mut server = Server::with(&workspace, &flags);
    let mut beside = relay();
    let address = RwLock::new(server.address.clone());
    let left = AtomicUsize::new(ORDERS);
    let (server, beside) = thread::scope(|scope| {
        let (address, token, left) = (&address, &admin, &left);
        let _enough = StopOnDrop(left);
        let clients: Vec<_> = (1..=CLIENTS)
            .map(|customer| scope.spawn(move || shop(address, token, customer, left)))
            .collect();
        for kill in 1..=KILLS {
            let due = ORDERS - ORDERS / (KILLS + 2) * kill;
            wait_until("so far", || left.load(Ordering::Relaxed) <= due);
            if kill % 2 == 0 {
                drop(beside);
                beside = relay();
            } else {
                server.kill();
                server = Server::with(&workspace, &flags);
                address.write().unwrap().clone_from(&server.address);
            }
        }
        for client in clients {
            client.join().unwrap();
        }
        (server, beside)
    });

    let events = workspace.whole_list("events list");
    let client = &mut server.client();
    let begun = Instant::now();
    while !client.send(&Request::get("/metrics")).body.contains("\ncommerce_outbox_events 0\n") {
        assert!(begun.elapsed() < LAST, "{}", workspace.run("events list --limit 5").out);
        thread::sleep(Duration::from_millis(100));
    }
    server.stop();
    drop(beside);
    workspace.audit();

    let log = std::mem::take(&mut *receiver.received.lock().unwrap());
    let mut taken: BTreeMap<i64, Value> = BTreeMap::new();
    let mut newest: BTreeMap<i64, i64> = BTreeMap::new();
    for (id, event, was_taken) in &log.events {
        if !was_taken {
            continue;
        }
        let order = event["data"]["id"].as_i64().unwrap();
        if let Some(first) = taken.insert(*id, event.clone()) {
            assert_eq!(first, *event, "event {id} came again as another");
        } else {
            let before = newest.insert(order, *id);
            assert!(before < Some(*id), "of order {order} {before:?} came before {id}");
        }
    }
    assert_eq!(events.len(), ORDERS + ORDERS / 5);
    assert_eq!(taken.len(), events.len());
    for event in &events {
        let stored = &taken[&event["id"].as_i64().unwrap()];
        let mut order = event["data"].clone();
        order["currency"] = "KRW".into();
        let shown = (&event["public_id"], &event["type"], &order);
        assert_eq!((&stored["id"], &stored["type"], &stored["data"]), shown);
    }
    println!("{} events, {} requests", taken.len(), log.requests);
}

/// A relay process beside the server, killed on drop.
struct RelayProcess(Child);

impl Drop for RelayProcess {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Ends the clients on drop, also in a panic.
struct StopOnDrop<'a>(&'a AtomicUsize);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(0, Ordering::Relaxed);
    }
}
