//! Sixteen threads on one shop: what they contend for is given out exactly, and nobody is told "busy".

use crate::common::{On, World, key};
use commerce_core::{Code, Error, EventId, Money, Order, PageRequest, PayWhen, PlaceOrder};
use rstest::rstest;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, Ordering};

const THREADS: usize = 16;

/// Runs `ask` for each number below `times`, on sixteen threads, and counts what was answered.
fn asked<T: Send>(
    times: usize,
    ask: impl Fn(usize) -> Result<T, Error> + Sync,
) -> BTreeMap<&'static str, usize> {
    let mut answers = BTreeMap::new();
    let words = together(times, |number| {
        ask(number).map_or_else(|error| error.code(), |_| Code::InvalidRequest)
    });
    for word in words {
        // No rule here refuses a request as invalid: the code stands for "done".
        let word = if word == Code::InvalidRequest { "done" } else { word.as_str() };
        *answers.entry(word).or_default() += 1;
    }
    answers
}

fn together<T: Send>(times: usize, ask: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let ask = &ask;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                scope.spawn(move || (thread..times).step_by(THREADS).map(ask).collect::<Vec<_>>())
            })
            .collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)))
            .collect()
    })
}

#[rstest]
fn fifty_units_asked_for_four_hundred_times(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let world = World::new(on);
    let (customer, product) = (world.customer(1_000_000).id, world.product(10, 50).id);
    let answers = asked(400, |number| {
        world
            .shop
            .place_order(PlaceOrder::new(customer, [(product, 1)]), &key(&format!("unit-{number}")))
    });
    assert_eq!(answers, BTreeMap::from([("done", 50), ("insufficient_stock", 350)]));
    assert_eq!(world.shop.product(product).unwrap().stock, 0);
    assert_eq!(world.shop.balance(customer).unwrap().balance, Money::from_minor(1_000_000 - 500));
    world.assert_clean();
}

#[rstest]
fn a_hundred_coupons_asked_for_by_a_thousand(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let world = World::new(on);
    let coupon = world.coupon(100, 5).id;
    let customers: Vec<_> = (0..1_000).map(|_| world.customer(0).id).collect();
    let ranks = together(1_000, |number| {
        world.shop.claim_coupon(coupon, customers[number], &key("claim")).map(|owned| owned.rank)
    });
    let (given, refused): (Vec<_>, Vec<_>) = ranks.into_iter().partition(Result::is_ok);
    let ranks: BTreeSet<i64> = given.into_iter().map(Result::unwrap).collect();
    assert_eq!(ranks, (1..=100).collect());
    assert_eq!(refused.len(), 900);
    assert!(refused.into_iter().all(|refused| refused.unwrap_err().code() == Code::CouponSoldOut));
    world.assert_clean();
}

#[rstest]
fn a_balance_good_for_ten_asked_for_two_hundred_times(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let world = World::new(on);
    let (customer, product) = (world.customer(100).id, world.product(10, 1_000).id);
    let answers = asked(200, |number| {
        let key = key(&format!("spend-{number}"));
        if number % 2 == 0 {
            world.shop.place_order(PlaceOrder::new(customer, [(product, 1)]), &key).map(drop)
        } else {
            world.shop.debit(customer, Money::from_minor(10), &key).map(drop)
        }
    });
    assert_eq!(answers, BTreeMap::from([("done", 10), ("insufficient_balance", 190)]));
    assert_eq!(world.shop.balance(customer).unwrap().balance, Money::ZERO);
    world.assert_clean();
}

