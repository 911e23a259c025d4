//! Event leases and recorded outcomes, on every store: the events that a relay may lease, and when.
//! Relays and destinations are in `relay.rs`.

use crate::common::{NOW, On, World, key};
use commerce_core::limits::{DELIVERY_LEASE, MAX_RETRY_AFTER, MAX_TEXT, RETRY_DELAYS};
use commerce_core::testing::{
    AttemptResult, DeliveryOutcome, EventLease, LeasedEvent, RelayEvents,
};
use commerce_core::{Code, DeliveryState, OrderId, PageRequest, PlaceOrder};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{FailurePersistence, FileFailurePersistence};
use rstest::rstest;
use std::collections::BTreeMap;

/// Opens a shop with that many paid orders; their events have the ids of the orders.
fn paid(on: On, orders: i64) -> World {
    let world = World::new(on);
    let (customer, product) = (world.customer(1_000_000).id, world.product(10, 10_000).id);
    for number in 0..orders {
        let order = PlaceOrder::new(customer, [(product, 1)]);
        world.shop.place_order(order, &key(&format!("order-{number}"))).unwrap();
    }
    world
}

fn cancel(world: &World, order: i64) {
    world.shop.cancel_order(OrderId::new(order), &key(&format!("cancel-{order}"))).unwrap();
}

fn request(
    world: &World,
    token: i64,
    outcomes: Vec<DeliveryOutcome>,
    max_events: usize,
) -> EventLease {
    world
        .shop
        .call(RelayEvents { token, outcomes, max_events, fresh_first: false, jitter: 0 })
        .run()
        .unwrap()
}

/// Leases events and returns their ids.
fn lease(world: &World, token: i64, max_events: usize) -> Vec<i64> {
    ids(&request(world, token, vec![], max_events))
}

fn ids(claim: &EventLease) -> Vec<i64> {
    claim.events.iter().map(|claimed| claimed.event.id.get()).collect()
}

fn outcome(claimed: &LeasedEvent, result: &AttemptResult) -> DeliveryOutcome {
    let (event_id, order_id) = (claimed.event.id, claimed.event.order_id);
    DeliveryOutcome { event_id, order_id, result: result.clone() }
}

/// Records the same outcome for all leased events.
fn record(world: &World, token: i64, claim: &EventLease, result: &AttemptResult) -> EventLease {
    let outcomes = claim.events.iter().map(|claimed| outcome(claimed, result)).collect();
    request(world, token, outcomes, 0)
}

fn failed() -> AttemptResult {
    AttemptResult::Failed { error: "503".to_owned(), retry_after: None }
}

/// Fails the leased events until they are parked, and returns the number of parked events. Other
/// events that are leased meanwhile are released.
fn park(world: &World, token: i64, mut claim: EventLease) -> u64 {
    let (bad, max_events) = (ids(&claim), claim.events.len());
    let mut parked = 0;
    for delay in RETRY_DELAYS.map(Some).into_iter().chain([None]) {
        let outcome = |claimed: &LeasedEvent| {
            let is_bad = bad.contains(&claimed.event.id.get());
            outcome(claimed, &if is_bad { failed() } else { AttemptResult::Released })
        };
        let outcomes = claim.events.iter().map(outcome).collect();
        parked += request(world, token, outcomes, 0).parked;
        let Some(delay) = delay else { break };
        world.clock.set(world.shop.now().plus_seconds(delay));
        claim = request(world, token, vec![], max_events);
    }
    parked
}

fn states(world: &World) -> Vec<DeliveryState> {
    let page = world.shop.tracked_events(&PageRequest::first(100)).unwrap();
    page.items.into_iter().map(|row| row.delivery).collect()
}

fn outbox(world: &World) -> (u64, u64) {
    let outbox = world.shop.outbox().unwrap();
    assert_eq!(outbox.oldest.is_some(), outbox.waiting + outbox.parked > 0);
    (outbox.waiting, outbox.parked)
}

