//! The cost of event delivery for orders, and the latency of events: a relay over HTTP on loopback, to a receiver in
//! the same process.
//!
//! `cargo bench -p commerce-outbound --bench relay`; `-- --seconds 2` shortens each case.

#![allow(missing_docs, unreachable_pub, reason = "a bench")]
#![allow(clippy::all, clippy::pedantic, clippy::restriction, reason = "a bench")]

#[path = "../../commerce-core/benches/support/mod.rs"]
mod support;

use commerce_core::{CancellationToken, Shop};
use commerce_outbound::{DestinationOptions, destination};
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};
use support::{Random, Taste, growing_key, order, shop};

const PRODUCTS: i64 = 1_000;
const CALLERS: u64 = 16;
const PACE: Duration = Duration::from_millis(2);

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let target = arguments.iter().position(|argument| argument == "--seconds");
    let seconds = target.and_then(|target| arguments.get(target + 1)?.parse().ok()).unwrap_or(5);
    let time = Duration::from_secs(seconds);
    let folder = tempfile::tempdir_in(".").unwrap();
    println!("3 lines an order, {PRODUCTS} products, synchronous=FULL, {seconds} s a case");
    hanging(&folder.path().join("hanging.db"), time);
    in_batches(&folder.path().join("batches.db"), time);
    one_by_one(&folder.path().join("one.db"), time);
}

/// Orders without a relay, and with a relay whose receiver never responds, alternately.
fn hanging(file: &Path, time: Duration) {
    let shop = shop(file, PRODUCTS);
    let keys = AtomicU64::new(0);
    let receiver = Receiver::start(false);
    let (mut without, mut with) = (0.0, 0.0);
    for _ in 0..4 {
        without += orders(&shop, &keys, time / 4);
        with += relayed(&shop, &receiver, 1, || orders(&shop, &keys, time / 4));
    }
    let (with, without) = (with / 4.0, without / 4.0);
    println!(
        "a receiver that hangs: {with:.0} orders/s, {without:.0} without a relay: {:.2}",
        with / without
    );
}

/// Orders at full speed while a relay delivers in batches.
fn in_batches(file: &Path, time: Duration) {
    let shop = shop(file, PRODUCTS);
    let keys = AtomicU64::new(0);
    let receiver = Receiver::start(true);
    let alone = orders(&shop, &keys, time);
    let stale = keys.load(Ordering::Relaxed);
    relayed(&shop, &receiver, 500, || until_delivered(&shop));
    let rate = relayed(&shop, &receiver, 500, || {
        let rate = orders(&shop, &keys, time);
        let waiting = shop.outbox().unwrap().waiting;
        let begun = Instant::now();
        until_delivered(&shop);
        println!(
            "batches of 500: {rate:.0} orders/s, {alone:.0} without a relay: {:.2}; {waiting} events waited at \
             the end, delivered {:.2} s later",
            rate / alone,
            begun.elapsed().as_secs_f64()
        );
        rate
    });
    let delivered = receiver.0.delivered.load(Ordering::Relaxed);
    assert_eq!(delivered, keys.load(Ordering::Relaxed), "{stale} before, {rate}");
}

/// The latency from commit to arrival, with one event per request at 500 orders a second.
fn one_by_one(file: &Path, time: Duration) {
    let shop = shop(file, PRODUCTS);
    let receiver = Receiver::start(true);
    let committed = Mutex::new(HashMap::new());
    relayed(&shop, &receiver, 1, || {
        let begun = Instant::now();
        let next = AtomicU64::new(0);
        thread::scope(|scope| {
            for caller in 0..4 {
                let (shop, next, committed) = (&shop, &next, &committed);
                scope.spawn(move || {
                    let mut random = Random(caller);
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        let due = PACE * number as u32;
                        if due > time {
                            break;
                        }
                        thread::sleep(due.saturating_sub(begun.elapsed()));
                        let request = order(&mut random, Taste::Spread(PRODUCTS));
                        let placed = shop.place_order(request, &growing_key(number)).unwrap();
                        committed.lock().unwrap().insert(placed.id.get(), Instant::now());
                    }
                });
            }
        });
        until_delivered(&shop);
    });
    let committed = committed.into_inner().unwrap();
    let arrived = receiver.0.arrived.lock().unwrap();
    let mut waits: Vec<Duration> =
        committed.iter().map(|(order, at)| arrived[order].saturating_duration_since(*at)).collect();
    waits.sort();
    let at = |part: usize| {
        waits[(waits.len() * part / 1000).min(waits.len() - 1)].as_secs_f64() * 1000.0
    };
    println!(
        "one event a request, 500 orders/s: {} events arrived {:.1} ms after their commit, p99 {:.1} ms, \
         at most {:.1} ms",
        waits.len(),
        at(500),
        at(990),
        at(1000)
    );
}

