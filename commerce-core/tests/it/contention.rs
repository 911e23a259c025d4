//! Sixteen threads on one shop compete: the outcome is exact, and no call ends with `busy`.

use crate::common::contest::{
    self, Contest, LAST_COUPONS, LAST_UNITS, ONE_BALANCE, ONE_KEY, ONE_LIMIT, ONE_ORDER,
    ONE_REFERENCE, counts, tally,
};
use crate::common::{On, World, key};
use commerce_core::{Error, EventId, Money, PageRequest, PayWhen, PlaceOrder, Shop};
use rstest::rstest;
use std::collections::{BTreeMap, BTreeSet};
use std::slice;
use std::sync::atomic::{AtomicBool, Ordering};

const THREADS: usize = 16;

fn together<T: Send>(shop: &Shop, times: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    contest::together(slice::from_ref(shop), THREADS, times, |_, number| work(number))
}

/// Makes `times` calls on sixteen threads, and counts the results by error code or "done".
fn outcomes<T: Send>(
    shop: &Shop,
    times: usize,
    call: impl Fn(usize) -> Result<T, Error> + Sync,
) -> BTreeMap<String, usize> {
    tally(together(shop, times, |number| {
        call(number).map_or_else(|error| error.code().to_string(), |_| "done".to_owned())
    }))
}

#[rstest]
#[case::last_units(&LAST_UNITS)]
#[case::last_coupons(&LAST_COUPONS)]
#[case::one_balance(&ONE_BALANCE)]
#[case::one_key(&ONE_KEY)]
#[case::one_limit(&ONE_LIMIT)]
#[case::one_reference(&ONE_REFERENCE)]
#[case::one_order(&ONE_ORDER)]
fn contest_between_threads_ends_exactly(
    #[case] contest: &Contest,
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let world = World::new(on);
    contest.run(slice::from_ref(&world.shop), THREADS);
}

/// Each of fifty callers makes one call for each order, all at once.
#[rstest]
fn fifty_callers_cancel_parts_of_one_order_exactly(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let world = World::new(on);
    ONE_ORDER.run(slice::from_ref(&world.shop), 50);
}

#[rstest]
fn charges_and_payments_of_one_balance_lose_nothing(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let world = World::new(on);
    let (customer, product) = (world.customer(100_000).id, world.product(7, 10_000).id);
    let answers = outcomes(&world.shop, 400, |number| {
        let key = key(&format!("turn-{number}"));
        // A thread's numbers are all even or all odd: half of the threads charge, the others order.
        if number % 2 == 0 {
            world.shop.charge(customer, Money::from_minor(13), &key).map(drop)
        } else {
            world.shop.place_order(PlaceOrder::new(customer, [(product, 3)]), &key).map(drop)
        }
    });
    assert_eq!(answers, counts([("done", 400)]));
    let balance = 100_000 + 200 * 13 - 200 * 21;
    assert_eq!(world.shop.balance(customer).unwrap().balance, Money::from_minor(balance));
    world.assert_clean();
}

#[rstest]
fn concurrent_pay_and_cancel_of_one_order_happen_once(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let world = World::new(on);
    let (customer, product) = (world.customer(1_000).id, world.product(10, 100).id);
    for turn in 0..20 {
        let order = PlaceOrder { pay: PayWhen::Later, ..PlaceOrder::new(customer, [(product, 1)]) };
        let order = world.shop.place_order(order, &key(&format!("order-{turn}"))).unwrap();
        let paid = together(&world.shop, THREADS, |number| {
            let key = key(&format!("pay-{turn}-{number}"));
            world.shop.pay_order(order.id, &key).is_ok()
        });
        assert_eq!(paid.into_iter().filter(|paid| *paid).count(), 1);
        let cancelled = together(&world.shop, THREADS, |number| {
            let key = key(&format!("cancel-{turn}-{number}"));
            world.shop.cancel_order(order.id, &key).is_ok()
        });
        assert_eq!(cancelled.into_iter().filter(|cancelled| *cancelled).count(), 1);
    }
    assert_eq!(world.shop.balance(customer).unwrap().balance, Money::from_minor(1_000));
    assert_eq!(world.shop.product(product).unwrap().stock, 100);
    world.assert_clean();
}

/// A reader that follows the outbox by its cursor would lose an event for good if a smaller id became
/// visible after a greater one.
#[rstest]
fn outbox_cursor_sees_each_event_once_under_load(
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
        let answers = outcomes(&world.shop, 400, |number| {
            let order = PlaceOrder::new(customer, [(product, 1)]);
            world.shop.place_order(order, &key(&format!("order-{number}")))
        });
        placed.store(true, Ordering::SeqCst);
        assert_eq!(answers, counts([("done", 400)]));
        follower.join().unwrap()
    });
    assert_eq!(seen.len(), 400);
    assert_eq!(seen.into_iter().collect::<BTreeSet<_>>().len(), 400);
    world.assert_clean();
}

#[rstest]
#[should_panic(expected = "number 7")]
fn panic_on_a_thread_fails_the_test() {
    let world = World::new(On::Memory);
    together(&world.shop, THREADS, |number| assert!(number != 7, "number {number}"));
}
