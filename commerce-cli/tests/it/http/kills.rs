//! `kill -9` of a server under load, again and again: nothing that was acknowledged is lost, and nothing
//! that was tried again happened twice.

use crate::http::client::{Answer, Ask, Client};
use crate::http::place::Place;
use crate::http::server::{Server, wait_until};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::RwLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

const KILLS: u64 = 30;
const CLIENTS: i64 = 6;
const BALANCE: i64 = 1_000_000;
const STOCK: i64 = 1_000_000;
const PRICE: i64 = 10;
const CHARGE: i64 = 7;

/// What all clients know: where the server is, how much was acknowledged, whether it is enough.
#[derive(Default)]
struct Shared {
    address: RwLock<String>,
    acknowledged: AtomicUsize,
    enough: AtomicBool,
}

/// What a client was told.
#[derive(Default)]
struct Told {
    charges: i64,
    /// By id, as last told.
    orders: BTreeMap<i64, Value>,
    cancelled: i64,
    tried_again: i64,
    replayed: i64,
}

/// Asks until there is an answer, each time with the same key, wherever the server is by then.
fn insist(shared: &Shared, wire: &mut Client, ask: &Ask, told: &mut Told) -> Answer {
    let mut answer = None;
    let mut tries = 0;
    wait_until("answered", || {
        tries += 1;
        answer = wire.try_ask(ask).ok();
        if answer.is_none() {
            *wire = Client::new(&shared.address.read().unwrap());
        }
        answer.is_some()
    });
    let answer = answer.unwrap();
    shared.acknowledged.fetch_add(1, Ordering::Relaxed);
    told.tried_again += i64::from(tries > 1);
    told.replayed += i64::from(answer.replayed());
    assert!(tries > 1 || !answer.replayed(), "a key that was not used yet is known");
    answer
}

/// Charges, orders and cancels, until told that it is enough.
fn shop_around(shared: &Shared, customer: i64, token: &str) -> Told {
    let mut told = Told::default();
    let mut wire = Client::new(&shared.address.read().unwrap());
    for turn in 0.. {
        if shared.enough.load(Ordering::Relaxed) {
            break;
        }
        let me = format!("/v1/customers/{customer}");
        let charge = Ask::post(format!("{me}/charges"), &json!({"amount": CHARGE}));
        let charge = charge.key(format!("charge-{turn}")).by(token);
        let answer = insist(shared, &mut wire, &charge, &mut told);
        assert_eq!(answer.status, 201, "{}", answer.body);
        told.charges += 1;

        let items = json!({"items": [{"product_id": 1, "quantity": 1}]});
        let order = Ask::post(format!("{me}/orders"), &items);
        let order = order.key(format!("order-{turn}")).by(token);
        let answer = insist(shared, &mut wire, &order, &mut told);
        assert_eq!(answer.status, 201, "{}", answer.body);
        let order = answer.json();
        let id = order["id"].as_i64().unwrap();
        assert!(told.orders.insert(id, order).is_none(), "order {id} was told twice");

        if turn % 3 == 0 {
            let cancel = Ask::new("POST", format!("/v1/orders/{id}/cancellation"));
            let cancel = cancel.key(format!("cancel-{turn}")).by(token);
            let answer = insist(shared, &mut wire, &cancel, &mut told);
            assert_eq!(answer.status, 200, "{}", answer.body);
            told.orders.insert(id, answer.json());
            told.cancelled += 1;
        }
    }
    told
}

#[test]
fn what_was_acknowledged_survives_kills_and_happens_once() {
    let place = Place::with_products(&[(PRICE, STOCK)]);
    place.add_customers(usize::try_from(CLIENTS).unwrap(), BALANCE);
    let token = place.admin_token();
    let mut server = Server::start(&place);
    let shared = Shared { address: RwLock::new(server.address.clone()), ..Shared::default() };
    let (server, told): (Server, Vec<Told>) = thread::scope(|scope| {
        let (shared, token) = (&shared, &token);
        let clients: Vec<_> = (1..=CLIENTS)
            .map(|customer| scope.spawn(move || shop_around(shared, customer, token)))
            .collect();
        // However this ends, the clients end.
        let enough = Enough(shared);
        let mut random = 0x2545_f491_4f6c_dd1d_u64;
        for _ in 0..KILLS {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            // The moment is counted in answers and then in spins, so that kills hit work on a machine
            // of any speed.
            let before = shared.acknowledged.load(Ordering::Relaxed);
            let after = before + usize::try_from(20 + random % 80).unwrap();
            wait_until("busy", || shared.acknowledged.load(Ordering::Relaxed) >= after);
            std::hint::black_box((0..random % 300_000).fold(0_u64, |sum, turn| sum ^ turn));
            server.kill();
            place.audit();
            server = Server::start(&place);
            shared.address.write().unwrap().clone_from(&server.address);
        }
        drop(enough);
        (server, clients.into_iter().map(|client| client.join().unwrap()).collect())
    });
    server.stop();
    assert!(told.iter().any(|told| told.tried_again > 0), "no kill hit a request");

    let mut sold = 0;
    for (customer, told) in (1..).zip(&told) {
        let orders = place.whole_list(&format!("orders list {customer}"));
        assert_eq!(orders.len(), told.orders.len(), "customer {customer}");
        for order in orders {
            assert_eq!(Some(&order), told.orders.get(&order["id"].as_i64().unwrap()));
        }
        let kept = i64::try_from(told.orders.len()).unwrap() - told.cancelled;
        let balance = BALANCE + told.charges * CHARGE - kept * PRICE;
        assert_eq!(place.json(&format!("balance {customer}"))["balance"], balance);
        sold += kept;
    }
    assert_eq!(place.json("product show 1")["stock"], STOCK - sold);
    assert_eq!(place.json("top")["items"][0]["units_sold"], sold);
    place.audit();
}

/// Tells the clients, when it is dropped, that it is enough.
struct Enough<'a>(&'a Shared);

impl Drop for Enough<'_> {
    fn drop(&mut self) {
        self.0.enough.store(true, Ordering::Relaxed);
    }
}
