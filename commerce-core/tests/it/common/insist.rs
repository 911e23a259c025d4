//! Callers that place orders and retry with the same keys until each call succeeds, whatever
//! happens to the server meanwhile; and the checks at the end.

use super::key;
use commerce_core::{
    AddCustomer, AddProduct, Error, Money, Order, OrderId, Outcome, PendingCall, PlaceOrder, Shop,
    StoreError,
};
use postgres::Client;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// The timeout of a shop's calls.
pub const TIMEOUT: Duration = Duration::from_secs(10);

/// The bound on every wait: for the writer lock, and then for an answer that does not come. Half of
/// it is enough on a machine that is not slow and busy.
pub const LONGEST: Duration = Duration::from_secs(60);

/// Adds enough customers, money and stock for all orders.
pub fn fill(shop: &Shop) {
    for _ in 0..20 {
        let balance = Money::from_minor(1_000_000_000);
        shop.call(AddCustomer { balance, ..AddCustomer::new("Kim") }).run().unwrap();
        let request = AddProduct::new("Tea", Money::from_minor(10), 1_000_000_000);
        shop.call(request).run().unwrap();
    }
}

/// Places the order of that name, for the first time or again.
pub fn place_again(shop: &Shop, name: &str) -> Outcome<Order> {
    shop.call(order(name)).key(&key(name)).outcome()
}

/// Places the orders of those names, as [`place_again`] does, in shared commits.
pub fn place_all_again<'a>(
    shop: &Shop,
    names: impl IntoIterator<Item = &'a String>,
) -> Vec<Outcome<Order>> {
    let calls = names.into_iter().map(|name| shop.call(order(name)).key(&key(name)).submit());
    let calls: Vec<_> = calls.collect();
    calls.into_iter().map(PendingCall::outcome).collect()
}

fn order(name: &str) -> PlaceOrder {
    let customer = 1 + i64::try_from(name.len() % 20).unwrap();
    let order = PlaceOrder::new(customer.into(), [(1.into(), 1), (2.into(), 2)]);
    PlaceOrder { reference: Some(name.to_owned()), ..order }
}

/// Sets the flag on drop, also in a panic: callers that went on would keep a failing test from
/// ending.
pub struct StopOnDrop<'a>(pub &'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Counts of the outcomes that callers got.
#[derive(Debug, Default)]
pub struct CallerStats {
    orders: AtomicUsize,
    unknown: AtomicUsize,
    busy: AtomicUsize,
    longest_millis: AtomicUsize,
}

impl CallerStats {
    /// Places orders until the flag is set; returns the acknowledged ones.
    pub fn orders(&self, shop: &Shop, caller: usize, over: &AtomicBool) -> Vec<(OrderId, String)> {
        let names = (0..).map(|turn| format!("caller-{caller}-{turn}"));
        let names = names.take_while(|_| !over.load(Ordering::Relaxed));
        names.map(|name| (self.insist(shop, &name).id, name)).collect()
    }

    /// Places the order of that name, with retries until there is an answer.
    fn insist(&self, shop: &Shop, name: &str) -> Order {
        loop {
            let begun = Instant::now();
            let outcome = place_again(shop, name);
            let millis = usize::try_from(begun.elapsed().as_millis()).unwrap();
            self.longest_millis.fetch_max(millis, Ordering::Relaxed);
            match outcome.result {
                Ok(order) => {
                    self.orders.fetch_add(1, Ordering::Relaxed);
                    return order;
                }
                Err(Error::Store(StoreError::CommitUnknown(_))) => {
                    self.unknown.fetch_add(1, Ordering::Relaxed)
                }
                Err(Error::Store(StoreError::Busy(_))) => self.busy.fetch_add(1, Ordering::Relaxed),
                Err(error) => panic!("{error}"),
            };
        }
    }

    /// The number of orders acknowledged so far.
    pub fn acknowledged(&self) -> usize {
        self.orders.load(Ordering::Relaxed)
    }

    pub fn longest(&self) -> Duration {
        let millis = self.longest_millis.load(Ordering::Relaxed);
        Duration::from_millis(millis.try_into().unwrap())
    }
}

impl fmt::Display for CallerStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unknown, busy) = (&self.unknown, &self.busy);
        let (unknown, busy) = (unknown.load(Ordering::Relaxed), busy.load(Ordering::Relaxed));
        write!(f, "{unknown} unknown, {busy} busy, the longest wait {:?}", self.longest())
    }
}

/// Asserts that each acknowledged order exists, and no other.
pub fn assert_each_once(acknowledged: &[(OrderId, String)], shop: &Shop, admin: &mut Client) {
    let again = place_all_again(shop, acknowledged.iter().map(|(_, name)| name));
    for ((id, name), again) in acknowledged.iter().zip(again) {
        assert!(again.replayed, "{name} was acknowledged and is lost");
        assert_eq!(again.result.unwrap().id, *id);
    }
    let sql = "SELECT count(*), count(DISTINCT reference) FROM orders";
    let row = admin.query_one(sql, &[]).unwrap();
    let placed = i64::try_from(acknowledged.len()).unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (placed, placed));
}
