//! Delivery to receivers that sometimes fail, and during the rotation of a secret: all events
//! arrive soon, none is parked.

use crate::http::server::{Server, wait_until};
use crate::http::workspace::Workspace;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;

const OLD: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const NEW: &str = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// A request with the facts that a receiver decides by.
struct Delivery {
    /// The id of the event.
    event: i64,
    /// The number of earlier attempts.
    before: usize,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Delivery {
    fn is_signed_with(&self, secret: &str) -> bool {
        let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
        let (id, at) = (&self.headers["webhook-id"], &self.headers["webhook-timestamp"]);
        let hmac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
        let hmac = hmac.chain_update(format!("{id}.{at}.")).chain_update(&self.body);
        let expected = format!("v1,{}", STANDARD.encode(hmac.finalize().into_bytes()));
        self.headers["webhook-signature"].split(' ').any(|signature| signature == expected)
    }
}

#[derive(Default)]
struct Heard {
    /// The number of attempts of each event.
    attempts: BTreeMap<i64, usize>,
    taken: BTreeSet<i64>,
    refused: usize,
}

/// A receiver that answers each delivery with the status line of `answer`. It ends with the process
/// of the test.
struct Receiver {
    url: String,
    heard: Arc<Mutex<Heard>>,
}

impl Receiver {
    fn start(response: impl Fn(&Delivery) -> &'static str + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/events", listener.local_addr().unwrap());
        let heard: Arc<Mutex<Heard>> = Arc::default();
        let (shared, response) = (Arc::clone(&heard), Arc::new(response));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (heard, response) = (Arc::clone(&shared), Arc::clone(&response));
                thread::spawn(move || while take(&stream, &heard, &*response).is_some() {});
            }
        });
        Self { url, heard }
    }

    fn taken(&self) -> usize {
        self.heard.lock().unwrap().taken.len()
    }
}

/// Reads and answers one request; returns `None` at the end of the connection.
fn take(
    stream: &TcpStream,
    heard: &Mutex<Heard>,
    response: &dyn Fn(&Delivery) -> &'static str,
) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line == "\r\n" {
            break;
        }
        if let Some((name, value)) = line.trim_end().split_once(": ") {
            headers.insert(name.to_ascii_lowercase(), value.to_owned());
        }
    }
    let mut body = vec![0; headers["content-length"].parse().unwrap()];
    reader.read_exact(&mut body).ok()?;
    let parsed: Value = serde_json::from_slice(&body).unwrap();
    // The id of the order: in these tests each order has one event.
    let event = parsed["data"]["id"].as_i64().unwrap();
    let mut heard = heard.lock().unwrap();
    let attempts = heard.attempts.entry(event).or_default();
    let before = *attempts;
    *attempts += 1;
    let status = response(&Delivery { event, before, headers, body });
    if status.starts_with('2') {
        heard.taken.insert(event);
    } else {
        heard.refused += 1;
    }
    drop(heard);
    let mut stream = stream;
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").ok()
}

/// Writes a file that only its owner can read, by renaming.
fn write_secret(path: &Path, text: &str) {
    let new = path.with_extension("new");
    let mut options = fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&new).unwrap();
    file.write_all(text.as_bytes()).unwrap();
    fs::rename(new, path).unwrap();
}

fn shop(orders: usize) -> Workspace {
    let workspace = Workspace::with_products(&[(10, 1_000_000)]);
    workspace.add_customers(1, 1_000_000);
    import(&workspace, "first", orders);
    workspace
}

/// Imports that many orders.
fn import(workspace: &Workspace, name: &str, orders: usize) {
    let head = "order,customer_id,placed_at,product_id,quantity\n";
    let row = |number| format!("{name}-{number},1,2026-01-01T00:00:00Z,1,1\n");
    let file = format!("{head}{}", (0..orders).map(row).collect::<String>());
    let said = workspace.fed("--json import orders -", &file);
    assert_eq!(said.status, 0, "{}", said.err);
}

