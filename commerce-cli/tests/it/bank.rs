//! A double of Stripe in the test's own process: it records payments, honours `Idempotency-Key`,
//! and answers, fails and hangs up as the test chooses. Results of cards are tested with
//! localstripe instead.

use commerce_core::{Clock, SystemClock};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// The only API key that it accepts.
pub(crate) const KEY: &str = "sk_test_only_the_bank_knows";

/// The delay of a late answer: some hundred times the usual time, so that much happens meanwhile.
const LATE: Duration = Duration::from_millis(100);

/// The behaviour for one request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Mood {
    Takes,
    /// The bank waits before it collects.
    TakesLate,
    /// The bank collects, and waits before it answers.
    AnswersLate,
    Declines,
    /// The bank collects and answers `processing`. A request for the intent by its id returns the
    /// success.
    TakesUnderWay,
    /// The bank fails before it collects, so that the key stays unused.
    Fails,
    HangsUp,
    TakesAndHangsUp,
    TakesAndHangs,
    /// The bank fails after it collected; it then replays the failure for the key, as Stripe does.
    TakesAndFails,
}

type Moods = dyn Fn(usize) -> Mood + Send + Sync;

pub(crate) struct Bank {
    pub(crate) url: String,
    books: Arc<Mutex<Books>>,
}

/// The state of the bank.
#[derive(Default)]
struct Books {
    requests: usize,
    /// The request and the response of each key.
    answered: BTreeMap<String, (String, Reply)>,
    /// In the order of their creation.
    intents: Vec<Value>,
    /// Connections that get no answer.
    held: Vec<TcpStream>,
}

type Reply = (u16, Value);

impl Bank {
    /// Starts a bank; `moods` chooses the behaviour by the number of the request.
    pub(crate) fn open(moods: impl Fn(usize) -> Mood + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let books: Arc<Mutex<Books>> = Arc::default();
        let (shared, moods): (_, Arc<Moods>) = (Arc::clone(&books), Arc::new(moods));
        // The thread ends with the test's process.
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (books, moods) = (Arc::clone(&shared), Arc::clone(&moods));
                thread::spawn(move || while take(&stream, &books, &*moods).is_some() {});
            }
        });
        Self { url, books }
    }

    /// The number of requests so far.
    pub(crate) fn requests(&self) -> usize {
        self.books.lock().unwrap().requests
    }

    /// All payment intents so far.
    pub(crate) fn intents(&self) -> Vec<Value> {
        self.books.lock().unwrap().intents.clone()
    }
}

