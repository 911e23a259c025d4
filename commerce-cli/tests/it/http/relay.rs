//! Every paid order reaches the data platform, whatever the platform does and whoever is killed: a receiver
//! that refuses, hangs, hangs up, answers twice and is down for a while; a server and relays beside it that
//! are killed under load.

use crate::http::client::{Ask, Client};
use crate::http::place::Place;
use crate::http::server::{Server, wait_until};
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
/// How long the last events may take, on a machine that is slow and busy: each refusal stops a relay for a
/// moment, and what a killed one was sending comes again a minute later.
const LAST: Duration = Duration::from_secs(600);

/// What came in, in that order.
#[derive(Default)]
struct Heard {
    /// The event's id, its whole content, and whether it was taken.
    events: Vec<(i64, Value, bool)>,
    requests: usize,
    /// What has failed once is taken the next time, lest the test wait for the third try.
    failed: HashSet<i64>,
    /// It hangs up on everybody until then.
    down: Option<Instant>,
    /// Connections that were never answered.
    held: Vec<TcpStream>,
}

/// A data platform with moods.
struct Receiver {
    url: String,
    heard: Arc<Mutex<Heard>>,
}

/// What the platform does with a request.
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
        let heard: Arc<Mutex<Heard>> = Arc::default();
        let shared = Arc::clone(&heard);
        // It ends with the test's process.
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let heard = Arc::clone(&shared);
                thread::spawn(move || while take(&stream, &heard).is_some() {});
            }
        });
        Self { url, heard }
    }
}

/// Takes one request; `None` when the connection is over.
fn take(stream: &TcpStream, heard: &Mutex<Heard>) -> Option<()> {
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
        let mut heard = heard.lock().unwrap();
        heard.requests += 1;
        if heard.requests == ORDERS / 3 {
            heard.down = Some(Instant::now() + Duration::from_secs(1));
        }
        let down = heard.down.is_some_and(|until| Instant::now() < until);
        let mood = if down { Mood::HangsUp } else { mood(heard.requests) };
        let fails = !matches!(mood, Mood::Takes | Mood::TakesAndAnswersTwice);
        let mood = if fails && !heard.failed.insert(id) { Mood::Takes } else { mood };
        let taken = !matches!(mood, Mood::Refuses(_) | Mood::Hangs | Mood::HangsUp);
        heard.events.push((id, event, taken));
        if mood == Mood::Hangs {
            heard.held.push(stream.try_clone().unwrap());
        }
        mood
    };
    let mut stream = stream;
    let fine = "HTTP/1.1 204 No Content\r\n\r\n";
    match mood {
        Mood::Takes => stream.write_all(fine.as_bytes()).ok(),
        Mood::TakesAndAnswersTwice => stream.write_all(fine.repeat(2).as_bytes()).ok(),
        Mood::Refuses(answer) => stream.write_all(answer.as_bytes()).ok(),
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

/// Orders, and cancels one of five, until there are enough; each again with its key until it is answered.
fn shop(address: &RwLock<String>, token: &str, customer: i64, left: &AtomicUsize) {
    let mut client = Client::new(&address.read().unwrap());
    let mut insist = |ask: &Ask| {
        let mut answer = None;
        wait_until("answered", || {
            answer = client.try_ask(ask).ok();
            if answer.is_none() {
                client = Client::new(&address.read().unwrap());
            }
            answer.is_some()
        });
        answer.unwrap()
    };
    let one_less = |left: usize| left.checked_sub(1);
    while let Ok(turn) = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less) {
        let items = json!({"items": [{"product_id": 1, "quantity": 1}]});
        let order = Ask::post(format!("/v1/customers/{customer}/orders"), &items);
        let answer = insist(&order.key(format!("order-{turn}")).by(token));
        assert_eq!(answer.status, 201, "{}", answer.body);
        if turn % 5 == 0 {
            let id = &answer.json()["id"];
            let cancel = Ask::new("POST", format!("/v1/orders/{id}/cancellation"));
            let answer = insist(&cancel.key(format!("cancel-{turn}")).by(token));
            assert_eq!(answer.status, 200, "{}", answer.body);
        }
    }
}

#[test]
fn every_event_arrives_whatever_the_platform_does_and_whoever_is_killed() {
    let place = Place::with_products(&[(PRICE, 1_000_000)]);
    place.add_customers(usize::try_from(CLIENTS).unwrap(), 1_000_000);
    let admin = place.admin_token();
    let receiver = Receiver::start();
    let flags = ["--events-to", &receiver.url, "--events-allow-private"];
    let relay = || {
        let mut relay =
            place.command(&["events", "relay", "--allow-private", "--to", &receiver.url]);
        Beside(relay.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    };
    let mut server = Server::with(&place, &flags);
    let mut beside = relay();
    let address = RwLock::new(server.address.clone());
    let left = AtomicUsize::new(ORDERS);
    let (server, beside) = thread::scope(|scope| {
        let (address, token, left) = (&address, &admin, &left);
        let _enough = Enough(left);
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
                server = Server::with(&place, &flags);
                address.write().unwrap().clone_from(&server.address);
            }
        }
        for client in clients {
            client.join().unwrap();
        }
        (server, beside)
    });

    let events = place.whole_list("events list");
    let client = &mut server.client();
    let begun = Instant::now();
    while !client.ask(&Ask::get("/metrics")).body.contains("\ncommerce_outbox_events 0\n") {
        assert!(begun.elapsed() < LAST, "{}", place.run("events list --limit 5").out);
        thread::sleep(Duration::from_millis(100));
    }
    server.stop();
    drop(beside);
    place.audit();

    let heard = std::mem::take(&mut *receiver.heard.lock().unwrap());
    let mut taken: BTreeMap<i64, Value> = BTreeMap::new();
    let mut newest: BTreeMap<i64, i64> = BTreeMap::new();
    for (id, event, was_taken) in &heard.events {
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
        let told = &taken[&event["id"].as_i64().unwrap()];
        let mut order = event["data"].clone();
        order["currency"] = "KRW".into();
        let shown = (&event["public_id"], &event["type"], &order);
        assert_eq!((&told["id"], &told["type"], &told["data"]), shown);
    }
    println!("{} events, {} requests", taken.len(), heard.requests);
}

/// A relay beside the server, killed when it is dropped: it does not outlive the test.
struct Beside(Child);

impl Drop for Beside {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// However the test ends, the clients end.
struct Enough<'a>(&'a AtomicUsize);

impl Drop for Enough<'_> {
    fn drop(&mut self) {
        self.0.store(0, Ordering::Relaxed);
    }
}
