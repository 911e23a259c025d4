//! Charges by way of a Stripe that is late, declines, fails and hangs up, at a server that is killed again and
//! again: in the end the money at the gateway is the money on balances, to the unit.

use crate::bank::{self, Bank, Mood};
use crate::http::client::{Answer, Ask, Client};
use crate::http::notices::{SECRET, notice};
use crate::http::place::Place;
use crate::http::server::{Server, wait_until};
use rusqlite::Connection;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::RwLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

const KILLS: usize = 24;
const CLIENTS: i64 = 6;
/// So many charges may a client leave pending before it asks again for the oldest.
const LEFT_PENDING: usize = 3;

/// `serve` and `charges settle`, by way of that bank.
pub(crate) fn flags(place: &Place, bank: &Bank) -> Vec<String> {
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

pub(crate) fn serve(place: &Place, flags: &[String]) -> Server {
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
    /// So many notices were taken.
    told: AtomicUsize,
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
            // A customer may have ten pending.
            if pending.len() <= 2 * LEFT_PENDING && self.charge(turn) == 202 {
                pending.push_back(turn);
            }
            if pending.len() > LEFT_PENDING {
                let oldest = pending.pop_front().unwrap();
                if self.charge(oldest) == 202 {
                    pending.push_back(oldest);
                }
            }
            if turn % 7 == 6 && self.told.contains_key(&(turn - 5)) {
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

/// Tells the servers of payments, as Stripe does by itself: of half of them, also of old ones, again and again,
/// in no order, and in vain while nobody listens. The other half has to do without.
fn tell(shared: &Shared, bank: &Bank) {
    let mut seen = 0;
    for turn in 0_usize.. {
        // As often as the bank is asked for something, and no faster.
        while bank.requests() == seen && !shared.enough.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(2));
        }
        if shared.enough.load(Ordering::Relaxed) {
            break;
        }
        seen = bank.requests();
        let intents = bank.intents();
        let known = intents.iter().step_by(2).collect::<Vec<_>>();
        if let Some(intent) = known.get(known.len().saturating_sub(1 + turn % 5)) {
            let mut wire = Client::new(&shared.address.read().unwrap());
            if let Ok(answer) = wire.try_ask(&notice(intent)) {
                assert_eq!(answer.status, 204, "{}", answer.body);
                shared.told.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
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
        let teller = scope.spawn(|| tell(&shared, &bank));
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
        teller.join().unwrap();
        (server, payers.into_iter().map(|payer| payer.join().unwrap()).collect())
    });
    log.extend(server.stop());
    assert!(payers.iter().any(|payer| payer.tried_again > 0), "no kill hit a request");
    assert_keeps_secrets(&log);

    settle_all(&place, &flags.join(" "));
    let told = compare(&place, &bank, &payers);
    let notices = shared.told.load(Ordering::Relaxed);
    println!(
        "{told:?} succeeded, declined, pending; {} requests; {notices} notices",
        bank.requests()
    );
    assert!(notices > 0, "nobody took a notice");
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
    let day_later = "UPDATE charges SET created_at = created_at - 86460, digest = NULL WHERE status = 'pending'";
    let left = db.execute(day_later, []).unwrap();
    drop(db);
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

pub(crate) fn assert_keeps_secrets(log: &[String]) {
    let tells = |line: &&String| line.contains(bank::KEY) || line.contains(SECRET);
    assert_eq!(log.iter().find(tells), None);
}
