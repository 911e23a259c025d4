//! Taking up events and writing down what became of them, on every store: who may have which event, and
//! when. Relays and destinations are in `relay.rs`.

use crate::common::{NOW, On, World, key};
use commerce_core::limits::{DELIVERY_LEASE, MAX_RETRY_AFTER, MAX_TEXT, RETRY_DELAYS};
use commerce_core::{
    AttemptResult, Code, DeliveryOutcome, DeliveryState, EventLease, LeasedEvent, OrderId,
    PageRequest, PlaceOrder, RelayEvents,
};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{FailurePersistence, FileFailurePersistence};
use rstest::rstest;
use std::collections::BTreeMap;

/// A shop with so many paid orders, whose events have the numbers of the orders.
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

fn ask(world: &World, token: i64, outcomes: Vec<DeliveryOutcome>, max_events: usize) -> EventLease {
    world
        .shop
        .call(RelayEvents { token, outcomes, max_events, fresh_first: false, jitter: 0 })
        .run()
        .unwrap()
}

/// Takes up events, and names them.
fn take(world: &World, token: i64, max_events: usize) -> Vec<i64> {
    ids(&ask(world, token, vec![], max_events))
}

fn ids(claim: &EventLease) -> Vec<i64> {
    claim.events.iter().map(|claimed| claimed.event.id.get()).collect()
}

fn outcome(claimed: &LeasedEvent, result: &AttemptResult) -> DeliveryOutcome {
    let (event_id, order_id) = (claimed.event.id, claimed.event.order_id);
    DeliveryOutcome { event_id, order_id, result: result.clone() }
}

/// Tells that all these ended so.
fn settle(world: &World, token: i64, claim: &EventLease, result: &AttemptResult) -> EventLease {
    let outcomes = claim.events.iter().map(|claimed| outcome(claimed, result)).collect();
    ask(world, token, outcomes, 0)
}

fn failed() -> AttemptResult {
    AttemptResult::Failed { error: "503".to_owned(), retry_after: None }
}

/// Fails these until they are parked, and counts what was parked. What else is taken up meanwhile is given back.
fn park(world: &World, token: i64, mut claim: EventLease) -> u64 {
    let (bad, max_events) = (ids(&claim), claim.events.len());
    let mut parked = 0;
    for delay in RETRY_DELAYS.map(Some).into_iter().chain([None]) {
        let outcome = |claimed: &LeasedEvent| {
            let is_bad = bad.contains(&claimed.event.id.get());
            outcome(claimed, &if is_bad { failed() } else { AttemptResult::Released })
        };
        let outcomes = claim.events.iter().map(outcome).collect();
        parked += ask(world, token, outcomes, 0).parked;
        let Some(delay) = delay else { break };
        world.clock.set(world.shop.now().plus_seconds(delay));
        claim = ask(world, token, vec![], max_events);
    }
    parked
}

fn progress(world: &World) -> Vec<DeliveryState> {
    let page = world.shop.tracked_events(&PageRequest::first(100)).unwrap();
    page.items.into_iter().map(|row| row.delivery).collect()
}

fn outbox(world: &World) -> (u64, u64) {
    let outbox = world.shop.outbox().unwrap();
    assert_eq!(outbox.oldest.is_some(), outbox.waiting + outbox.parked > 0);
    (outbox.waiting, outbox.parked)
}

#[rstest]
fn each_event_is_taken_up_by_one_and_is_over_once_it_has_arrived(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let world = paid(on, 5);
    assert_eq!(outbox(&world), (5, 0));
    let first = ask(&world, 1, vec![], 2);
    assert_eq!((ids(&first), first.more), (vec![1, 2], true));
    let second = ask(&world, 2, vec![], 9);
    assert_eq!((ids(&second), second.more), (vec![3, 4, 5], false));
    assert_eq!(take(&world, 3, 9), [0; 0]);
    assert_eq!(outbox(&world), (5, 0));
    let until = NOW.plus_seconds(DELIVERY_LEASE);
    assert_eq!(progress(&world)[1], DeliveryState::Sending { attempts: 0, until });
    world.assert_clean();
    settle(&world, 1, &first, &AttemptResult::Delivered);
    settle(&world, 2, &second, &AttemptResult::Delivered);
    assert_eq!(progress(&world), vec![DeliveryState::Delivered; 5]);
    assert_eq!(outbox(&world), (0, 0));
    assert!(!world.shop.has_due_events().unwrap());
    world.assert_clean();
}