#[rstest]
fn event_is_leased_to_one_relay_until_delivered(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let world = paid(on, 5);
    assert_eq!(outbox(&world), (5, 0));
    let first = request(&world, 1, vec![], 2);
    assert_eq!((ids(&first), first.more), (vec![1, 2], true));
    let second = request(&world, 2, vec![], 9);
    assert_eq!((ids(&second), second.more), (vec![3, 4, 5], false));
    assert_eq!(lease(&world, 3, 9), [0; 0]);
    assert_eq!(outbox(&world), (5, 0));
    let until = NOW.plus_seconds(DELIVERY_LEASE);
    assert_eq!(states(&world)[1], DeliveryState::Sending { attempts: 0, until });
    world.assert_clean();
    record(&world, 1, &first, &AttemptResult::Delivered);
    record(&world, 2, &second, &AttemptResult::Delivered);
    assert_eq!(states(&world), vec![DeliveryState::Delivered; 5]);
    assert_eq!(outbox(&world), (0, 0));
    assert!(!world.shop.has_due_events().unwrap());
    world.assert_clean();
}

/// A relay without due events must neither write nor delay other writers.
#[rstest]
fn poll_without_due_events_commits_nothing(#[values(On::Memory, On::Sqlite, On::Postgres)] on: On) {
    let world = paid(on, 1);
    let claim = request(&world, 1, vec![], 5);
    let before = world.shop.stats().commits;
    assert_eq!(lease(&world, 1, 5), [0; 0]);
    record(&world, 2, &claim, &AttemptResult::Delivered);
    assert_eq!(world.shop.stats().commits, before);
}

/// An event keeps the order as it was at that instant, whatever happens to the order later.
#[rstest]
fn events_of_an_order_are_leased_in_order(#[values(On::Memory, On::Sqlite, On::Postgres)] on: On) {
    let world = paid(on, 2);
    cancel(&world, 1);
    let claim = request(&world, 1, vec![], 9);
    assert_eq!((ids(&claim), claim.more), (vec![1, 2], true));
    assert_eq!(claim.events[0].event.data.status, commerce_core::OrderStatus::Paid);
    let behind = DeliveryState::Waiting { attempts: 0, due_at: None, error: None };
    assert_eq!(states(&world)[2], behind);
    assert_eq!(lease(&world, 2, 9), [0; 0]);
    world.assert_clean();
    let outcome = record(&world, 1, &claim, &AttemptResult::Delivered);
    assert!(outcome.more, "the next event is due");
    assert!(world.shop.has_due_events().unwrap());
    assert_eq!(lease(&world, 2, 9), [3]);
    world.assert_clean();
}

#[rstest]
fn expired_lease_passes_on_and_its_late_outcome_is_ignored(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let world = paid(on, 1);
    let lost = request(&world, 1, vec![], 1);
    world.clock.set(NOW.plus_seconds(DELIVERY_LEASE - 1));
    assert_eq!(lease(&world, 2, 1), [0; 0]);
    assert!(!world.shop.has_due_events().unwrap());
    world.clock.set(NOW.plus_seconds(DELIVERY_LEASE));
    assert!(world.shop.has_due_events().unwrap());
    let leased = request(&world, 2, vec![], 1);
    assert_eq!(leased, lost, "the same event with the same content");
    for result in [AttemptResult::Delivered, failed(), AttemptResult::Released] {
        record(&world, 1, &lost, &result);
        assert!(matches!(states(&world)[0], DeliveryState::Sending { attempts: 0, .. }));
    }
    record(&world, 2, &leased, &AttemptResult::Delivered);
    assert_eq!(states(&world), [DeliveryState::Delivered]);
}

