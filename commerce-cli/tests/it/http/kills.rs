//! Repeated `kill -9` of a server under load: no acknowledged call is lost, and no retried call
//! took effect twice. Calls of staff have one entry each in the log of changes.

use crate::http::client::{Client, Request, Response};
use crate::http::server::{Server, wait_until};
use crate::http::workspace::Workspace;
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

/// State shared by all clients: the server's address, the number of acknowledged calls, and the
/// end.
#[derive(Default)]
struct Shared {
    address: RwLock<String>,
    acknowledged: AtomicUsize,
    stopped: AtomicBool,
}

/// The acknowledged results of one client.
#[derive(Default)]
struct Acknowledged {
    charges: i64,
    /// The last response for each order id.
    orders: BTreeMap<i64, Value>,
    cancelled: i64,
    tried_again: i64,
    replayed: i64,
}

/// Sends a request with retries by the same key, at the server's current address, until there is a
/// response.
fn insist(
    shared: &Shared,
    wire: &mut Client,
    request: &Request,
    acknowledged: &mut Acknowledged,
) -> Response {
    let mut response = None;
    let mut tries = 0;
    wait_until("answered", || {
        tries += 1;
        response = wire.try_send(request).ok();
        if response.is_none() {
            *wire = Client::new(&shared.address.read().unwrap());
        }
        response.is_some()
    });
    let response = response.unwrap();
    shared.acknowledged.fetch_add(1, Ordering::Relaxed);
    acknowledged.tried_again += i64::from(tries > 1);
    acknowledged.replayed += i64::from(response.replayed());
    assert!(tries > 1 || !response.replayed(), "a key that was not used yet is known");
    response
}

/// Charges, orders and cancels until the test ends.
fn shop_around(shared: &Shared, customer: i64, token: &str) -> Acknowledged {
    let mut acknowledged = Acknowledged::default();
    let mut wire = Client::new(&shared.address.read().unwrap());
    for turn in 0.. {
        if shared.stopped.load(Ordering::Relaxed) {
            break;
        }
        let me = format!("/v1/customers/{customer}");
        let charge = Request::post(format!("{me}/charges"), &json!({"amount": CHARGE}));
        let charge = charge.key(format!("charge-{turn}")).by(token);
        let response = insist(shared, &mut wire, &charge, &mut acknowledged);
        assert_eq!(response.status, 201, "{}", response.body);
        acknowledged.charges += 1;

        let items = json!({"items": [{"product_id": 1, "quantity": 1}]});
        let order = Request::post(format!("{me}/orders"), &items);
        let order = order.key(format!("order-{turn}")).by(token);
        let response = insist(shared, &mut wire, &order, &mut acknowledged);
        assert_eq!(response.status, 201, "{}", response.body);
        let order = response.json();
        let id = order["id"].as_i64().unwrap();
        assert!(
            acknowledged.orders.insert(id, order).is_none(),
            "order {id} was acknowledged twice"
        );

        if turn % 3 == 0 {
            let cancel = Request::new("POST", format!("/v1/orders/{id}/cancellation"));
            let cancel = cancel.key(format!("cancel-{turn}")).by(token);
            let response = insist(shared, &mut wire, &cancel, &mut acknowledged);
            assert_eq!(response.status, 200, "{}", response.body);
            acknowledged.orders.insert(id, response.json());
            acknowledged.cancelled += 1;
        }
    }
    acknowledged
}

#[test]
fn acknowledged_calls_survive_kill_9_and_happen_once() {
    let workspace = Workspace::with_products(&[(PRICE, STOCK)]);
    workspace.add_customers(usize::try_from(CLIENTS).unwrap(), BALANCE);
    let token = workspace.admin_token();
    let mut server = Server::start(&workspace);
    let shared = Shared { address: RwLock::new(server.address.clone()), ..Shared::default() };
    let (server, acknowledged): (Server, Vec<Acknowledged>) = thread::scope(|scope| {
        let (shared, token) = (&shared, &token);
        let clients: Vec<_> = (1..=CLIENTS)
            .map(|customer| scope.spawn(move || shop_around(shared, customer, token)))
            .collect();
        // The clients end with this scope, also in a panic.
        let stopped = StopOnDrop(shared);
        let mut random = 0x2545_f491_4f6c_dd1d_u64;
        for kill in 0..KILLS {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            // The moment is counted in responses and then in spins, so that kills interrupt work on
            // a machine of any speed.
            let before = shared.acknowledged.load(Ordering::Relaxed);
            let after = before + usize::try_from(20 + random % 80).unwrap();
            wait_until("busy", || shared.acknowledged.load(Ordering::Relaxed) >= after);
            std::hint::black_box((0..random % 300_000).fold(0_u64, |sum, turn| sum ^ turn));
            server.kill();
            workspace.audit();
            // The HTTP libraries take turns.
            let library = if kill % 2 == 0 { "hyper" } else { "tiny" };
            server = Server::with(&workspace, &["--server", library]);
            shared.address.write().unwrap().clone_from(&server.address);
        }
        drop(stopped);
        (server, clients.into_iter().map(|client| client.join().unwrap()).collect())
    });
    server.stop();
    assert!(
        acknowledged.iter().any(|acknowledged| acknowledged.tried_again > 0),
        "no kill hit a request"
    );

    let mut sold = 0;
    for (customer, acknowledged) in (1..).zip(&acknowledged) {
        let orders = workspace.whole_list(&format!("orders list {customer}"));
        assert_eq!(orders.len(), acknowledged.orders.len(), "customer {customer}");
        for order in orders {
            assert_eq!(Some(&order), acknowledged.orders.get(&order["id"].as_i64().unwrap()));
        }
        let kept = i64::try_from(acknowledged.orders.len()).unwrap() - acknowledged.cancelled;
        let balance = BALANCE + acknowledged.charges * CHARGE - kept * PRICE;
        assert_eq!(workspace.json(&format!("balance {customer}"))["balance"], balance);
        sold += kept;
    }
    assert_eq!(workspace.json("product show 1")["stock"], STOCK - sold);
    assert_eq!(workspace.json("top")["items"][0]["units_sold"], sold);
    // Each call was made by the admin: it and its entry in the log were kept together, once.
    let log = workspace.whole_list(&format!("log --actor customer:{}", CLIENTS + 1));
    let entries = |action: &str| log.iter().filter(|entry| entry["action"] == action).count();
    let total = |count: fn(&Acknowledged) -> i64| {
        usize::try_from(acknowledged.iter().map(count).sum::<i64>()).unwrap()
    };
    let orders: usize = acknowledged.iter().map(|acknowledged| acknowledged.orders.len()).sum();
    assert_eq!(entries("order.placed"), orders);
    assert_eq!(entries("order.cancelled"), total(|acknowledged| acknowledged.cancelled));
    assert_eq!(entries("charge.opened"), total(|acknowledged| acknowledged.charges));
    workspace.audit();
}

/// Ends the clients on drop.
struct StopOnDrop<'a>(&'a Shared);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.stopped.store(true, Ordering::Relaxed);
    }
}