/// Returns the orders per second of callers that wait for each order.
fn orders(shop: &Shop, keys: &AtomicU64, time: Duration) -> f64 {
    let begun = Instant::now();
    let count = AtomicU64::new(0);
    thread::scope(|scope| {
        for caller in 0..CALLERS {
            let count = &count;
            scope.spawn(move || {
                let mut random = Random(caller);
                while begun.elapsed() < time {
                    let request = order(&mut random, Taste::Spread(PRODUCTS));
                    let key = growing_key(keys.fetch_add(1, Ordering::Relaxed));
                    shop.place_order(request, &key).unwrap();
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    count.into_inner() as f64 / begun.elapsed().as_secs_f64()
}

/// Runs `work` while a relay runs.
fn relayed<T>(shop: &Shop, receiver: &Receiver, batch: usize, work: impl FnOnce() -> T) -> T {
    let options =
        DestinationOptions { batch, allow_private: true, ..DestinationOptions::default() };
    let to = destination(&receiver.0.url, options).unwrap();
    let stop = CancellationToken::default();
    thread::scope(|scope| {
        let relay = scope.spawn(|| shop.relay(to.as_ref()).run(&stop).unwrap());
        let done = work();
        stop.cancel();
        // Closes the connections that wait for a response.
        receiver.0.held.lock().unwrap().clear();
        relay.join().unwrap();
        done
    })
}

fn until_delivered(shop: &Shop) {
    while shop.outbox().unwrap().waiting > 0 {
        thread::sleep(Duration::from_millis(2));
    }
}

#[derive(Clone)]
struct Receiver(Arc<Received>);

struct Received {
    url: String,
    answers: bool,
    delivered: AtomicU64,
    /// The instants of arrival, by order.
    arrived: Mutex<HashMap<i64, Instant>>,
    held: Mutex<Vec<TcpStream>>,
}

impl Receiver {
    fn start(answers: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let receiver = Self(Arc::new(Received {
            url: format!("http://{}/", listener.local_addr().unwrap()),
            answers,
            delivered: AtomicU64::new(0),
            arrived: Mutex::default(),
            held: Mutex::default(),
        }));
        let received = receiver.0.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                stream.set_nodelay(true).unwrap();
                let received = received.clone();
                thread::spawn(move || receive_all(stream, &received));
            }
        });
        receiver
    }
}

fn receive_all(stream: TcpStream, received: &Received) -> Option<()> {
    let mut reader = BufReader::with_capacity(1 << 20, stream.try_clone().unwrap());
    let mut line = String::new();
    let mut body = Vec::new();
    loop {
        let mut length = 0;
        loop {
            line.clear();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            if line == "\r\n" {
                break;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
        }
        body.resize(length, 0);
        reader.read_exact(&mut body).ok()?;
        if !received.answers {
            received.held.lock().unwrap().push(stream);
            return None;
        }
        let now = Instant::now();
        let mut orders = 0;
        for part in body
            .windows(16)
            .enumerate()
            .filter(|(_, part)| part.starts_with(b"\"subject\":\"order"))
        {
            let text = &body[part.0..(part.0 + 48).min(body.len())];
            let digits = text
                .iter()
                .skip_while(|byte| !byte.is_ascii_digit())
                .take_while(|byte| byte.is_ascii_digit());
            let order = digits.fold(0, |order, digit| order * 10 + i64::from(digit - b'0'));
            received.arrived.lock().unwrap().entry(order).or_insert(now);
            orders += 1;
        }
        received.delivered.fetch_add(orders, Ordering::Relaxed);
        (&stream).write_all(b"HTTP/1.1 204 No Content\r\n\r\n").ok()?;
    }
}
