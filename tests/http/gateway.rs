//! Charges by way of a Stripe that is late, declines, fails and hangs up, at a server that is killed again and
//! again: in the end the money at the gateway is the money on balances, to the unit.

use crate::bank::{self, Bank, Mood};
use crate::client::{Answer, Ask, Client};
use crate::place::Place;
use crate::server::{Server, wait_until};
use commerce_core::{Clock, SystemClock};
use hmac::{Hmac, KeyInit, Mac};
use rusqlite::Connection;
use serde_json::{Value, json};
use sha2::Sha256;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::RwLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

const KILLS: usize = 24;
const CLIENTS: i64 = 6;
/// So many charges may a client leave pending before it asks again for the oldest.
const LEFT_PENDING: usize = 3;

/// What notices are signed with.
const SECRET: &str = "whsec_only_the_bank_knows_that_too";

/// `serve` and `charges settle`, by way of that bank.
fn flags(place: &Place, bank: &Bank) -> Vec<String> {
    for (name, secret) in [("stripe.key", bank::KEY), ("notices.key", SECRET)] {
        let path = place.path().join(name);
        fs::write(&path, secret).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    let flags = format!(
        "--gateway stripe --stripe-key-file stripe.key --stripe-webhook-secret-file notices.key --stripe-url {}",
        bank.url
    );
    flags.split(' ').map(str::to_owned).collect()
}

fn serve(place: &Place, flags: &[String]) -> Server {
    Server::with(place, &flags.iter().map(String::as_str).collect::<Vec<_>>())
}

/// What the bank does with its requests, in their order. Where it says nothing of a charge for good, or lets
/// its caller wait for as long as that bears it, it does so seldom: there is only so much time.
fn mood(request: usize) -> Mood {
    match request {
        40 | 400 => Mood::TakesAndHangs,
        90 | 190 | 290 | 390 => Mood::TakesAndFails,
        _ => match request % 16 {
            1 => Mood::Declines,
            2 | 3 => Mood::TakesLate,
            5 | 6 => Mood::AnswersLate,
            8 => Mood::TakesAndHangsUp,
            10 => Mood::HangsUp,
            12 => Mood::Fails,
            14 => Mood::TakesUnderWay,
            _ => Mood::Takes,
        },
    }
}

/// What all clients know: where the server is, how much was answered, whether it is enough.
#[derive(Default)]
struct Shared {
    address: RwLock<String>,
    answered: AtomicUsize,
    enough: AtomicBool,
}

/// A client, and what it was told of each of its charges, by turn.
struct Payer<'a> {
    shared: &'a Shared,
    wire: Client,
    token: &'a str,
    customer: i64,
    told: BTreeMap<i64, Answer>,
    tried_again: usize,
}

impl Payer<'_> {
    /// No two charges of all are of one amount.
    fn amount(&self, turn: i64) -> i64 {
        1_000 + turn * CLIENTS + self.customer
    }

    /// Asks for the charge of a turn until there is an answer, each time with the same key.
    fn charge(&mut self, turn: i64) -> u16 {
        let body = json!({"amount": self.amount(turn), "payment_method": "pm_card_visa"});
        let ask = Ask::post(format!("/v1/customers/{}/charges", self.customer), &body);
        let ask = ask.key(format!("charge-{turn}")).by(self.token);
        let mut answer = None;
        let mut tries = 0;
        wait_until("answered", || {
            tries += 1;
            answer = self.wire.try_ask(&ask).ok();
            if answer.is_none() {
                self.wire = Client::new(&self.shared.address.read().unwrap());
            }
            answer.is_some()
        });
        let answer = answer.unwrap();
        self.shared.answered.fetch_add(1, Ordering::Relaxed);
        self.tried_again += usize::from(tries > 1);
        let status = answer.status;
        assert!([201, 202, 402].contains(&status), "{status} {}", answer.body);
        if let Some(before) = self.told.insert(turn, answer.clone()) {
            assert_eq!(id(&before), id(&answer), "one key, one charge");
            assert!([202, status].contains(&before.status), "{before:?}, {answer:?}");
            assert!(before.status != 201 || before.body == answer.body, "{before:?}, {answer:?}");
        }
        status
    }

    /// Charges, asks again for what is pending and for what is known, until told that it is enough.
    fn pay(mut self) -> Self {
        let mut pending = VecDeque::new();
        for turn in 0.. {
            if self.shared.enough.load(Ordering::Relaxed) {
                break;
            }
            if self.charge(turn) == 202 {
                pending.push_back(turn);
            }
            if pending.len() > LEFT_PENDING {
                let oldest = pending.pop_front().unwrap();
                if self.charge(oldest) == 202 {
                    pending.push_back(oldest);
                }
            }
            if turn % 7 == 6 {
                self.charge(turn - 5);
            }
        }
        self
    }
}