#[rstest]
fn event_is_parked_after_eleven_attempts_over_two_days(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let world = paid(on, 2);
    cancel(&world, 1);
    let mut now = NOW;
    for (attempts, delay) in (0..).zip(RETRY_DELAYS) {
        let claim = request(&world, 1, vec![], 1);
        assert_eq!((ids(&claim), claim.events[0].attempts), (vec![1], attempts));
        assert_eq!(record(&world, 1, &claim, &failed()).parked, 0);
        if attempts == 0 {
            let claim = request(&world, 1, vec![], 9);
            assert_eq!(ids(&claim), [2], "the cancellation waits behind the payment");
            record(&world, 1, &claim, &AttemptResult::Delivered);
        }
        now = now.plus_seconds(delay);
        let (due_at, error) = (Some(now), Some("503".to_owned()));
        let waits = DeliveryState::Waiting { attempts: attempts + 1, due_at, error };
        assert_eq!(states(&world)[0], waits);
        world.clock.set(now.plus_seconds(-1));
        assert_eq!(lease(&world, 1, 9), [0; 0]);
        world.clock.set(now);
    }
    assert_eq!(now.unix() - NOW.unix(), 44 * 3_600 + 42 * 60 + 36);
    let claim = request(&world, 1, vec![], 1);
    assert_eq!(record(&world, 1, &claim, &failed()).parked, 2);
    let parked = |attempts, error: &str| DeliveryState::Parked {
        attempts,
        since: now,
        error: Some(error.to_owned()),
    };
    let behind = parked(0, "event 1 of the same order is parked");
    assert_eq!(states(&world), [parked(11, "503"), DeliveryState::Delivered, behind]);
    assert_eq!(outbox(&world), (0, 2));
    assert_eq!(
        world.shop.outbox().unwrap().oldest,
        Some(NOW),
        "parked events count as undelivered"
    );
    world.clock.set(now.plus_seconds(1_000_000));
    assert_eq!(lease(&world, 1, 9), [0; 0]);
    world.assert_clean();
}

#[rstest]
#[case::sooner_than_the_table(0, RETRY_DELAYS[0])]
#[case::later_than_the_table(600, 600)]
#[case::too_late(i64::MAX, MAX_RETRY_AFTER)]
fn retry_after_delays_a_retry_within_a_bound(#[case] retry_after: i64, #[case] expected: i64) {
    let world = paid(On::Memory, 1);
    let claim = request(&world, 1, vec![], 1);
    let result = AttemptResult::Failed { error: "429".to_owned(), retry_after: Some(retry_after) };
    record(&world, 1, &claim, &result);
    let due = NOW.plus_seconds(expected);
    assert!(
        matches!(states(&world)[0], DeliveryState::Waiting { due_at: Some(at), .. } if at == due)
    );
}

/// If a store refused the text, its outcome would be recorded and refused forever.
#[rstest]
fn delivery_error_is_stored_as_one_bounded_line(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let world = paid(on, 1);
    let claim = request(&world, 1, vec![], 1);
    let error = format!("a\0b\n{}", "c".repeat(1_000));
    record(&world, 1, &claim, &AttemptResult::Failed { error, retry_after: None });
    let kept = format!("a b {}", "c".repeat(MAX_TEXT - 4));
    assert!(
        matches!(&states(&world)[0], DeliveryState::Waiting { error, .. } if *error == Some(kept))
    );
}

#[test]
fn retry_jitter_is_at_most_a_tenth_of_the_delay() {
    let world = paid(On::Memory, 1);
    for (jitter, expected) in [(0, 1), (100, 5), (0, 30), (100, 132), (i64::MAX, 660)] {
        let claim = request(&world, 1, vec![], 1);
        let outcomes = vec![outcome(&claim.events[0], &failed())];
        let now = world.shop.now();
        let settled = RelayEvents { token: 1, outcomes, max_events: 0, fresh_first: false, jitter };
        world.shop.call(settled).run().unwrap();
        let due = now.plus_seconds(expected);
        assert!(
            matches!(states(&world)[0], DeliveryState::Waiting { due_at: Some(at), .. } if at == due)
        );
        world.clock.set(due);
    }
}

