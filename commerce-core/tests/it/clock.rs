//! Clocks that are set forward, back, and before 1970, on each store: the effects of a wrong clock
//! must end with it.

use crate::common::{NOW, On, World, assert_clean};
use commerce_core::limits::{FREE_LOGIN_FAILURES, MAX_CLOCK_SKEW, SESSION_SECONDS};
use commerce_core::{
    AddCoupon, AddCustomer, BestSellersRequest, ClaimCoupon, Code, Customer, Discount, Error,
    Money, PlaceOrder, Role, Timestamp, UnlockLogin,
};
use rstest::rstest;

const PASSWORD: &str = "correct horse";
const YEAR: i64 = 365 * 24 * 60 * 60;

/// Sets the clock that many seconds away from the correct time.
fn set(world: &World, seconds_off: i64) {
    world.clock.set(NOW.plus_seconds(seconds_off));
}

fn kim(world: &World) -> Customer {
    world.shop.register("Kim", "kim", PASSWORD, Role::Customer).unwrap()
}

/// Fails to log in until the login is rate-limited.
fn lock(world: &World) {
    for _ in 0..=FREE_LOGIN_FAILURES {
        let refused = world.shop.log_in("kim", "a wrong guess");
        assert_eq!(code(refused), Some(Code::InvalidCredentials));
    }
    assert_eq!(code(world.shop.log_in("kim", PASSWORD)), Some(Code::TooManyRequests));
}

fn code<T>(result: Result<T, Error>) -> Option<Code> {
    result.err().map(|error| error.code())
}

#[rstest]
fn login_lock_of_a_wrong_clock_ends_with_it(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
    #[values(10 * YEAR, 3_600, -3_600, i64::MIN)] wrong: i64,
) {
    let world = World::new(on);
    kim(&world);
    set(&world, wrong);
    lock(&world);
    set(&world, 0);
    world.shop.log_in("kim", PASSWORD).unwrap();
    // The reverse: a lock by the right clock, which is then set wrong.
    lock(&world);
    set(&world, wrong);
    world.shop.log_in("kim", PASSWORD).unwrap();
}

#[rstest]
fn login_lock_is_lifted_by_an_operator(#[values(On::Memory, On::Sqlite, On::Postgres)] on: On) {
    let world = World::new(on);
    let customer = kim(&world);
    lock(&world);
    world.shop.call(UnlockLogin { customer_id: customer.id }).run().unwrap();
    world.shop.log_in("kim", PASSWORD).unwrap();
    lock(&world);
    world.shop.set_credentials(customer.id, "kim", "another horse", Role::Customer).unwrap();
    world.shop.log_in("kim", "another horse").unwrap();
    let lee = world.shop.call(AddCustomer::new("Lee")).run().unwrap();
    let refused = world.shop.call(UnlockLogin { customer_id: lee.id }).run();
    assert_eq!(code(refused), Some(Code::InvalidRequest));
}

#[rstest]
fn session_opened_by_a_clock_ahead_is_not_valid(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let world = World::new(on);
    let customer = kim(&world);
    set(&world, 10 * YEAR);
    let ahead = [
        world.shop.log_in("kim", PASSWORD).unwrap(),
        world.shop.open_session(customer.id, YEAR).unwrap(),
    ];
    let valid = || ahead.iter().any(|session| world.shop.caller(&session.token).is_ok());
    assert!(valid());
    set(&world, 0);
    assert!(!valid());
    // The next login deletes them, so that they are not valid in ten years either.
    let session = world.shop.log_in("kim", PASSWORD).unwrap();
    assert_eq!(world.shop.session(&session.token).unwrap().customer_id, customer.id);
    set(&world, 10 * YEAR + 1);
    assert!(!valid());
}

#[rstest]
#[case::machines_differ(-MAX_CLOCK_SKEW, true)]
#[case::set_back(-MAX_CLOCK_SKEW - 1, false)]
#[case::before_1970(i64::MIN, false)]
#[case::set_forward(SESSION_SECONDS - 1, true)]
#[case::expired(SESSION_SECONDS, false)]
#[case::far_ahead(10 * YEAR, false)]
fn session_is_valid_from_its_opening_to_its_expiry(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
    #[case] seconds_off: i64,
    #[case] valid: bool,
) {
    let world = World::new(on);
    kim(&world);
    let session = world.shop.log_in("kim", PASSWORD).unwrap();
    set(&world, seconds_off);
    assert_eq!(world.shop.caller(&session.token).is_ok(), valid);
    set(&world, 0);
    assert!(world.shop.caller(&session.token).is_ok(), "the clock is right again");
}

/// A coupon is claimable by the current clock, whatever the clock showed before.
#[rstest]
fn coupon_claims_use_the_current_clock(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
    #[values((10 * YEAR, Code::CouponExpired), (-YEAR, Code::CouponNotStarted), (i64::MIN, Code::CouponNotStarted))]
    wrong: (i64, Code),
) {
    let world = World::new(on);
    let coupon = AddCoupon {
        below_minimum: commerce_core::BelowMinimum::Keep,
        name: "Spring".to_owned(),
        discount: Discount::Fixed { amount: Money::from_minor(10) },
        min_order_amount: None,
        quantity: 5,
        valid_from: Some(NOW),
        valid_until: Some(NOW.plus_seconds(3_600)),
    };
    let coupon_id = world.shop.call(coupon).run().unwrap().id;
    let claim = |name: &str| {
        let customer_id = world.shop.call(AddCustomer::new(name)).run().unwrap().id;
        world.shop.call(ClaimCoupon { coupon_id, customer_id }).run()
    };
    claim("Kim").unwrap();
    set(&world, wrong.0);
    assert_eq!(code(claim("Lee")), Some(wrong.1));
    set(&world, 0);
    assert_eq!(claim("Park").unwrap().rank, 2);
    assert_clean(&world.shop);
}

/// Units count at the instant of their sale and at no other, in whatever order the clock reached
/// them.
#[rstest]
fn sales_count_at_the_clock_of_their_payment(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
    #[values(10 * YEAR, 2 * 24 * 3_600, 3_600, -3_600, -10 * YEAR, 1 - NOW.unix())] wrong: i64,
) {
    let world = World::new(on);
    let shop = &world.shop;
    let customer_id = world.customer(1_000).id;
    let product_id = world.product(1, 1_000).id;
    let sell = |quantity: i64| {
        shop.call(PlaceOrder::new(customer_id, [(product_id, quantity)])).run().unwrap();
    };
    let sold = |to: Timestamp| {
        let best = shop.best_sellers(&BestSellersRequest { at: Some(to), ..Default::default() });
        best.unwrap().items.first().map_or(0, |row| row.units_sold)
    };
    sell(1);
    set(&world, wrong);
    sell(10);
    let there = shop.now();
    set(&world, 1);
    sell(100);
    let near = |at: Timestamp, of: Timestamp| at <= of && of.unix() - at.unix() < 3 * 24 * 3_600;
    for to in [NOW, NOW.plus_seconds(1), there, there.plus_seconds(1), Timestamp::MAX] {
        let mut wanted = 0;
        for (at, units) in [(NOW, 1), (there, 10), (NOW.plus_seconds(1), 100)] {
            wanted += if near(at, to) { units } else { 0 };
        }
        assert_eq!(sold(to), wanted, "{to}");
    }
    assert_clean(shop);
}