/// Nothing is written, and nobody else is kept waiting, when there is nothing to do.
#[rstest]
fn to_look_in_vain_commits_nothing(#[values(On::Memory, On::Sqlite, On::Postgres)] on: On) {
    let world = paid(on, 1);
    let claim = ask(&world, 1, vec![], 5);
    let before = world.shop.stats().commits;
    assert_eq!(take(&world, 1, 5), [0; 0]);
    settle(&world, 2, &claim, &AttemptResult::Delivered);
    assert_eq!(world.shop.stats().commits, before);
}

/// The event says what the order was at that instant, whatever has become of it.
#[rstest]
fn events_of_an_order_go_one_after_another(#[values(On::Memory, On::Sqlite, On::Postgres)] on: On) {
    let world = paid(on, 2);
    cancel(&world, 1);
    let claim = ask(&world, 1, vec![], 9);
    assert_eq!((ids(&claim), claim.more), (vec![1, 2], true));
    assert_eq!(claim.events[0].event.data.status, commerce_core::OrderStatus::Paid);
    let behind = DeliveryState::Waiting { attempts: 0, due_at: None, error: None };
    assert_eq!(progress(&world)[2], behind);
    assert_eq!(take(&world, 2, 9), [0; 0]);
    world.assert_clean();
    let settled = settle(&world, 1, &claim, &AttemptResult::Delivered);
    assert!(settled.more, "the next may go");
    assert!(world.shop.has_due_events().unwrap());
    assert_eq!(take(&world, 2, 9), [3]);
    world.assert_clean();
}

#[rstest]
fn a_lease_that_has_ended_goes_to_the_next_and_a_late_outcome_is_not_heard(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let world = paid(on, 1);
    let lost = ask(&world, 1, vec![], 1);
    world.clock.set(NOW.plus_seconds(DELIVERY_LEASE - 1));
    assert_eq!(take(&world, 2, 1), [0; 0]);
    assert!(!world.shop.has_due_events().unwrap());
    world.clock.set(NOW.plus_seconds(DELIVERY_LEASE));
    assert!(world.shop.has_due_events().unwrap());
    let taken = ask(&world, 2, vec![], 1);
    assert_eq!(taken, lost, "the same event with the same content");
    for result in [AttemptResult::Delivered, failed(), AttemptResult::Released] {
        settle(&world, 1, &lost, &result);
        assert!(matches!(progress(&world)[0], DeliveryState::Sending { attempts: 0, .. }));
    }
    settle(&world, 2, &taken, &AttemptResult::Delivered);
    assert_eq!(progress(&world), [DeliveryState::Delivered]);
}

#[rstest]
fn eleven_tries_over_two_days_and_then_it_is_parked(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let world = paid(on, 2);
    cancel(&world, 1);
    let mut now = NOW;
    for (attempts, delay) in (0..).zip(RETRY_DELAYS) {
        let claim = ask(&world, 1, vec![], 1);
        assert_eq!((ids(&claim), claim.events[0].attempts), (vec![1], attempts));
        assert_eq!(settle(&world, 1, &claim, &failed()).parked, 0);
        if attempts == 0 {
            let claim = ask(&world, 1, vec![], 9);
            assert_eq!(ids(&claim), [2], "the cancellation waits behind the payment");
            settle(&world, 1, &claim, &AttemptResult::Delivered);
        }
        now = now.plus_seconds(delay);
        let (due_at, error) = (Some(now), Some("503".to_owned()));
        let waits = DeliveryState::Waiting { attempts: attempts + 1, due_at, error };
        assert_eq!(progress(&world)[0], waits);
        world.clock.set(now.plus_seconds(-1));
        assert_eq!(take(&world, 1, 9), [0; 0]);
        world.clock.set(now);
    }
    assert_eq!(now.unix() - NOW.unix(), 44 * 3_600 + 42 * 60 + 36);
    let claim = ask(&world, 1, vec![], 1);
    assert_eq!(settle(&world, 1, &claim, &failed()).parked, 2);
    let parked = |attempts, error: &str| DeliveryState::Parked {
        attempts,
        since: now,
        error: Some(error.to_owned()),
    };
    let behind = parked(0, "event 1 of the same order is parked");
    assert_eq!(progress(&world), [parked(11, "503"), DeliveryState::Delivered, behind]);
    assert_eq!(outbox(&world), (0, 2));
    assert_eq!(world.shop.outbox().unwrap().oldest, Some(NOW), "parked events have not arrived");
    world.clock.set(now.plus_seconds(1_000_000));
    assert_eq!(take(&world, 1, 9), [0; 0]);
    world.assert_clean();
}