#[rstest]
fn parked_event_blocks_only_its_own_order(#[values(On::Memory, On::Sqlite, On::Postgres)] on: On) {
    let world = paid(on, 3);
    let claim = request(&world, 1, vec![], 1);
    assert_eq!(park(&world, 1, claim), 1);
    cancel(&world, 1);
    assert_eq!(lease(&world, 1, 9), [2, 3]);
    assert_eq!(lease(&world, 1, 9), [0; 0]);
    let page = world.shop.parked_events(&PageRequest::first(1)).unwrap();
    let (event, cursor) = (page.items[0].event.id.get(), page.next_cursor.as_deref());
    assert_eq!((event, cursor), (1, Some("parked-events-4")));
    let next = PageRequest { cursor: page.next_cursor, ..PageRequest::first(1) };
    let page = world.shop.parked_events(&next).unwrap();
    assert_eq!((page.items[0].event.id.get(), page.next_cursor), (4, None));
    world.assert_clean();
}

#[rstest]
fn released_event_is_due_at_once_without_an_attempt(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let world = paid(on, 2);
    let claim = request(&world, 1, vec![], 2);
    assert!(record(&world, 1, &claim, &AttemptResult::Released).more);
    assert_eq!(request(&world, 2, vec![], 2), claim);
}

#[rstest]
#[case::all(None, 3, &[1, 2])]
#[case::one(Some(vec![2]), 1, &[2])]
#[case::the_later_of_an_order_takes_the_earlier_along(Some(vec![4]), 2, &[1])]
#[case::not_parked_or_not_there(Some(vec![3, 77, 0, -1]), 0, &[])]
fn retry_events_sends_parked_events_in_order(
    #[case] events: Option<Vec<i64>>,
    #[case] count: u64,
    #[case] leased: &[i64],
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let world = paid(on, 3);
    let claim = request(&world, 1, vec![], 2);
    park(&world, 1, claim);
    assert_eq!(lease(&world, 1, 1), [3]);
    cancel(&world, 1);
    assert_eq!(lease(&world, 1, 9), [0; 0]);
    let events = events.map(|ids| ids.into_iter().map(Into::into).collect());
    assert_eq!(world.shop.retry_events(events).unwrap(), count);
    world.assert_clean();
    let claim = request(&world, 1, vec![], 9);
    assert_eq!(ids(&claim), leased);
    assert!(claim.events.iter().all(|claimed| claimed.attempts == 0));
    record(&world, 1, &claim, &AttemptResult::Delivered);
    let released = if leased.contains(&1) { vec![4] } else { vec![] };
    assert_eq!(lease(&world, 1, 9), released);
    world.assert_clean();
}

#[rstest]
fn replay_events_sends_history_in_any_state(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let world = paid(on, 6);
    cancel(&world, 2);
    // Events 1 and 2 are delivered, 3 is parked, 4 waits for its retry, 5 is leased, 6 and 7 are
    // new.
    let mut claim = request(&world, 1, vec![], 3);
    let parked = EventLease { events: claim.events.split_off(2), ..claim.clone() };
    record(&world, 1, &claim, &AttemptResult::Delivered);
    park(&world, 1, parked);
    let waiting = request(&world, 1, vec![], 1);
    let sending = request(&world, 1, vec![], 1);
    record(&world, 1, &waiting, &failed());
    assert_eq!(outbox(&world), (4, 1));

    assert_eq!(world.shop.replay_events(2.into()).unwrap(), 4);
    assert_eq!(outbox(&world), (6, 0));
    assert_eq!(states(&world)[0], DeliveryState::Delivered);
    record(&world, 1, &sending, &AttemptResult::Delivered);
    let again = request(&world, 2, vec![], 9);
    assert_eq!(ids(&again), [2, 3, 4, 5, 6]);
    world.assert_clean();
    record(&world, 2, &again, &AttemptResult::Delivered);
    assert_eq!(lease(&world, 2, 9), [7]);

    assert_eq!(world.shop.replay_events(99.into()).unwrap(), 0);
    assert_eq!(outbox(&world), (1, 0));
    let refused = world.shop.replay_events(0.into()).unwrap_err();
    assert_eq!(refused.code(), Code::InvalidRequest);
    world.assert_clean();
}