/// Reads and answers one request; returns `None` at the end of the connection.
fn take(stream: &TcpStream, books: &Mutex<Books>, moods: &Moods) -> Option<()> {
    let asked = Asked::read(&mut BufReader::new(stream))?;
    let mood = {
        let mut books = books.lock().unwrap();
        books.requests += 1;
        moods(books.requests)
    };
    if mood == Mood::TakesLate {
        thread::sleep(LATE);
    }
    if mood == Mood::HangsUp {
        return None;
    }
    let is_heard = mood != Mood::Fails;
    let reply = is_heard.then(|| books.lock().unwrap().reply(&asked, mood));
    if mood == Mood::AnswersLate {
        thread::sleep(LATE);
    }
    if mood == Mood::TakesAndHangs {
        books.lock().unwrap().held.push(stream.try_clone().unwrap());
    }
    if matches!(mood, Mood::TakesAndHangsUp | Mood::TakesAndHangs) {
        return None;
    }
    let (status, body) = reply.unwrap_or_else(failure);
    let body = body.to_string();
    let answer = format!("HTTP/1.1 {status} -\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let mut stream = stream;
    stream.write_all(answer.as_bytes()).ok()
}

/// A parsed request.
struct Asked {
    method: String,
    path: String,
    query: String,
    headers: BTreeMap<String, String>,
    body: String,
}

impl Asked {
    fn read(reader: &mut impl BufRead) -> Option<Self> {
        let mut line = || {
            let mut line = String::new();
            let is_more = reader.read_line(&mut line).ok()? > 0;
            is_more.then(|| line.trim_end().to_owned())
        };
        let first = line()?;
        let mut headers = BTreeMap::new();
        while let Some((name, value)) = line()?.split_once(": ") {
            headers.insert(name.to_ascii_lowercase(), value.to_owned());
        }
        let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let words: Vec<&str> = first.split(' ').collect();
        let (path, query) = words[1].split_once('?').unwrap_or((words[1], ""));
        Some(Self {
            method: words[0].to_owned(),
            path: path.to_owned(),
            query: query.to_owned(),
            headers,
            body: String::from_utf8(body).unwrap(),
        })
    }
}

impl Books {
    fn reply(&mut self, asked: &Asked, mood: Mood) -> Reply {
        if asked.headers.get("authorization") != Some(&format!("Bearer {KEY}")) {
            return (401, problem("invalid_request_error", "Invalid API Key"));
        }
        let rest = asked.path.strip_prefix("/v1/payment_intents");
        match (asked.method.as_str(), rest) {
            ("POST", Some("")) => self.create(asked, mood),
            ("GET", Some("")) => (200, self.page(&pairs(&asked.query))),
            ("GET", Some(id)) => {
                let found = self.intents.iter().find(|intent| intent["id"] == id[1..]);
                found.map_or_else(
                    || (404, problem("invalid_request_error", "No such payment_intent")),
                    |intent| (200, intent.clone()),
                )
            }
            _ => (404, problem("invalid_request_error", "Unrecognized request URL")),
        }
    }

    /// Creates a payment intent, once for each key.
    fn create(&mut self, asked: &Asked, mood: Mood) -> Reply {
        let key = &asked.headers["idempotency-key"];
        if let Some((body, reply)) = self.answered.get(key) {
            let is_same = *body == asked.body;
            let other = || (400, problem("idempotency_error", "Keys are for the same parameters"));
            return if is_same { reply.clone() } else { other() };
        }
        let form = pairs(&asked.body);
        let amount: i64 = form["amount"].parse().unwrap();
        let declined = problem("card_error", "Your card was declined.");
        let is_declined = mood == Mood::Declines;
        let intent = json!({
            "id": format!("pi_{}", self.intents.len() + 1),
            "status": if is_declined { "requires_payment_method" } else { "succeeded" },
            "amount": amount,
            "amount_received": if is_declined { 0 } else { amount },
            "currency": form["currency"],
            "created": SystemClock.now().unix(),
            "metadata": {
                "charge": form["metadata[charge]"],
                "charge_id": form["metadata[charge_id]"],
                "customer_id": form["metadata[customer_id]"],
            },
            "last_payment_error": if is_declined { declined["error"].clone() } else { Value::Null },
        });
        self.intents.push(intent.clone());
        let reply = if is_declined {
            (402, declined)
        } else if mood == Mood::TakesAndFails {
            failure()
        } else if mood == Mood::TakesUnderWay {
            let mut earlier = intent;
            earlier["status"] = "processing".into();
            earlier["amount_received"] = 0.into();
            (200, earlier)
        } else {
            (200, intent)
        };
        self.answered.insert(key.clone(), (asked.body.clone(), reply.clone()));
        reply
    }

    /// Returns a page of the list, newest first.
    fn page(&self, query: &BTreeMap<String, String>) -> Value {
        let number = |name: &str| query.get(name).map(|number| number.parse::<i64>().unwrap());
        let (from, to) = (number("created[gte]").unwrap(), number("created[lte]").unwrap());
        let mut found: Vec<&Value> = self.intents.iter().rev().collect();
        if let Some(after) = query.get("starting_after") {
            let place = found.iter().position(|intent| intent["id"] == **after).unwrap();
            found.drain(..=place);
        }
        found.retain(|intent| (from..=to).contains(&intent["created"].as_i64().unwrap()));
        let limit = usize::try_from(number("limit").unwrap()).unwrap();
        json!({"data": found[..found.len().min(limit)], "has_more": found.len() > limit})
    }
}

/// Parses names and values. Of the escapes of forms only brackets occur.
fn pairs(text: &str) -> BTreeMap<String, String> {
    let text = text.replace("%5B", "[").replace("%5D", "]");
    let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn problem(kind: &str, message: &str) -> Value {
    json!({"error": {"type": kind, "message": message}})
}

fn failure() -> Reply {
    (500, problem("api_error", "Something went wrong on our end."))
}