#[rstest]
#[case::sooner_than_the_table(0, RETRY_DELAYS[0])]
#[case::later_than_the_table(600, 600)]
#[case::too_late(i64::MAX, MAX_RETRY_AFTER)]
fn a_destination_may_put_a_retry_off_but_not_for_ever(
    #[case] retry_after: i64,
    #[case] expected: i64,
) {
    let world = paid(On::Memory, 1);
    let claim = ask(&world, 1, vec![], 1);
    let result = AttemptResult::Failed { error: "429".to_owned(), retry_after: Some(retry_after) };
    settle(&world, 1, &claim, &result);
    let due = NOW.plus_seconds(expected);
    assert!(
        matches!(progress(&world)[0], DeliveryState::Waiting { due_at: Some(at), .. } if at == due)
    );
}

/// A store that refused it would be told of it again for ever.
#[rstest]
fn whatever_a_destination_says_is_kept_as_a_line(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let world = paid(on, 1);
    let claim = ask(&world, 1, vec![], 1);
    let said = format!("a\0b\n{}", "c".repeat(1_000));
    settle(&world, 1, &claim, &AttemptResult::Failed { error: said, retry_after: None });
    let kept = format!("a b {}", "c".repeat(MAX_TEXT - 4));
    assert!(
        matches!(&progress(&world)[0], DeliveryState::Waiting { error, .. } if *error == Some(kept))
    );
}

#[test]
fn a_retry_is_spread_by_a_tenth_of_its_delay_at_most() {
    let world = paid(On::Memory, 1);
    for (jitter, expected) in [(0, 1), (100, 5), (0, 30), (100, 132), (i64::MAX, 660)] {
        let claim = ask(&world, 1, vec![], 1);
        let outcomes = vec![outcome(&claim.events[0], &failed())];
        let now = world.shop.now();
        let settled = RelayEvents { token: 1, outcomes, max_events: 0, fresh_first: false, jitter };
        world.shop.call(settled).run().unwrap();
        let due = now.plus_seconds(expected);
        assert!(
            matches!(progress(&world)[0], DeliveryState::Waiting { due_at: Some(at), .. } if at == due)
        );
        world.clock.set(due);
    }
}

#[rstest]
fn what_is_parked_holds_up_its_own_order_only(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let world = paid(on, 3);
    let claim = ask(&world, 1, vec![], 1);
    assert_eq!(park(&world, 1, claim), 1);
    cancel(&world, 1);
    assert_eq!(take(&world, 1, 9), [2, 3]);
    assert_eq!(take(&world, 1, 9), [0; 0]);
    let page = world.shop.parked_events(&PageRequest::first(1)).unwrap();
    let (event, cursor) = (page.items[0].event.id.get(), page.next_cursor.as_deref());
    assert_eq!((event, cursor), (1, Some("parked-events-4")));
    let next = PageRequest { cursor: page.next_cursor, ..PageRequest::first(1) };
    let page = world.shop.parked_events(&next).unwrap();
    assert_eq!((page.items[0].event.id.get(), page.next_cursor), (4, None));
    world.assert_clean();
}

#[rstest]
fn what_was_given_back_is_due_at_once_and_no_try_was_spent(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let world = paid(on, 2);
    let claim = ask(&world, 1, vec![], 2);
    assert!(settle(&world, 1, &claim, &AttemptResult::Released).more);
    assert_eq!(ask(&world, 2, vec![], 2), claim);
}

