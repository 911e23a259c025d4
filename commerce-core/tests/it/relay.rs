//! Relays with destinations that work, fail, hang and vanish: every event is delivered at least
//! once, the events of an order in order, and orders never wait for a destination.

use crate::common::{NOW, On, World, key};
use commerce_core::limits::DELIVERY_LEASE;
use commerce_core::testing::RelayEvents;
use commerce_core::{
    CancellationToken, DeliveryResult, Destination, Event, EventKind, OrderId, PageRequest,
    PlaceOrder, RelayError, RelayStats, Shop,
};
use rstest::rstest;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

/// The behaviour of a destination.
type Deliver = dyn Fn(&[Event]) -> DeliveryResult + Send + Sync;

/// A destination in memory that keeps the delivered events.
struct Receiver {
    batch: usize,
    max_concurrency: usize,
    deliver: Box<Deliver>,
    requests: Mutex<Vec<Vec<i64>>>,
    delivered: Mutex<Vec<Event>>,
    changed: Condvar,
}

impl Receiver {
    fn new(deliver: impl Fn(&[Event]) -> DeliveryResult + Send + Sync + 'static) -> Self {
        Self {
            batch: 1,
            max_concurrency: 4,
            deliver: Box::new(deliver),
            requests: Mutex::default(),
            delivered: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    fn good() -> Self {
        Self::new(|_| DeliveryResult::Done)
    }

    /// Waits for that many deliveries, duplicates included.
    fn wait_for(&self, count: usize) {
        self.wait_until(&self.delivered, |delivered| delivered.len() >= count);
    }

    fn wait_until<T>(&self, mutex: &Mutex<T>, done: impl Fn(&T) -> bool) {
        let waiting = mutex.lock().unwrap();
        let timeout = Duration::from_secs(180);
        let (_guard, waited) =
            self.changed.wait_timeout_while(waiting, timeout, |value| !done(value)).unwrap();
        assert!(!waited.timed_out(), "timed out");
    }

    fn ids(&self) -> Vec<i64> {
        self.delivered.lock().unwrap().iter().map(|event| event.id.get()).collect()
    }

    fn requests(&self) -> Vec<Vec<i64>> {
        self.requests.lock().unwrap().clone()
    }
}

impl Destination for Receiver {
    fn max_batch_size(&self) -> usize {
        self.batch
    }

    fn max_concurrency(&self) -> usize {
        self.max_concurrency
    }

    fn deliver(&self, events: &[Event]) -> DeliveryResult {
        let ids = events.iter().map(|event| event.id.get()).collect();
        self.requests.lock().unwrap().push(ids);
        self.changed.notify_all();
        let result = (self.deliver)(events);
        if result == DeliveryResult::Done {
            self.delivered.lock().unwrap().extend_from_slice(events);
        }
        self.changed.notify_all();
        result
    }
}

fn failed() -> DeliveryResult {
    DeliveryResult::Failed { error: "503".to_owned(), retry_after: None }
}

fn names(events: &[Event], id: i64) -> bool {
    events.iter().any(|event| event.id.get() == id)
}

fn world(on: On) -> World {
    let world = World::new(on);
    world.customer(100_000_000);
    world.product(10, 1_000_000);
    world
}

/// Places that many orders.
fn pay(shop: &Shop, orders: i64, name: &str) {
    for number in 0..orders {
        let order = PlaceOrder::new(1.into(), [(1.into(), 1)]);
        shop.place_order(order, &key(&format!("{name}-{number}"))).unwrap();
    }
}

fn once(world: &World, receiver: &Receiver) -> Result<RelayStats, RelayError> {
    world.shop.relay(receiver).run_once(&CancellationToken::default())
}

/// Runs a relay during the work.
fn while_relaying<T>(
    world: &World,
    receiver: &Receiver,
    work: impl FnOnce() -> T,
) -> (T, RelayStats) {
    let stop = CancellationToken::default();
    std::thread::scope(|scope| {
        let relay = scope.spawn(|| world.shop.relay(receiver).run(&stop).unwrap());
        let done = work();
        stop.cancel();
        (done, relay.join().unwrap())
    })
}

#[rstest]
fn relay_delivers_each_event_once_without_failures(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
    #[values(1, 20)] batch: usize,
) {
    let world = world(on);
    let receiver = Receiver { batch, ..Receiver::good() };
    let ((), relayed) = while_relaying(&world, &receiver, || {
        std::thread::scope(|scope| {
            for name in ["a", "b", "c", "d"] {
                let shop = &world.shop;
                scope.spawn(move || pay(shop, 50, name));
            }
        });
        for order in 1..=20 {
            world.shop.cancel_order(OrderId::new(order), &key(&format!("cancel-{order}"))).unwrap();
        }
        receiver.wait_for(220);
    });
    assert_eq!((relayed.delivered, relayed.failed, relayed.parked), (220, 0, 0));
    assert_eq!(world.shop.relay_stats(), relayed);
    let delivered: BTreeSet<i64> = receiver.ids().into_iter().collect();
    assert_eq!(delivered, (1..=220).collect());
    assert_in_order(&receiver);
    assert_eq!(world.shop.outbox().unwrap().waiting, 0);
    world.assert_clean();
}

/// Asserts that the payment of each order was delivered before its cancellation.
fn assert_in_order(receiver: &Receiver) {
    let mut paid = BTreeSet::new();
    for event in &*receiver.delivered.lock().unwrap() {
        if event.kind == EventKind::OrderPaid {
            paid.insert(event.order_id);
        }
        assert!(paid.contains(&event.order_id), "{event:?}");
    }
}

/// The relay is notified, not polling: the median is far below the poll interval in at least one
/// round, since the machine may have been busy in the others.
#[test]
fn commit_wakes_the_relay_at_once() {
    let world = world(On::Memory);
    let receiver = Receiver { max_concurrency: 8, ..Receiver::good() };
    let mut count = 0;
    let mut median = |round: i32| {
        let mut took: Vec<Duration> = Vec::new();
        for number in 1..=20 {
            pay(&world.shop, 1, &format!("order-{round}-{number}"));
            let paid = Instant::now();
            count += 1;
            receiver.wait_for(count);
            took.push(paid.elapsed());
        }
        took.sort_unstable();
        took[10]
    };
    let (medians, _) = while_relaying(&world, &receiver, || {
        let mut medians = Vec::new();
        while medians.len() < 10 && medians.last().is_none_or(|median| *median >= SOON) {
            medians.push(median(i32::try_from(medians.len()).unwrap()));
        }
        medians
    });
    assert!(*medians.last().unwrap() < SOON, "{medians:?}");
}

/// Far below the poll interval of 250 ms.
const SOON: Duration = Duration::from_millis(60);

/// Two shops on one file act like two processes.
#[test]
fn relay_finds_events_of_another_process() {
    let world = world(On::Sqlite);
    let file = world.folder.path().join("shop.db");
    let other = Shop::builder()
        .clock(std::sync::Arc::clone(&world.clock))
        .open(commerce_core::SqliteStore::open(&file).unwrap());
    let receiver = Receiver::good();
    while_relaying(&world, &receiver, || {
        pay(&other, 3, "order");
        receiver.wait_for(3);
    });
    assert_eq!(receiver.ids().into_iter().collect::<BTreeSet<_>>(), (1..=3).collect());
}

#[rstest]
fn concurrent_relays_share_events_without_duplicates(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let world = world(on);
    pay(&world.shop, 300, "order");
    let receiver = Receiver { batch: 7, ..Receiver::good() };
    let relayed: Vec<RelayStats> = std::thread::scope(|scope| {
        let relays: Vec<_> =
            (0..3).map(|_| scope.spawn(|| once(&world, &receiver).unwrap())).collect();
        relays.into_iter().map(|relay| relay.join().unwrap()).collect()
    });
    assert_eq!(relayed.iter().map(|relayed| relayed.delivered).sum::<u64>(), 300);
    let mut ids = receiver.ids();
    ids.sort_unstable();
    assert_eq!(ids, (1..=300).collect::<Vec<_>>());
}

#[rstest]
fn poisoned_event_delays_no_other(#[values(1, 10)] batch: usize) {
    let world = world(On::Memory);
    pay(&world.shop, 30, "order");
    let receiver = Receiver {
        batch,
        ..Receiver::new(|events| if names(events, 5) { failed() } else { DeliveryResult::Done })
    };
    // Events of a failed batch are retried one by one.
    for _ in 0..2 {
        once(&world, &receiver).unwrap();
        world.clock.set(world.shop.now().plus_seconds(1));
    }
    let delivered: BTreeSet<i64> = receiver.ids().into_iter().collect();
    assert_eq!(delivered, (1..=30).filter(|id| *id != 5).collect());
    let outbox = world.shop.outbox().unwrap();
    assert_eq!((outbox.waiting, outbox.failed, outbox.parked), (1, 1, 0));
    world.assert_clean();
}

#[rstest]
fn circuit_breaker_bounds_attempts_while_a_destination_is_down(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let world = world(on);
    pay(&world.shop, 100, "order");
    let down = Receiver { batch: 10, ..Receiver::new(|_| failed()) };
    let relayed = once(&world, &down).unwrap();
    // Three failures in a row open the circuit breaker, three requests are in flight by then, and
    // two probes of one event follow.
    assert!(relayed.failed <= 6 * 10 + 2, "{relayed:?}");
    assert_eq!((relayed.delivered, relayed.parked), (0, 0));
    world.assert_clean();

    let up = Receiver { batch: 10, ..Receiver::good() };
    world.clock.set(NOW.plus_seconds(1));
    assert_eq!(once(&world, &up).unwrap().delivered, 100);
    assert_eq!(world.shop.outbox().unwrap().waiting, 0);
    world.assert_clean();
}

/// A `Retry-After` of the destination may be minutes long.
#[test]
fn run_once_does_not_wait_for_retry_after() {
    let world = world(On::Memory);
    pay(&world.shop, 3, "order");
    let retry_after = Some(Duration::from_secs(300));
    let busy = Receiver {
        batch: 10,
        ..Receiver::new(move |_| DeliveryResult::Failed { error: "429".to_owned(), retry_after })
    };
    let started = Instant::now();
    let relayed = once(&world, &busy).unwrap();
    assert_eq!((relayed.delivered, relayed.failed, relayed.parked), (0, 3, 0));
    assert!(started.elapsed() < Duration::from_secs(200), "{:?}", started.elapsed());
}

/// The relay retries by itself, without a notification.
#[test]
fn relay_resumes_when_a_destination_recovers() {
    let world = world(On::Memory);
    let failures = Mutex::new(3_i32);
    let receiver = Receiver::new(move |_| {
        let mut left = failures.lock().unwrap();
        *left -= 1;
        if *left >= 0 { failed() } else { DeliveryResult::Done }
    });
    let ((), relayed) = while_relaying(&world, &receiver, || {
        pay(&world.shop, 20, "order");
        receiver.wait_for(17);
        world.clock.set(NOW.plus_seconds(1));
        receiver.wait_for(20);
    });
    assert_eq!((relayed.delivered, relayed.failed, relayed.parked), (20, 3, 0));
}

/// If a relay crashes after sending and before recording, the event is sent again when the lease
/// expires, with the same id and content.
#[rstest]
fn unrecorded_delivery_of_a_crashed_relay_is_repeated(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let world = world(on);
    pay(&world.shop, 3, "order");
    let receiver = Receiver::good();
    let dying =
        RelayEvents { token: 7, outcomes: vec![], max_events: 2, fresh_first: false, jitter: 0 };
    for claimed in world.shop.call(dying).run().unwrap().events {
        receiver.deliver(&[claimed.event]);
    }
    assert_eq!(once(&world, &receiver).unwrap().delivered, 1);
    world.clock.set(NOW.plus_seconds(DELIVERY_LEASE));
    assert_eq!(once(&world, &receiver).unwrap().delivered, 2);
    let mut delivered: BTreeMap<i64, Vec<Event>> = BTreeMap::new();
    for event in &*receiver.delivered.lock().unwrap() {
        delivered.entry(event.id.get()).or_default().push(event.clone());
    }
    assert_eq!(delivered.values().map(Vec::len).collect::<Vec<_>>(), [2, 2, 1]);
    assert!(delivered.values().all(|same| same.iter().all(|event| *event == same[0])));
}

/// A destination that blocks every request until it is released.
struct Hanging {
    receiver: Receiver,
    open: Mutex<bool>,
    opened: Condvar,
}

impl Destination for Hanging {
    fn max_batch_size(&self) -> usize {
        1
    }

    fn max_concurrency(&self) -> usize {
        2
    }

    fn deliver(&self, events: &[Event]) -> DeliveryResult {
        let result = self.receiver.deliver(events);
        let open = self.open.lock().unwrap();
        drop(self.opened.wait_while(open, |open| !*open).unwrap());
        result
    }
}

#[rstest]
fn orders_do_not_wait_for_a_hanging_destination(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let world = world(on);
    let hanging =
        Hanging { receiver: Receiver::good(), open: Mutex::new(false), opened: Condvar::new() };
    let stop = CancellationToken::default();
    std::thread::scope(|scope| {
        let relay = scope.spawn(|| world.shop.relay(&hanging).run(&stop).unwrap());
        pay(&world.shop, 2, "first");
        hanging.receiver.wait_for(2);
        pay(&world.shop, 50, "more");
        assert_eq!(world.shop.outbox().unwrap().waiting, 52);
        world.assert_clean();
        stop.cancel();
        *hanging.open.lock().unwrap() = true;
        hanging.opened.notify_all();
        assert_eq!(relay.join().unwrap().delivered, 2, "requests in flight are finished");
    });
    assert_eq!(world.shop.outbox().unwrap().waiting, 50);
    assert_eq!(once(&world, &hanging.receiver).unwrap().delivered, 50);
}

#[rstest]
#[case::alone(1)]
#[case::in_a_batch(10)]
fn relay_stops_on_410_without_losing_events(#[case] batch: usize) {
    let world = world(On::Sqlite);
    pay(&world.shop, 30, "order");
    let gone = |events: &[Event]| {
        let error = "410".to_owned();
        if names(events, 15) { DeliveryResult::Gone { error } } else { DeliveryResult::Done }
    };
    let receiver = Receiver { batch, max_concurrency: 1, ..Receiver::new(gone) };
    let Err(RelayError::Gone { error, relayed }) =
        world.shop.relay(&receiver).run(&CancellationToken::default())
    else {
        panic!("the relay continued")
    };
    let before = if batch == 1 { 14 } else { 10 };
    assert_eq!((error.as_str(), relayed.delivered), ("410", before));
    assert_eq!(world.shop.outbox().unwrap().waiting, 30 - before);
    assert_eq!(once(&world, &Receiver::good()).unwrap().delivered, 30 - before);
    world.assert_clean();
}

#[test]
fn panic_of_a_destination_counts_as_a_failed_attempt() {
    let world = world(On::Memory);
    pay(&world.shop, 2, "order");
    let receiver = Receiver::new(|events| {
        assert!(!names(events, 1), "injected panic");
        DeliveryResult::Done
    });
    let errors = Mutex::new(Vec::new());
    let relay = world.shop.relay(&receiver);
    let relay = relay.on_error(|error| errors.lock().unwrap().push(error.to_owned()));
    let relayed = relay.run_once(&CancellationToken::default()).unwrap();
    assert_eq!((relayed.delivered, relayed.failed, relayed.parked), (1, 1, 0));
    drop(relay);
    assert_eq!(errors.into_inner().unwrap(), ["event 1 did not arrive: the destination panicked"]);
    let page = world.shop.tracked_events(&PageRequest::default()).unwrap();
    let shown = serde_json::to_value(&page.items[0]).unwrap();
    let expected = serde_json::json!({
        "status": "waiting",
        "attempts": 1,
        "due_at": "2026-01-01T00:00:01Z",
        "error": "the destination panicked",
    });
    assert_eq!(shown["delivery"], expected);
}

/// A failed event is retried alone, so that it does not delay the events beside it again.
#[test]
fn failed_events_are_retried_one_at_a_time() {
    let world = world(On::Memory);
    pay(&world.shop, 4, "order");
    let down = Receiver { batch: 4, max_concurrency: 1, ..Receiver::new(|_| failed()) };
    once(&world, &down).unwrap();
    assert_eq!(down.requests(), [[1, 2, 3, 4]], "no other event was due");
    pay(&world.shop, 2, "more");
    world.clock.set(NOW.plus_seconds(1));
    let up = Receiver { batch: 9, max_concurrency: 1, ..Receiver::good() };
    once(&world, &up).unwrap();
    assert_eq!(up.requests(), [vec![5, 6], vec![1], vec![2], vec![3], vec![4]]);
}

/// Returns true if an attempt fails: pseudo-randomly, one in three.
fn fails(event: i64, before: u64) -> bool {
    let number = u64::try_from(event).unwrap() * 16 + before;
    let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    (mixed ^ (mixed >> 32)).is_multiple_of(3)
}

/// Of 240 events 149 are delivered by the first attempt, and the others by the dense first retries,
/// each up to a tenth late.
#[rstest]
fn retries_deliver_soon_at_a_one_in_three_failure_rate(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let world = world(on);
    pay(&world.shop, 240, "order");
    let attempts = Mutex::new(BTreeMap::new());
    let flaky = Receiver {
        max_concurrency: 1,
        ..Receiver::new(move |events| {
            let event = events[0].id.get();
            let mut attempts = attempts.lock().unwrap();
            let before = attempts.entry(event).or_insert(0);
            *before += 1;
            if fails(event, *before - 1) { failed() } else { DeliveryResult::Done }
        })
    };
    for (second, delivered) in [(0, 149), (1, 209), (6, 233), (39, 238), (171, 239), (831, 240)] {
        world.clock.set(NOW.plus_seconds(second));
        while world.shop.has_due_events().unwrap() {
            once(&world, &flaky).unwrap();
        }
        assert_eq!(flaky.ids().len(), delivered, "after {second} s");
    }
    assert_eq!(world.shop.outbox().unwrap().parked, 0);
    world.assert_clean();
}

/// Retries are older than new events; many events that always fail must not starve the new ones.
#[test]
fn many_poisoned_events_delay_no_new_event() {
    let world = world(On::Memory);
    pay(&world.shop, 20, "bad");
    let poisoned = Receiver {
        max_concurrency: 1,
        ..Receiver::new(
            |events| if events[0].id.get() <= 20 { failed() } else { DeliveryResult::Done },
        )
    };
    while world.shop.outbox().unwrap().failed < 20 {
        once(&world, &poisoned).unwrap();
    }
    world.clock.set(NOW.plus_seconds(1));
    pay(&world.shop, 10, "good");
    assert_eq!(once(&world, &poisoned).unwrap().delivered, 10);
    world.assert_clean();
}

/// Whatever the clock does, delayed and abandoned events are delivered within a minute.
#[rstest]
#[case::set_back_by_years(-10 * YEAR)]
#[case::set_back_by_hours(-9 * 60 * 60)]
#[case::set_ahead_by_hours(9 * 60 * 60)]
#[case::set_ahead_by_years(10 * YEAR)]
fn no_event_is_stuck_when_the_clock_is_set(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
    #[case] seconds: i64,
) {
    let world = world(on);
    pay(&world.shop, 4, "order");
    world.shop.cancel_order(OrderId::new(1), &key("cancel-1")).unwrap();
    // One relay has crashed; all requests of another have failed with a `Retry-After`.
    let dying =
        RelayEvents { token: 7, outcomes: vec![], max_events: 1, fresh_first: false, jitter: 0 };
    world.shop.call(dying).run().unwrap();
    let retry_after = Some(Duration::from_secs(30));
    let busy = Receiver {
        batch: 10,
        ..Receiver::new(move |_| DeliveryResult::Failed { error: "503".to_owned(), retry_after })
    };
    once(&world, &busy).unwrap();
    world.clock.set(NOW.plus_seconds(seconds));
    let receiver = Receiver::good();
    for _ in 0..3 {
        once(&world, &receiver).unwrap();
        world.clock.set(world.shop.now().plus_seconds(30));
    }
    let ids: BTreeSet<i64> = receiver.ids().into_iter().collect();
    assert_eq!(ids, (1..=5).collect());
    assert_in_order(&receiver);
    let outbox = world.shop.outbox().unwrap();
    assert_eq!((outbox.waiting, outbox.parked), (0, 0));
    world.assert_clean();
}

const YEAR: i64 = 365 * 24 * 60 * 60;