fn assert_all_arrived(workspace: &Workspace, receiver: &Receiver, events: usize) {
    let listed = || workspace.whole_list("events list");
    // An outcome is recorded a moment after the response.
    wait_until("all are delivered", || {
        listed().iter().all(|event| event["delivery"]["status"] == "delivered")
    });
    assert_eq!((listed().len(), receiver.taken()), (events, events));
    assert_eq!(workspace.json("events list --parked")["items"], Value::Array(Vec::new()));
    workspace.audit();
}

/// One event in three fails, one in nine twice, one in 27 three times, by any kind of failure: the
/// last ones arrive with their fourth attempt, half a minute later.
#[test]
fn retries_deliver_soon_at_a_one_in_three_failure_rate() {
    const FAILURES: [&str; 9] = [
        "401 Unauthorized",
        "403 Forbidden",
        "404 Not Found",
        "408 Request Timeout",
        "425 Too Early",
        "429 Too Many Requests",
        "302 Found",
        "500 Internal Server Error",
        "503 Service Unavailable",
    ];
    let workspace = shop(240);
    let receiver = Receiver::start(|delivery| {
        let failures = (1..=3_u32).filter(|power| delivery.event % 3_i64.pow(*power) == 0).count();
        let failure = FAILURES[usize::try_from(delivery.event / 3).unwrap() % FAILURES.len()];
        if delivery.before < failures { failure } else { "204 No Content" }
    });
    let flags = ["--events-to", &receiver.url, "--events-allow-private"];
    let server = Server::with(&workspace, &flags);
    wait_until("all have arrived", || receiver.taken() == 240);
    assert_all_arrived(&workspace, &receiver, 240);
    let heard = receiver.heard.lock().unwrap();
    assert_eq!(heard.refused, 80 + 26 + 8, "and each once more than it failed");
    drop(heard);
    server.stop();
}

/// The receiver switches from the old secret to the new one at any time, and knows only one of
/// them.
#[test]
fn webhook_secret_rotates_without_restart_or_lost_events() {
    let workspace = shop(50);
    let secret = workspace.path().join("secret");
    write_secret(&secret, OLD);
    let known = Arc::new(Mutex::new(OLD));
    let checked = Arc::clone(&known);
    let receiver = Receiver::start(move |delivery| {
        let is_known = delivery.is_signed_with(*checked.lock().unwrap());
        if is_known { "204 No Content" } else { "401 Unauthorized" }
    });
    let flags =
        ["--events-to", &receiver.url, "--events-allow-private", "--events-secret-file", "secret"];
    let mut server = Server::with(&workspace, &flags);
    wait_until("the first have arrived", || receiver.taken() == 50);

    write_secret(&secret, &format!("{NEW}\n{OLD}\n"));
    import(&workspace, "both", 25);
    *known.lock().unwrap() = NEW;
    import(&workspace, "switched", 25);
    wait_until("those of the rotation have arrived", || receiver.taken() == 100);
    assert_eq!(receiver.heard.lock().unwrap().refused, 0, "each bore both signatures");

    // If the file is half-written or readable by others, the previous secrets stay in use.
    write_secret(&secret, "whsec_AAAA");
    import(&workspace, "broken", 5);
    wait_until("those of the broken file have arrived", || receiver.taken() == 105);
    server.wait_for_line(|line| line.contains("stays in use").then_some(()));
    write_secret(&secret, NEW);
    import(&workspace, "new", 5);
    wait_until("those with the new secret have arrived", || receiver.taken() == 110);
    assert_eq!(receiver.heard.lock().unwrap().refused, 0);

    // The reverse order, which operators should avoid: the receiver switches before the file.
    *known.lock().unwrap() = OLD;
    import(&workspace, "late", 5);
    wait_until("it was refused", || receiver.heard.lock().unwrap().refused > 0);
    write_secret(&secret, OLD);
    wait_until("all have arrived", || receiver.taken() == 115);
    assert_all_arrived(&workspace, &receiver, 115);
    server.stop();
}