#[rstest]
fn charges_and_payments_on_one_balance_lose_nothing(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let world = World::new(on);
    let (customer, product) = (world.customer(100_000).id, world.product(7, 10_000).id);
    let answers = asked(400, |number| {
        let key = key(&format!("turn-{number}"));
        if number % 2 == 0 {
            world.shop.charge(customer, Money::from_minor(13), &key).map(drop)
        } else {
            world.shop.place_order(PlaceOrder::new(customer, [(product, 3)]), &key).map(drop)
        }
    });
    assert_eq!(answers, BTreeMap::from([("done", 400)]));
    let balance = 100_000 + 200 * 13 - 200 * 21;
    assert_eq!(world.shop.balance(customer).unwrap().balance, Money::from_minor(balance));
    world.assert_clean();
}

#[rstest]
fn one_key_from_sixteen_threads_has_one_effect(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let world = World::new(on);
    let (customer, product) = (world.customer(100_000).id, world.product(7, 10_000).id);
    for turn in 0..20 {
        let key = key(&format!("same-{turn}"));
        let orders: Vec<Order> = together(THREADS, |_| {
            world.shop.place_order(PlaceOrder::new(customer, [(product, 3)]), &key).unwrap()
        });
        assert!(orders.iter().all(|order| *order == orders[0]), "one answer");
    }
    assert_eq!(world.shop.orders(customer, &PageRequest::first(100)).unwrap().items.len(), 20);
    world.assert_clean();
}

#[rstest]
fn paying_and_cancelling_one_order_at_once_happens_once(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let world = World::new(on);
    let (customer, product) = (world.customer(1_000).id, world.product(10, 100).id);
    for turn in 0..20 {
        let order = PlaceOrder { pay: PayWhen::Later, ..PlaceOrder::new(customer, [(product, 1)]) };
        let order = world.shop.place_order(order, &key(&format!("order-{turn}"))).unwrap();
        let paid = together(THREADS, |number| {
            let key = key(&format!("pay-{turn}-{number}"));
            world.shop.pay_order(order.id, &key).is_ok()
        });
        assert_eq!(paid.into_iter().filter(|paid| *paid).count(), 1);
        let cancelled = together(THREADS, |number| {
            let key = key(&format!("cancel-{turn}-{number}"));
            world.shop.cancel_order(order.id, &key).is_ok()
        });
        assert_eq!(cancelled.into_iter().filter(|cancelled| *cancelled).count(), 1);
    }
    assert_eq!(world.shop.balance(customer).unwrap().balance, Money::from_minor(1_000));
    assert_eq!(world.shop.product(product).unwrap().stock, 100);
    world.assert_clean();
}

/// A reader that follows the outbox by its cursor would lose an event for good if a smaller number came
/// to light after a greater one.
#[rstest]
fn a_follower_of_events_sees_each_once_while_orders_come_in(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let world = World::new(on);
    let (customer, product) = (world.customer(100_000).id, world.product(7, 10_000).id);
    let placed = AtomicBool::new(false);
    let seen = std::thread::scope(|scope| {
        let follower = scope.spawn(|| {
            let (mut seen, mut page) = (Vec::new(), PageRequest::first(7));
            loop {
                let last = placed.load(Ordering::SeqCst);
                let events = world.shop.events(&page).unwrap().items;
                seen.extend(events.iter().map(|event| event.data.id));
                let next = i64::try_from(seen.len() + 1).unwrap();
                page = PageRequest::of_events(7, EventId::new(next));
                if last && events.is_empty() {
                    return seen;
                }
            }
        });
        let answers = asked(400, |number| {
            let order = PlaceOrder::new(customer, [(product, 1)]);
            world.shop.place_order(order, &key(&format!("order-{number}")))
        });
        placed.store(true, Ordering::SeqCst);
        assert_eq!(answers, BTreeMap::from([("done", 400)]));
        follower.join().unwrap()
    });
    assert_eq!(seen.len(), 400);
    assert_eq!(seen.into_iter().collect::<BTreeSet<_>>().len(), 400);
    world.assert_clean();
}

#[test]
#[should_panic(expected = "number 7")]
fn a_failure_on_a_thread_is_not_swallowed() {
    together(THREADS, |number| assert!(number != 7, "number {number}"));
}