#[rstest]
#[case::all(None, 3, &[1, 2])]
#[case::one(Some(vec![2]), 1, &[2])]
#[case::the_later_of_an_order_takes_the_earlier_along(Some(vec![4]), 2, &[1])]
#[case::not_parked_or_not_there(Some(vec![3, 77, 0, -1]), 0, &[])]
fn parked_events_are_sent_again_in_their_order(
    #[case] events: Option<Vec<i64>>,
    #[case] count: u64,
    #[case] taken: &[i64],
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let world = paid(on, 3);
    let claim = ask(&world, 1, vec![], 2);
    park(&world, 1, claim);
    assert_eq!(take(&world, 1, 1), [3]);
    cancel(&world, 1);
    assert_eq!(take(&world, 1, 9), [0; 0]);
    let events = events.map(|ids| ids.into_iter().map(Into::into).collect());
    assert_eq!(world.shop.retry_events(events).unwrap(), count);
    world.assert_clean();
    let claim = ask(&world, 1, vec![], 9);
    assert_eq!(ids(&claim), taken);
    assert!(claim.events.iter().all(|claimed| claimed.attempts == 0));
    settle(&world, 1, &claim, &AttemptResult::Delivered);
    let released = if taken.contains(&1) { vec![4] } else { vec![] };
    assert_eq!(take(&world, 1, 9), released);
    world.assert_clean();
}

#[rstest]
fn history_is_sent_again_whatever_has_become_of_it(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let world = paid(on, 6);
    cancel(&world, 2);
    // 1 and 2 have arrived, 3 is parked, 4 waits for its retry, 5 is being sent, 6 and 7 are new.
    let mut claim = ask(&world, 1, vec![], 3);
    let parked = EventLease { events: claim.events.split_off(2), ..claim.clone() };
    settle(&world, 1, &claim, &AttemptResult::Delivered);
    park(&world, 1, parked);
    let waiting = ask(&world, 1, vec![], 1);
    let sending = ask(&world, 1, vec![], 1);
    settle(&world, 1, &waiting, &failed());
    assert_eq!(outbox(&world), (4, 1));

    assert_eq!(world.shop.replay_events(2.into()).unwrap(), 4);
    assert_eq!(outbox(&world), (6, 0));
    assert_eq!(progress(&world)[0], DeliveryState::Delivered);
    settle(&world, 1, &sending, &AttemptResult::Delivered);
    let again = ask(&world, 2, vec![], 9);
    assert_eq!(ids(&again), [2, 3, 4, 5, 6]);
    world.assert_clean();
    settle(&world, 2, &again, &AttemptResult::Delivered);
    assert_eq!(take(&world, 2, 9), [7]);

    assert_eq!(world.shop.replay_events(99.into()).unwrap(), 0);
    assert_eq!(outbox(&world), (1, 0));
    let refused = world.shop.replay_events(0.into()).unwrap_err();
    assert_eq!(refused.code(), Code::InvalidRequest);
    world.assert_clean();
}