/// The charge that an answer is about.
fn id(answer: &Answer) -> Value {
    let name = if answer.status == 402 { "charge_id" } else { "id" };
    answer.json()[name].clone()
}

/// However this ends, the clients end.
struct Enough<'a>(&'a Shared);

impl Drop for Enough<'_> {
    fn drop(&mut self) {
        self.0.enough.store(true, Ordering::Relaxed);
    }
}

#[test]
fn whatever_the_bank_does_and_whoever_is_killed_its_money_is_on_balances() {
    let place = Place::with_products(&[]);
    place.add_customers(usize::try_from(CLIENTS).unwrap(), 0);
    let token = place.admin_token();
    let bank = Bank::open(mood);
    let flags = flags(&place, &bank);
    let mut server = serve(&place, &flags);
    let mut log = Vec::new();
    let shared = Shared { address: RwLock::new(server.address.clone()), ..Shared::default() };
    let (server, payers): (Server, Vec<Payer<'_>>) = thread::scope(|scope| {
        let payers = (1..=CLIENTS).map(|customer| {
            let wire = Client::new(&shared.address.read().unwrap());
            let (shared, token, told) = (&shared, token.as_str(), BTreeMap::new());
            let payer = Payer { shared, wire, token, customer, told, tried_again: 0 };
            scope.spawn(move || payer.pay())
        });
        let payers: Vec<_> = payers.collect();
        let enough = Enough(&shared);
        let mut random = 0x2545_f491_4f6c_dd1d_u64;
        for kill in 0..KILLS {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            // The moment is counted in answers of the server or in requests to the bank, and then in
            // spins: so kills hit work on a machine of any speed, before the bank, at it and after it.
            let counted = || match kill % 2 {
                0 => shared.answered.load(Ordering::Relaxed),
                _ => bank.requests(),
            };
            let after = counted() + usize::try_from(10 + random % 25).unwrap();
            wait_until("busy", || counted() >= after);
            std::hint::black_box((0..random % 300_000).fold(0_u64, |sum, turn| sum ^ turn));
            log.extend(server.kill());
            place.audit();
            server = serve(&place, &flags);
            shared.address.write().unwrap().clone_from(&server.address);
        }
        drop(enough);
        (server, payers.into_iter().map(|payer| payer.join().unwrap()).collect())
    });
    log.extend(server.stop());
    assert!(payers.iter().any(|payer| payer.tried_again > 0), "no kill hit a request");
    assert_keeps_secrets(&log);

    settle_all(&place, &flags.join(" "));
    let told = compare(&place, &bank, &payers);
    println!("succeeded, declined, pending: {told:?}; {} requests", bank.requests());
    assert!(told.iter().all(|count| *count > 0), "{told:?}");
    place.audit();
}

/// Asks the bank until it has said of each charge what became of it.
fn settle_all(place: &Place, flags: &str) {
    let settle = || place.json(&format!("charges settle {flags}"));
    let first = settle();
    // What the bank answers to the keys of some is a failure, for as long as it remembers them. A day later
    // it is asked for its list instead.
    let db = Connection::open(place.path().join("commerce.db")).unwrap();
    let day_later = "UPDATE charges SET created_at = created_at - 86460 WHERE status = 'pending'";
    let left = db.execute(day_later, []).unwrap();
    drop(db);
    assert!(left > 0, "the bank has nothing to look up");
    assert_eq!(first["pending"], left);
    wait_until("settled", || settle()["pending"] == 0);
    assert_eq!(place.json("charges pending")["items"], json!([]));
}

