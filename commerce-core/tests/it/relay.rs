//! Relays with destinations that work, fail, hang and vanish: every paid order arrives at least once, each
//! order's events in their order, and orders wait for none of it.

use crate::common::{NOW, On, World, key};
use commerce_core::limits::DELIVERY_LEASE;
use commerce_core::{
    CancellationToken, DeliveryResult, Destination, Event, EventKind, OrderId, PageRequest,
    PlaceOrder, RelayError, RelayEvents, RelayStats, Shop,
};
use rstest::rstest;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

/// What a place does with events.
type Output = dyn Fn(&[Event]) -> DeliveryResult + Send + Sync;

/// A place in memory that keeps what has arrived.
struct Place {
    batch: usize,
    max_concurrency: usize,
    answer: Box<Output>,
    asked: Mutex<Vec<Vec<i64>>>,
    arrived: Mutex<Vec<Event>>,
    changed: Condvar,
}

impl Place {
    fn new(answer: impl Fn(&[Event]) -> DeliveryResult + Send + Sync + 'static) -> Self {
        Self {
            batch: 1,
            max_concurrency: 4,
            answer: Box::new(answer),
            asked: Mutex::default(),
            arrived: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    fn good() -> Self {
        Self::new(|_| DeliveryResult::Done)
    }

    /// Waits until so many events have arrived, however often each.
    fn wait_for(&self, count: usize) {
        self.wait_until(&self.arrived, |arrived| arrived.len() >= count);
    }

    fn wait_until<T>(&self, mutex: &Mutex<T>, done: impl Fn(&T) -> bool) {
        let waiting = mutex.lock().unwrap();
        let timeout = Duration::from_secs(180);
        let (_guard, waited) =
            self.changed.wait_timeout_while(waiting, timeout, |value| !done(value)).unwrap();
        assert!(!waited.timed_out(), "it did not come");
    }

    fn ids(&self) -> Vec<i64> {
        self.arrived.lock().unwrap().iter().map(|event| event.id.get()).collect()
    }

    fn asked(&self) -> Vec<Vec<i64>> {
        self.asked.lock().unwrap().clone()
    }
}

impl Destination for Place {
    fn max_batch_size(&self) -> usize {
        self.batch
    }

    fn max_concurrency(&self) -> usize {
        self.max_concurrency
    }

    fn deliver(&self, events: &[Event]) -> DeliveryResult {
        let ids = events.iter().map(|event| event.id.get()).collect();
        self.asked.lock().unwrap().push(ids);
        self.changed.notify_all();
        let answer = (self.answer)(events);
        if answer == DeliveryResult::Done {
            self.arrived.lock().unwrap().extend_from_slice(events);
        }
        self.changed.notify_all();
        answer
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

/// Places so many orders, whose events come next.
fn pay(shop: &Shop, orders: i64, name: &str) {
    for number in 0..orders {
        let order = PlaceOrder::new(1.into(), [(1.into(), 1)]);
        shop.place_order(order, &key(&format!("{name}-{number}"))).unwrap();
    }
}

fn once(world: &World, index: &Place) -> Result<RelayStats, RelayError> {
    world.shop.relay(index).run_once(&CancellationToken::default())
}

/// Runs a relay while something is done.
fn while_relaying<T>(world: &World, index: &Place, work: impl FnOnce() -> T) -> (T, RelayStats) {
    let stop = CancellationToken::default();
    std::thread::scope(|scope| {
        let relay = scope.spawn(|| world.shop.relay(index).run(&stop).unwrap());
        let done = work();
        stop.cancel();
        (done, relay.join().unwrap())
    })
}

#[rstest]
fn every_event_arrives_once_while_all_goes_well(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
    #[values(1, 20)] batch: usize,
) {
    let world = world(on);
    let index = Place { batch, ..Place::good() };
    let ((), relayed) = while_relaying(&world, &index, || {
        std::thread::scope(|scope| {
            for name in ["a", "b", "c", "d"] {
                let shop = &world.shop;
                scope.spawn(move || pay(shop, 50, name));
            }
        });
        for order in 1..=20 {
            world.shop.cancel_order(OrderId::new(order), &key(&format!("cancel-{order}"))).unwrap();
        }
        index.wait_for(220);
    });
    assert_eq!(relayed, RelayStats { delivered: 220, failed: 0, parked: 0 });
    assert_eq!(world.shop.relay_stats(), relayed);
    let arrived: BTreeSet<i64> = index.ids().into_iter().collect();
    assert_eq!(arrived, (1..=220).collect());
    in_order(&index);
    assert_eq!(world.shop.outbox().unwrap().waiting, 0);
    world.assert_clean();
}

/// Of each order, the payment arrives before the cancellation.
fn in_order(index: &Place) {
    let mut paid = BTreeSet::new();
    for event in &*index.arrived.lock().unwrap() {
        match event.kind {
            EventKind::OrderPaid => drop(paid.insert(event.order_id)),
            EventKind::OrderCancelled => assert!(paid.contains(&event.order_id), "{event:?}"),
        }
    }
}

/// Woken and not polled: the median is far below the time between two looks, in one round of some at least,
/// since the machine may have stood still in the others.
#[test]
fn a_commit_is_followed_by_its_delivery_at_once() {
    let world = world(On::Memory);
    let index = Place { max_concurrency: 8, ..Place::good() };
    let mut told = 0;
    let mut median = |round: i32| {
        let mut took: Vec<Duration> = Vec::new();
        for number in 1..=20 {
            pay(&world.shop, 1, &format!("order-{round}-{number}"));
            let paid = Instant::now();
            told += 1;
            index.wait_for(told);
            took.push(paid.elapsed());
        }
        took.sort_unstable();
        took[10]
    };
    let (medians, _) = while_relaying(&world, &index, || {
        let mut medians = Vec::new();
        while medians.len() < 10 && medians.last().is_none_or(|median| *median >= SOON) {
            medians.push(median(i32::try_from(medians.len()).unwrap()));
        }
        medians
    });
    assert!(*medians.last().unwrap() < SOON, "{medians:?}");
}

/// Far less than the 250 ms between two looks.
const SOON: Duration = Duration::from_millis(60);

/// Two shops on one file are to each other what two processes are.
#[test]
fn what_another_process_has_written_is_found() {
    let world = world(On::Sqlite);
    let file = world.folder.path().join("shop.db");
    let other = Shop::builder()
        .clock(std::sync::Arc::clone(&world.clock))
        .open(commerce_core::SqliteStore::open(&file).unwrap());
    let index = Place::good();
    while_relaying(&world, &index, || {
        pay(&other, 3, "order");
        index.wait_for(3);
    });
    assert_eq!(index.ids().into_iter().collect::<BTreeSet<_>>(), (1..=3).collect());
}

#[rstest]
fn several_relays_share_the_work_and_send_nothing_twice(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let world = world(on);
    pay(&world.shop, 300, "order");
    let index = Place { batch: 7, ..Place::good() };
    let relayed: Vec<RelayStats> = std::thread::scope(|scope| {
        let relays: Vec<_> =
            (0..3).map(|_| scope.spawn(|| once(&world, &index).unwrap())).collect();
        relays.into_iter().map(|relay| relay.join().unwrap()).collect()
    });
    assert_eq!(relayed.iter().map(|relayed| relayed.delivered).sum::<u64>(), 300);
    let mut ids = index.ids();
    ids.sort_unstable();
    assert_eq!(ids, (1..=300).collect::<Vec<_>>());
}

#[rstest]
fn one_poisoned_event_holds_up_no_other(#[values(1, 10)] batch: usize) {
    let world = world(On::Memory);
    pay(&world.shop, 30, "order");
    let index = Place {
        batch,
        ..Place::new(|events| if names(events, 5) { failed() } else { DeliveryResult::Done })
    };
    // What shared a request that failed is tried again by itself.
    for _ in 0..2 {
        once(&world, &index).unwrap();
        world.clock.set(world.shop.now().plus_seconds(1));
    }
    let arrived: BTreeSet<i64> = index.ids().into_iter().collect();
    assert_eq!(arrived, (1..=30).filter(|id| *id != 5).collect());
    let outbox = world.shop.outbox().unwrap();
    assert_eq!((outbox.waiting, outbox.failed, outbox.parked), (1, 1, 0));
    world.assert_clean();
}

#[rstest]
fn a_destination_that_is_down_costs_few_tries_and_all_arrives_once_it_is_back(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let world = world(on);
    pay(&world.shop, 100, "order");
    let down = Place { batch: 10, ..Place::new(|_| failed()) };
    let relayed = once(&world, &down).unwrap();
    // Three in a row shut the gate, three are under way by then, and two probes of one event follow.
    assert!(relayed.failed <= 6 * 10 + 2, "{relayed:?}");
    assert_eq!((relayed.delivered, relayed.parked), (0, 0));
    world.assert_clean();

    let up = Place { batch: 10, ..Place::good() };
    world.clock.set(NOW.plus_seconds(1));
    assert_eq!(once(&world, &up).unwrap().delivered, 100);
    assert_eq!(world.shop.outbox().unwrap().waiting, 0);
    world.assert_clean();
}

/// A pause that the destination asks for may be minutes long.
#[test]
fn who_sends_what_is_due_sits_out_no_pause_for_which_nothing_is() {
    let world = world(On::Memory);
    pay(&world.shop, 3, "order");
    let retry_after = Some(Duration::from_secs(300));
    let busy = Place {
        batch: 10,
        ..Place::new(move |_| DeliveryResult::Failed { error: "429".to_owned(), retry_after })
    };
    let started = Instant::now();
    let relayed = once(&world, &busy).unwrap();
    assert_eq!(relayed, RelayStats { delivered: 0, failed: 3, parked: 0 });
    assert!(started.elapsed() < Duration::from_secs(200), "{:?}", started.elapsed());
}

/// It goes on by itself, with no need to be told.
#[test]
fn a_destination_that_comes_back_is_found() {
    let world = world(On::Memory);
    let failures = Mutex::new(3_i32);
    let index = Place::new(move |_| {
        let mut left = failures.lock().unwrap();
        *left -= 1;
        if *left >= 0 { failed() } else { DeliveryResult::Done }
    });
    let ((), relayed) = while_relaying(&world, &index, || {
        pay(&world.shop, 20, "order");
        index.wait_for(17);
        world.clock.set(NOW.plus_seconds(1));
        index.wait_for(20);
    });
    assert_eq!(relayed, RelayStats { delivered: 20, failed: 3, parked: 0 });
}

/// Who dies after sending and before writing down is stood in for once its lease is over: the same event,
/// with the same number and content, comes again.
#[rstest]
fn what_was_sent_before_a_crash_is_sent_again(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let world = world(on);
    pay(&world.shop, 3, "order");
    let index = Place::good();
    let dying =
        RelayEvents { token: 7, outcomes: vec![], max_events: 2, fresh_first: false, jitter: 0 };
    for claimed in world.shop.call(dying).run().unwrap().events {
        index.deliver(&[claimed.event]);
    }
    assert_eq!(once(&world, &index).unwrap().delivered, 1);
    world.clock.set(NOW.plus_seconds(DELIVERY_LEASE));
    assert_eq!(once(&world, &index).unwrap().delivered, 2);
    let mut arrived: BTreeMap<i64, Vec<Event>> = BTreeMap::new();
    for event in &*index.arrived.lock().unwrap() {
        arrived.entry(event.id.get()).or_default().push(event.clone());
    }
    assert_eq!(arrived.values().map(Vec::len).collect::<Vec<_>>(), [2, 2, 1]);
    assert!(arrived.values().all(|same| same.iter().all(|event| *event == same[0])));
}

/// A place that answers nobody until it is told to.
struct Hanging {
    index: Place,
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
        let asked = self.index.deliver(events);
        let open = self.open.lock().unwrap();
        drop(self.opened.wait_while(open, |open| !*open).unwrap());
        asked
    }
}

#[rstest]
fn orders_do_not_wait_for_a_destination_that_hangs(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let world = world(on);
    let hanging = Hanging { index: Place::good(), open: Mutex::new(false), opened: Condvar::new() };
    let stop = CancellationToken::default();
    std::thread::scope(|scope| {
        let relay = scope.spawn(|| world.shop.relay(&hanging).run(&stop).unwrap());
        pay(&world.shop, 2, "first");
        hanging.index.wait_for(2);
        pay(&world.shop, 50, "more");
        assert_eq!(world.shop.outbox().unwrap().waiting, 52);
        world.assert_clean();
        stop.cancel();
        *hanging.open.lock().unwrap() = true;
        hanging.opened.notify_all();
        assert_eq!(relay.join().unwrap().delivered, 2, "what was under way is finished");
    });
    assert_eq!(world.shop.outbox().unwrap().waiting, 50);
    assert_eq!(once(&world, &hanging.index).unwrap().delivered, 50);
}

#[rstest]
#[case::alone(1)]
#[case::in_a_batch(10)]
fn who_wants_no_more_events_gets_none_and_loses_none(#[case] batch: usize) {
    let world = world(On::Sqlite);
    pay(&world.shop, 30, "order");
    let gone = |events: &[Event]| {
        let error = "410".to_owned();
        if names(events, 15) { DeliveryResult::Gone { error } } else { DeliveryResult::Done }
    };
    let index = Place { batch, max_concurrency: 1, ..Place::new(gone) };
    let Err(RelayError::Gone { error, relayed }) =
        world.shop.relay(&index).run(&CancellationToken::default())
    else {
        panic!("it went on")
    };
    let before = if batch == 1 { 14 } else { 10 };
    assert_eq!((error.as_str(), relayed.delivered), ("410", before));
    assert_eq!(world.shop.outbox().unwrap().waiting, 30 - before);
    assert_eq!(once(&world, &Place::good()).unwrap().delivered, 30 - before);
    world.assert_clean();
}

#[test]
fn a_destination_that_panics_has_failed() {
    let world = world(On::Memory);
    pay(&world.shop, 2, "order");
    let index = Place::new(|events| {
        assert!(!names(events, 1), "a defect, on purpose");
        DeliveryResult::Done
    });
    let troubles = Mutex::new(Vec::new());
    let relay = world.shop.relay(&index);
    let relay = relay.on_error(|trouble| troubles.lock().unwrap().push(trouble.to_owned()));
    let relayed = relay.run_once(&CancellationToken::default()).unwrap();
    assert_eq!(relayed, RelayStats { delivered: 1, failed: 1, parked: 0 });
    drop(relay);
    assert_eq!(
        troubles.into_inner().unwrap(),
        ["event 1 did not arrive: the destination panicked"]
    );
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

/// One that failed is tried by itself, so that those beside it are not held back with it again.
#[test]
fn what_has_failed_before_is_sent_by_itself() {
    let world = world(On::Memory);
    pay(&world.shop, 4, "order");
    let down = Place { batch: 4, max_concurrency: 1, ..Place::new(|_| failed()) };
    once(&world, &down).unwrap();
    assert_eq!(down.asked(), [[1, 2, 3, 4]], "and then nothing was due");
    pay(&world.shop, 2, "more");
    world.clock.set(NOW.plus_seconds(1));
    let up = Place { batch: 9, max_concurrency: 1, ..Place::good() };
    once(&world, &up).unwrap();
    assert_eq!(up.asked(), [vec![5, 6], vec![1], vec![2], vec![3], vec![4]]);
}

/// Whether a try of an event fails: one in three does, by numbers that have no pattern.
fn fails(event: i64, before: u64) -> bool {
    let number = u64::try_from(event).unwrap() * 16 + before;
    let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    (mixed ^ (mixed >> 32)).is_multiple_of(3)
}

/// Of 240 events 149 arrive at the first try, and the others as dense retries bring them, each up to a tenth late.
#[rstest]
fn events_arrive_soon_at_a_receiver_that_fails_one_time_in_three(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let world = world(on);
    pay(&world.shop, 240, "order");
    let tries = Mutex::new(BTreeMap::new());
    let flaky = Place {
        max_concurrency: 1,
        ..Place::new(move |events| {
            let event = events[0].id.get();
            let mut tries = tries.lock().unwrap();
            let before = tries.entry(event).or_insert(0);
            *before += 1;
            if fails(event, *before - 1) { failed() } else { DeliveryResult::Done }
        })
    };
    for (second, arrived) in [(0, 149), (1, 209), (6, 233), (39, 238), (171, 239), (831, 240)] {
        world.clock.set(NOW.plus_seconds(second));
        while world.shop.has_due_events().unwrap() {
            once(&world, &flaky).unwrap();
        }
        assert_eq!(flaky.ids().len(), arrived, "after {second} s");
    }
    assert_eq!(world.shop.outbox().unwrap().parked, 0);
    world.assert_clean();
}

/// Retries are older than new events, and many that fail for ever must not keep those from being tried.
#[test]
fn many_poisoned_events_hold_up_no_new_one() {
    let world = world(On::Memory);
    pay(&world.shop, 20, "bad");
    let poisoned = Place {
        max_concurrency: 1,
        ..Place::new(
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

/// Whatever the clock does meanwhile, what was put off or left behind goes out within a minute.
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
    // One relay has died, for another everything has failed, with a pause that was asked for.
    let dying =
        RelayEvents { token: 7, outcomes: vec![], max_events: 1, fresh_first: false, jitter: 0 };
    world.shop.call(dying).run().unwrap();
    let retry_after = Some(Duration::from_secs(30));
    let busy = Place {
        batch: 10,
        ..Place::new(move |_| DeliveryResult::Failed { error: "503".to_owned(), retry_after })
    };
    once(&world, &busy).unwrap();
    world.clock.set(NOW.plus_seconds(seconds));
    let index = Place::good();
    for _ in 0..3 {
        once(&world, &index).unwrap();
        world.clock.set(world.shop.now().plus_seconds(30));
    }
    let ids: BTreeSet<i64> = index.ids().into_iter().collect();
    assert_eq!(ids, (1..=5).collect());
    in_order(&index);
    let outbox = world.shop.outbox().unwrap();
    assert_eq!((outbox.waiting, outbox.parked), (0, 0));
    world.assert_clean();
}

const YEAR: i64 = 365 * 24 * 60 * 60;
