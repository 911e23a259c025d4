//! Charges through a Stripe that is late, declines, fails and hangs up, at a server that is killed
//! repeatedly: in the end the money at the gateway equals the money on balances, to the unit.

use crate::bank::{self, Bank, Mood};
use crate::http::client::{Client, Request, Response};
use crate::http::server::{Server, wait_until};
use crate::http::webhooks::{SECRET, webhook};
use crate::http::workspace::Workspace;
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
/// The number of charges that a client leaves pending before it retries the oldest.
const LEFT_PENDING: usize = 3;

/// Returns the gateway flags of `serve` and `charges settle` for that bank.
pub(crate) fn flags(workspace: &Workspace, bank: &Bank) -> Vec<String> {
    for (name, secret) in [("stripe.key", bank::KEY), ("webhooks.key", SECRET)] {
        let path = workspace.path().join(name);
        fs::write(&path, secret).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    let flags = format!(
        "--gateway stripe --stripe-key-file stripe.key --stripe-webhook-secret-file webhooks.key --stripe-url {}",
        bank.url
    );
    flags.split(' ').map(str::to_owned).collect()
}

pub(crate) fn serve(workspace: &Workspace, flags: &[String]) -> Server {
    Server::with(workspace, &flags.iter().map(String::as_str).collect::<Vec<_>>())
}

/// The bank's behaviour by the number of the request. Behaviours that never settle a charge, or
/// that make the caller wait for its whole timeout, are rare to bound the time of the test.
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

/// State shared by all clients: the server's address, the number of responses, and the end.
#[derive(Default)]
struct Shared {
    address: RwLock<String>,
    answered: AtomicUsize,
    /// The number of accepted webhooks.
    webhooks: AtomicUsize,
    stopped: AtomicBool,
}

/// A client, with the last response to each of its charges, by turn.
struct Payer<'a> {
    shared: &'a Shared,
    wire: Client,
    token: &'a str,
    customer: i64,
    last: BTreeMap<i64, Response>,
    tried_again: usize,
}

impl Payer<'_> {
    /// Returns an amount that no other charge has.
    fn amount(&self, turn: i64) -> i64 {
        1_000 + turn * CLIENTS + self.customer
    }

    /// Sends the charge of a turn, with retries by the same key, until there is a response.
    fn charge(&mut self, turn: i64) -> u16 {
        let body = json!({"amount": self.amount(turn), "payment_method": "pm_card_visa"});
        let request = Request::post(format!("/v1/customers/{}/charges", self.customer), &body);
        let request = request.key(format!("charge-{turn}")).by(self.token);
        let mut response = None;
        let mut tries = 0;
        wait_until("answered", || {
            tries += 1;
            response = self.wire.try_send(&request).ok();
            if response.is_none() {
                self.wire = Client::new(&self.shared.address.read().unwrap());
            }
            response.is_some()
        });
        let response = response.unwrap();
        self.shared.answered.fetch_add(1, Ordering::Relaxed);
        self.tried_again += usize::from(tries > 1);
        let status = response.status;
        assert!([201, 202, 402].contains(&status), "{status} {}", response.body);
        if let Some(before) = self.last.insert(turn, response.clone()) {
            assert_eq!(id(&before), id(&response), "one key, one charge");
            assert!([202, status].contains(&before.status), "{before:?}, {response:?}");
            assert!(
                before.status != 201 || before.body == response.body,
                "{before:?}, {response:?}"
            );
        }
        status
    }

    /// Charges, and repeats pending and known charges, until the test ends.
    fn pay(mut self) -> Self {
        let mut pending = VecDeque::new();
        for turn in 0.. {
            if self.shared.stopped.load(Ordering::Relaxed) {
                break;
            }
            // A customer may have ten pending charges.
            if pending.len() <= 2 * LEFT_PENDING && self.charge(turn) == 202 {
                pending.push_back(turn);
            }
            if pending.len() > LEFT_PENDING {
                let oldest = pending.pop_front().unwrap();
                if self.charge(oldest) == 202 {
                    pending.push_back(oldest);
                }
            }
            if turn % 7 == 6 && self.last.contains_key(&(turn - 5)) {
                self.charge(turn - 5);
            }
        }
        self
    }
}

/// Returns the id of the charge in a response.
fn id(response: &Response) -> Value {
    let name = if response.status == 402 { "charge_id" } else { "id" };
    response.json()[name].clone()
}

/// Sends webhooks, as Stripe does: for half of the payments, also for old ones, repeatedly, out of
/// order, and even while the server is down. The other half of the payments has no webhooks.
fn send_webhooks(shared: &Shared, bank: &Bank) {
    let mut seen = 0;
    for turn in 0_usize.. {
        // At the rate of requests to the bank.
        while bank.requests() == seen && !shared.stopped.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(2));
        }
        if shared.stopped.load(Ordering::Relaxed) {
            break;
        }
        seen = bank.requests();
        let intents = bank.intents();
        let known = intents.iter().step_by(2).collect::<Vec<_>>();
        if let Some(intent) = known.get(known.len().saturating_sub(1 + turn % 5)) {
            let mut wire = Client::new(&shared.address.read().unwrap());
            if let Ok(response) = wire.try_send(&webhook(intent)) {
                assert_eq!(response.status, 204, "{}", response.body);
                shared.webhooks.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// Ends the clients on drop, also in a panic.
struct StopOnDrop<'a>(&'a Shared);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.stopped.store(true, Ordering::Relaxed);
    }
}