/// Sixteen who ask at the same moment share commits, and never an event.
#[rstest]
fn many_at_once_never_take_up_the_same(#[values(On::Memory, On::Sqlite, On::Postgres)] on: On) {
    let world = paid(on, 200);
    let taken: Vec<i64> = std::thread::scope(|scope| {
        let world = &world;
        let threads: Vec<_> = (0..16)
            .map(|token| {
                scope.spawn(move || {
                    let mut taken = Vec::new();
                    loop {
                        let claim = ask(world, token, vec![], 3);
                        if claim.events.is_empty() && !claim.more {
                            return taken;
                        }
                        taken.extend(ids(&claim));
                        settle(world, token, &claim, &AttemptResult::Delivered);
                    }
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let mut sorted = taken;
    sorted.sort_unstable();
    assert_eq!(sorted, (1..=200).collect::<Vec<_>>());
    assert_eq!(outbox(&world), (0, 0));
    world.assert_clean();
}

/// A relay that finds out whether its destination works does so with events that have not failed yet.
#[rstest]
fn new_events_go_before_retries_where_that_is_asked_for(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let world = paid(on, 2);
    let claim = ask(&world, 1, vec![], 1);
    settle(&world, 1, &claim, &failed());
    world.clock.set(NOW.plus_seconds(1));
    let probe =
        RelayEvents { token: 1, outcomes: vec![], max_events: 1, fresh_first: true, jitter: 0 };
    let taken = || ids(&world.shop.call(probe.clone()).run().unwrap());
    assert_eq!((taken(), taken(), taken()), (vec![2], vec![1], vec![]));
}

/// Seconds by which clocks of two machines differ are no clock that was set back.
#[rstest]
fn a_clock_that_is_a_little_behind_takes_nothing_of_another(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let world = paid(on, 2);
    let claim = ask(&world, 1, vec![], 1);
    ask(&world, 2, vec![], 1);
    settle(&world, 1, &claim, &failed());
    world.clock.set(NOW.plus_seconds(-DELIVERY_LEASE));
    assert_eq!(take(&world, 3, 9), [0; 0]);
    assert!(!world.shop.has_due_events().unwrap());
    world.clock.set(NOW.plus_seconds(-DELIVERY_LEASE - 1));
    assert!(world.shop.has_due_events().unwrap());
    assert_eq!(take(&world, 3, 9), [1, 2]);
    assert_eq!(take(&world, 3, 9), [0; 0], "and only once");
    world.assert_clean();
}

/// What may happen to a shop and its events.
#[derive(Clone, Debug)]
enum Step {
    Pay,
    Cancel(i64),
    Ask { token: i64, max_events: usize, fresh_first: bool },
    Settle { token: i64, result: AttemptResult },
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
            .prop_map(|(token, max_events, fresh_first)| Step::Ask { token, max_events, fresh_first }),
        6 => (token(), result).prop_map(|(token, result)| Step::Settle { token, result }),
        1 => Just(Step::Park),
        1 => prop::option::of(prop::collection::vec(1_i64..20, 0..4)).prop_map(Step::Retry),
        1 => (1_i64..20).prop_map(Step::Replay),
        3 => select(vec![1, 5, DELIVERY_LEASE, 400, 40_000, -50, -40_000, -400_000_000]).prop_map(Step::Wait),
    ]
}

/// Goes through a history, and writes down all that was answered.
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
                let claim = ask(&world, 9, vec![], 1);
                format!("{}", park(&world, 9, claim))
            }
            Step::Ask { token, max_events, fresh_first } => {
                let request =
                    RelayEvents { token, outcomes: vec![], max_events, fresh_first, jitter: 0 };
                let mut claim = shop.call(request).run().unwrap();
                // Every store has a random name in the public ids of its events.
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
            Step::Settle { token, result } => {
                let claim = held.remove(&token);
                format!("{:?}", claim.map(|claim| settle(&world, token, &claim, &result)))
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
        answers.push(format!("{:?} {:?}", progress(&world), shop.outbox()));
    }
    world.assert_clean();
    answers
}

/// What comes before an event in its order has arrived, and what comes after it is not on its way.
fn one_of_an_order_at_a_time(world: &World, claim: &EventLease) {
    let all = world.shop.tracked_events(&PageRequest::first(100)).unwrap().items;
    for claimed in &claim.events {
        for other in all.iter().filter(|other| other.event.order_id == claimed.event.order_id) {
            let fine = match other.event.id.cmp(&claimed.event.id) {
                std::cmp::Ordering::Less => other.delivery == DeliveryState::Delivered,
                std::cmp::Ordering::Equal => true,
                std::cmp::Ordering::Greater => {
                    !matches!(other.delivery, DeliveryState::Sending { .. })
                }
            };
            assert!(fine, "{claimed:?} was given, and there is {other:?}");
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
    fn sqlite_agrees_on_any_history(steps in prop::collection::vec(step(), 1..60)) {
        agree(&steps, On::Sqlite)?;
    }
}

proptest! {
    #![proptest_config(config(16))]

    #[test]
    fn postgres_agrees_on_any_history(steps in prop::collection::vec(step(), 1..60)) {
        agree(&steps, On::Postgres)?;
    }
}