/// Holds the books of the bank against the store, and against what the clients were told: so many times
/// success, a refusal and neither.
fn compare(place: &Place, bank: &Bank, payers: &[Payer<'_>]) -> [usize; 3] {
    let intents = bank.intents();
    let references = intents.iter().map(|intent| intent["metadata"]["charge"].as_str().unwrap());
    let references: BTreeSet<&str> = references.collect();
    assert_eq!(references.len(), intents.len(), "a reference was paid for twice");
    let mut collected = BTreeMap::new();
    for intent in intents.iter().filter(|intent| intent["status"] == "succeeded") {
        let amount = intent["amount_received"].as_i64().unwrap();
        let charge = intent["metadata"]["charge_id"].as_str().unwrap().parse::<i64>().unwrap();
        assert!(collected.insert(amount, charge).is_none(), "{amount} was collected twice");
    }
    let mut told = [0_usize; 3];
    let mut balances = 0;
    for payer in payers {
        let customer = payer.customer;
        let mut paid = 0;
        for (turn, answer) in &payer.told {
            let amount = payer.amount(*turn);
            let charge = collected.get(&amount);
            paid += charge.map_or(0, |_| amount);
            let (case, is_right) = match answer.status {
                201 => (0, charge.is_some()),
                402 => (1, charge.is_none()),
                _ => (2, true),
            };
            told[case] += 1;
            assert!(is_right, "{answer:?}");
            assert!(charge.is_none_or(|charge| id(answer) == *charge), "{answer:?}");
        }
        assert_eq!(place.json(&format!("balance {customer}"))["balance"], paid, "{customer}");
        balances += paid;
    }
    assert_eq!(collected.keys().sum::<i64>(), balances, "the bank has other money");
    told
}

fn assert_keeps_secrets(log: &[String]) {
    let tells = |line: &&String| line.contains(bank::KEY) || line.contains(SECRET);
    assert_eq!(log.iter().find(tells), None);
}

/// The bank took the money and failed: its failure is all that the key is answered with for a day. It says so by
/// itself.
#[test]
fn a_notice_settles_what_no_answer_does_when_it_is_the_banks() {
    let place = Place::with_products(&[]);
    place.add_customers(1, 0);
    let token = place.admin_token();
    let bank = Bank::open(|_| Mood::TakesAndFails);
    let flags = flags(&place, &bank);
    let server = serve(&place, &flags);
    let mut client = server.client();
    let body = json!({"amount": 500, "payment_method": "pm_card_visa"});
    let ask = Ask::post("/v1/customers/1/charges", &body).key("a").by(&token);
    for _ in 0..2 {
        assert_eq!(client.ask(&ask).status, 202);
    }
    let settled = place.json(&format!("charges settle {}", flags.join(" ")));
    let why = settled["why"].as_str().unwrap();
    assert!(settled["pending"] == 1 && why.contains("status 500"), "{settled}");

    let intent = bank.intents().remove(0);
    let notice = json!({"type": "payment_intent.succeeded", "data": {"object": intent}});
    let notice = notice.to_string();
    let tell = |client: &mut Client, signature: Option<String>| {
        let ask = Ask::new("POST", "/v1/webhooks/stripe").text_body(&notice);
        let signature = signature.map(|signature| ask.clone().with("Stripe-Signature", signature));
        client.ask(&signature.unwrap_or(ask)).outcome()
    };
    let pending = |client: &mut Client| {
        let figures = client.ask(&Ask::get("/metrics")).body;
        let line = figures.lines().find_map(|line| line.strip_prefix("commerce_charges_pending "));
        line.unwrap().parse::<i64>().unwrap()
    };
    let now = SystemClock.now().unix();
    for wrong in [
        None,
        Some("nonsense".to_owned()),
        Some(signature(now, "whsec_of_some_other_shop", &notice)),
        Some(signature(now, SECRET, &notice.replace("500", "501"))),
        Some(signature(now - 3_600, SECRET, &notice)),
    ] {
        let outcome = tell(&mut client, wrong.clone());
        assert_eq!(outcome, (400, "malformed_request".to_owned()), "{wrong:?}");
    }
    assert_eq!(pending(&mut client), 1);
    for _ in 0..2 {
        let right = signature(now, SECRET, &notice);
        assert_eq!(tell(&mut client, Some(right)), (204, String::new()));
        assert_eq!(pending(&mut client), 0);
    }
    let charge = client.ask(&ask);
    assert_eq!((charge.status, &charge.json()["status"]), (201, &"succeeded".into()));
    assert_keeps_secrets(&server.stop());
    assert_eq!(place.json("balance 1")["balance"], 500);
    place.audit();
}

/// The header by which a notice is believed.
fn signature(at: i64, secret: &str, body: &str) -> String {
    let hmac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    let hmac = hmac.chain_update(format!("{at}.{body}")).finalize().into_bytes();
    let hex = hmac.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
    format!("t={at},v1={hex}")
}