#[test]
fn bank_money_equals_balances_despite_kills_and_failures() {
    let workspace = Workspace::with_products(&[]);
    workspace.add_customers(usize::try_from(CLIENTS).unwrap(), 0);
    let token = workspace.admin_token();
    let bank = Bank::open(mood);
    let flags = flags(&workspace, &bank);
    let mut server = serve(&workspace, &flags);
    let mut log = Vec::new();
    let shared = Shared { address: RwLock::new(server.address.clone()), ..Shared::default() };
    let (server, payers): (Server, Vec<Payer<'_>>) = thread::scope(|scope| {
        let payers = (1..=CLIENTS).map(|customer| {
            let wire = Client::new(&shared.address.read().unwrap());
            let (shared, token, last) = (&shared, token.as_str(), BTreeMap::new());
            let payer = Payer { shared, wire, token, customer, last, tried_again: 0 };
            scope.spawn(move || payer.pay())
        });
        let payers: Vec<_> = payers.collect();
        let teller = scope.spawn(|| send_webhooks(&shared, &bank));
        let stopped = StopOnDrop(&shared);
        let mut random = 0x2545_f491_4f6c_dd1d_u64;
        for kill in 0..KILLS {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            // The moment is counted in responses of the server or in requests to the bank, and then
            // in spins, so that kills interrupt work on a machine of any speed: before, during and
            // after the request to the bank.
            let counted = || match kill % 2 {
                0 => shared.answered.load(Ordering::Relaxed),
                _ => bank.requests(),
            };
            let after = counted() + usize::try_from(10 + random % 25).unwrap();
            wait_until("busy", || counted() >= after);
            std::hint::black_box((0..random % 300_000).fold(0_u64, |sum, turn| sum ^ turn));
            log.extend(server.kill());
            workspace.audit();
            server = serve(&workspace, &flags);
            shared.address.write().unwrap().clone_from(&server.address);
        }
        drop(stopped);
        teller.join().unwrap();
        (server, payers.into_iter().map(|payer| payer.join().unwrap()).collect())
    });
    log.extend(server.stop());
    assert!(payers.iter().any(|payer| payer.tried_again > 0), "no kill hit a request");
    assert_keeps_secrets(&log);

    settle_all(&workspace, &flags.join(" "));
    let counts = compare(&workspace, &bank, &payers);
    let webhooks = shared.webhooks.load(Ordering::Relaxed);
    println!(
        "{counts:?} succeeded, declined, pending; {} requests; {webhooks} webhooks",
        bank.requests()
    );
    assert!(webhooks > 0, "nobody took a notice");
    assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
    workspace.audit();
}

/// Reconciles until the bank has given a result for each charge.
fn settle_all(workspace: &Workspace, flags: &str) {
    let settle = || workspace.json(&format!("charges settle {flags}"));
    let first = settle();
    // For some keys the bank replays a failure for as long as it keeps them. A day later the
    // reconciliation uses its list instead.
    let db = Connection::open(workspace.path().join("commerce.db")).unwrap();
    let day_later = "UPDATE charges SET created_at = created_at - 86460, digest = NULL WHERE status = 'pending'";
    let left = db.execute(day_later, []).unwrap();
    drop(db);
    assert_eq!(first["pending"], left);
    wait_until("settled", || settle()["pending"] == 0);
    assert_eq!(workspace.json("charges pending")["items"], json!([]));
}

/// Compares the bank's records with the store and with the clients' responses; returns the numbers
/// of successes, refusals and pending charges.
fn compare(workspace: &Workspace, bank: &Bank, payers: &[Payer<'_>]) -> [usize; 3] {
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
    let mut counts = [0_usize; 3];
    let mut balances = 0;
    for payer in payers {
        let customer = payer.customer;
        let mut paid = 0;
        for (turn, response) in &payer.last {
            let amount = payer.amount(*turn);
            let charge = collected.get(&amount);
            paid += charge.map_or(0, |_| amount);
            let (case, is_right) = match response.status {
                201 => (0, charge.is_some()),
                402 => (1, charge.is_none()),
                _ => (2, true),
            };
            counts[case] += 1;
            assert!(is_right, "{response:?}");
            assert!(charge.is_none_or(|charge| id(response) == *charge), "{response:?}");
        }
        assert_eq!(workspace.json(&format!("balance {customer}"))["balance"], paid, "{customer}");
        balances += paid;
    }
    assert_eq!(collected.keys().sum::<i64>(), balances, "the bank has other money");
    counts
}

pub(crate) fn assert_keeps_secrets(log: &[String]) {
    let tells = |line: &&String| line.contains(bank::KEY) || line.contains(SECRET);
    assert_eq!(log.iter().find(tells), None);
}