/// Sixteen concurrent relays share commits, but no event.
#[rstest]
fn concurrent_relays_never_lease_the_same_event(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let world = paid(on, 200);
    let leased: Vec<i64> = std::thread::scope(|scope| {
        let world = &world;
        let threads: Vec<_> = (0..16)
            .map(|token| {
                scope.spawn(move || {
                    let mut leased = Vec::new();
                    loop {
                        let claim = request(world, token, vec![], 3);
                        if claim.events.is_empty() && !claim.more {
                            return leased;
                        }
                        leased.extend(ids(&claim));
                        record(world, token, &claim, &AttemptResult::Delivered);
                    }
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let mut sorted = leased;
    sorted.sort_unstable();
    assert_eq!(sorted, (1..=200).collect::<Vec<_>>());
    assert_eq!(outbox(&world), (0, 0));
    world.assert_clean();
}

/// A half-open circuit breaker probes with events that have not failed yet.
#[rstest]
fn fresh_first_leases_new_events_before_retries(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let world = paid(on, 2);
    let claim = request(&world, 1, vec![], 1);
    record(&world, 1, &claim, &failed());
    world.clock.set(NOW.plus_seconds(1));
    let probe =
        RelayEvents { token: 1, outcomes: vec![], max_events: 1, fresh_first: true, jitter: 0 };
    let leased = || ids(&world.shop.call(probe.clone()).run().unwrap());
    assert_eq!((leased(), leased(), leased()), (vec![2], vec![1], vec![]));
}

/// A difference of seconds between the clocks of two machines is no clock that was set back.
#[rstest]
fn relay_with_a_clock_behind_respects_other_leases(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let world = paid(on, 2);
    let claim = request(&world, 1, vec![], 1);
    request(&world, 2, vec![], 1);
    record(&world, 1, &claim, &failed());
    world.clock.set(NOW.plus_seconds(-DELIVERY_LEASE));
    assert_eq!(lease(&world, 3, 9), [0; 0]);
    assert!(!world.shop.has_due_events().unwrap());
    world.clock.set(NOW.plus_seconds(-DELIVERY_LEASE - 1));
    assert!(world.shop.has_due_events().unwrap());
    assert_eq!(lease(&world, 3, 9), [1, 2]);
    assert_eq!(lease(&world, 3, 9), [0; 0], "and only once");
    world.assert_clean();
}

/// A step in the history of a shop and its events.
#[derive(Clone, Debug)]
enum Step {
    Pay,
    Cancel(i64),
    Lease { token: i64, max_events: usize, fresh_first: bool },
    Record { token: i64, result: AttemptResult },
    Park,
    Retry(Option<Vec<i64>>),
    Replay(i64),
    Wait(i64),
}

fn step() -> impl Strategy<Value = Step> {
    let token = || 1_i64..4;
    let result = select(vec![
        AttemptResult::Delivered,
        AttemptResult::Delivered,
        failed(),
        AttemptResult::Released,
    ]);
    prop_oneof![
        3 => Just(Step::Pay),
        3 => (1_i64..12).prop_map(Step::Cancel),
        6 => (token(), 0_usize..5, any::<bool>())
            .prop_map(|(token, max_events, fresh_first)| Step::Lease { token, max_events, fresh_first }),
        6 => (token(), result).prop_map(|(token, result)| Step::Record { token, result }),
        1 => Just(Step::Park),
        1 => prop::option::of(prop::collection::vec(1_i64..20, 0..4)).prop_map(Step::Retry),
        1 => (1_i64..20).prop_map(Step::Replay),
        3 => select(vec![1, 5, DELIVERY_LEASE, 400, 40_000, -50, -40_000, -400_000_000]).prop_map(Step::Wait),
    ]
}

/// Runs a history and returns all results as text.
fn history(on: On, steps: &[Step]) -> Vec<String> {
    let world = paid(on, 3);
    let mut held: BTreeMap<i64, EventLease> = BTreeMap::new();
    let mut answers = Vec::new();
    for (number, step) in steps.iter().enumerate() {
        let key = key(&format!("step-{number}"));
        let shop = &world.shop;
        let answer = match step.clone() {
            Step::Pay => {
                let order = PlaceOrder::new(1.into(), [(1.into(), 1)]);
                format!("{:?}", shop.place_order(order, &key))
            }
            Step::Cancel(order) => format!("{:?}", shop.cancel_order(order.into(), &key)),
            Step::Park => {
                let claim = request(&world, 9, vec![], 1);
                format!("{}", park(&world, 9, claim))
            }
            Step::Lease { token, max_events, fresh_first } => {
                let request =
                    RelayEvents { token, outcomes: vec![], max_events, fresh_first, jitter: 0 };
                let mut claim = shop.call(request).run().unwrap();
                // The public ids of events contain the random name of the store.
                for claimed in &mut claim.events {
                    let id = claimed.event.id;
                    let public = std::mem::take(&mut claimed.event.public_id);
                    assert!(public.ends_with(&format!("-{id}")), "{public}");
                }
                one_of_an_order_at_a_time(&world, &claim);
                let answer = format!("{claim:?}");
                held.insert(token, claim);
                answer
            }
            Step::Record { token, result } => {
                let claim = held.remove(&token);
                format!("{:?}", claim.map(|claim| record(&world, token, &claim, &result)))
            }
            Step::Retry(events) => {
                let events = events.map(|ids| ids.into_iter().map(Into::into).collect());
                format!("{:?}", shop.retry_events(events))
            }
            Step::Replay(from) => format!("{:?}", shop.replay_events(from.into())),
            Step::Wait(seconds) => {
                world.clock.set(shop.now().plus_seconds(seconds));
                String::new()
            }
        };
        answers.push(answer);
        answers.push(format!("{:?} {:?}", states(&world), shop.outbox()));
    }
    world.assert_clean();
    answers
}

/// Asserts that earlier events of an order are delivered, and that no later one is leased.
fn one_of_an_order_at_a_time(world: &World, claim: &EventLease) {
    let all = world.shop.tracked_events(&PageRequest::first(100)).unwrap().items;
    for claimed in &claim.events {
        for other in all.iter().filter(|other| other.event.order_id == claimed.event.order_id) {
            let allowed = match other.event.id.cmp(&claimed.event.id) {
                std::cmp::Ordering::Less => other.delivery == DeliveryState::Delivered,
                std::cmp::Ordering::Equal => true,
                std::cmp::Ordering::Greater => {
                    !matches!(other.delivery, DeliveryState::Sending { .. })
                }
            };
            assert!(allowed, "{claimed:?} was leased beside {other:?}");
        }
    }
}

fn agree(steps: &[Step], on: On) -> Result<(), TestCaseError> {
    let expected = history(On::Memory, steps);
    for (index, (expected, found)) in expected.iter().zip(history(on, steps)).enumerate() {
        prop_assert_eq!(expected, &found, "at {:?}", &steps[index / 2]);
    }
    Ok(())
}

fn config(cases: u32) -> ProptestConfig {
    let seeds = FileFailurePersistence::WithSource("proptest-regressions");
    let failure_persistence: Option<Box<dyn FailurePersistence>> = Some(Box::new(seeds));
    ProptestConfig { cases, failure_persistence, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config(48))]

    #[test]
    fn sqlite_agrees_with_memory_on_any_history(steps in prop::collection::vec(step(), 1..60)) {
        agree(&steps, On::Sqlite)?;
    }
}

proptest! {
    #![proptest_config(config(16))]

    #[test]
    fn postgres_agrees_with_memory_on_any_history(steps in prop::collection::vec(step(), 1..60)) {
        agree(&steps, On::Postgres)?;
    }
}
