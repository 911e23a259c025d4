//! Only the shop's clock ends the holds of other orders, whatever instant a call is decided at. The
//! clock may be set back.

use crate::common::{NOW, On, World, key};
use commerce_core::store::TokenHash;
use commerce_core::testing::{ExpireOrders, OpenSession, RecordLoginAttempt, RelayEvents};
use commerce_core::{
    AddCoupon, AddCustomer, AddProduct, ChargeBalance, ClaimCoupon, Code, CouponId, CustomerId,
    DebitBalance, Discount, Error, Money, Operation, Order, OrderStatus, PayOrder, PayWhen,
    PlaceOrder, ProductId,
};
use rstest::rstest;

/// Returns a world in which an unpaid order holds the last unit of a product for 15 minutes.
fn held(on: On) -> (World, CustomerId, ProductId, Order) {
    let world = World::new(on);
    let (kim, rare) = (world.customer(1_000).id, world.product(100, 1).id);
    let later = PlaceOrder { pay: PayWhen::Later, ..PlaceOrder::new(kim, [(rare, 1)]) };
    let order = world.shop.place_order(later, &key("held")).unwrap();
    (world, kim, rare, order)
}

/// Returns the error of a call that many seconds ahead of the clock.
fn ahead<R: Operation>(world: &World, request: R, seconds: i64) -> Error {
    let call = world.shop.call_at(request, NOW.plus_seconds(seconds));
    call.key(&key("ahead")).run().err().unwrap()
}

#[rstest]
fn call_ahead_of_the_clock_is_refused_and_ends_no_hold(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let (world, kim, rare, held) = held(on);
    let coupon = world.coupon(5, 10).id;
    let tea = world.product(10, 5).id;
    world.shop.place_order(PlaceOrder::new(kim, [(tea, 1)]), &key("event")).unwrap();

    let year = 366 * 24 * 60 * 60;
    let amount = Money::from_minor(1);
    let name = "Spring".to_owned();
    let discount = Discount::Fixed { amount };
    let (token, expires_at) = (TokenHash::new([1; 32]), NOW.plus_seconds(3 * year));
    let refused = [
        ahead(&world, PlaceOrder::new(kim, [(rare, 1)]), 2 * year),
        ahead(&world, PlaceOrder::new(kim, [(tea, 1)]), 9 * 60 * 60),
        ahead(&world, PlaceOrder::new(kim, [(tea, 1)]), 1),
        ahead(&world, PayOrder { order_id: held.id }, 1),
        ahead(&world, ExpireOrders, 2 * year),
        ahead(&world, AddCustomer::new("Lee"), year),
        ahead(&world, AddProduct::new("Gum", amount, 1), year),
        ahead(&world, ChargeBalance { customer_id: kim, amount }, year),
        ahead(&world, DebitBalance { customer_id: kim, amount, note: None }, year),
        ahead(&world, ClaimCoupon { coupon_id: coupon, customer_id: kim }, 500),
        ahead(
            &world,
            RelayEvents {
                token: 7,
                outcomes: vec![],
                max_events: 9,
                fresh_first: false,
                jitter: 0,
            },
            year,
        ),
        ahead(&world, OpenSession { customer_id: kim, login: None, token, expires_at }, year),
        ahead(&world, RecordLoginAttempt { login: "kim".to_owned() }, year),
        ahead(
            &world,
            AddCoupon {
                below_minimum: commerce_core::BelowMinimum::Keep,
                name,
                discount,
                min_order_amount: None,
                quantity: 1,
                valid_from: None,
                valid_until: None,
            },
            year,
        ),
    ];
    for error in refused {
        assert_eq!(error.code(), Code::InvalidRequest, "{error}");
        assert!(error.to_string().contains("ahead of the clock"), "{error}");
    }
    assert_eq!(world.shop.order(held.id).unwrap().status, OrderStatus::Pending);
    assert_eq!(world.shop.product(rare).unwrap().stock, 0);
    assert!(world.shop.expire_orders().unwrap().is_empty());
    let paid = world.shop.pay_order(held.id, &key("pay")).unwrap();
    assert_eq!(paid.status, OrderStatus::Paid);
    // No refusal has bound the key, and the events can still be leased.
    let ask =
        RelayEvents { token: 7, outcomes: vec![], max_events: 9, fresh_first: false, jitter: 0 };
    assert_eq!(world.shop.call(ask).run().unwrap().events.len(), 2);
    world.shop.place_order(PlaceOrder::new(kim, [(tea, 1)]), &key("ahead")).unwrap();
    world.assert_clean();
}

/// The calls are submitted together, so that one transaction or a few decide all.
#[rstest]
fn past_call_ends_no_hold_and_revives_none(#[values(On::Memory, On::Sqlite, On::Postgres)] on: On) {
    let (world, kim, rare, held) = held(on);
    world.clock.set(NOW.plus_seconds(899));
    let before = NOW.plus_seconds(-86_400);
    let history = world.shop.call_at(PlaceOrder::new(kim, [(rare, 1)]), before);
    assert_eq!(history.run().unwrap_err().code(), Code::InsufficientStock);
    world.clock.set(NOW.plus_seconds(900));
    let pay = world.shop.call_at(PayOrder { order_id: held.id }, NOW).submit();
    let order = world.shop.call_at(PlaceOrder::new(kim, [(rare, 1)]), before).submit();
    assert_eq!(pay.wait().unwrap_err().code(), Code::OrderNotPayable);
    assert_eq!(order.wait().unwrap().paid_at, Some(before));
    world.assert_clean();
}

#[rstest]
fn clock_set_back_keeps_the_store_consistent(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let (world, kim, rare, held) = held(on);
    let (tea, coupon) = (world.product(10, 50).id, world.coupon(5, 1).id);
    let year = 366 * 24 * 60 * 60;
    world.clock.set(NOW.plus_seconds(800));
    world.shop.claim_coupon(coupon, kim, &key("claim")).unwrap();
    let order = PlaceOrder::new(kim, [(tea, 1)]);
    let first = world.shop.place_order(order.clone(), &key("first")).unwrap();
    world.shop.call(RecordLoginAttempt { login: "kim".to_owned() }).run().unwrap();

    world.clock.set(NOW.plus_seconds(-year));
    let again = world.shop.call(order.clone()).key(&key("first")).outcome();
    assert_eq!((again.result.unwrap(), again.replayed), (first.clone(), true));
    let imported = world.shop.call_at(order.clone(), NOW.plus_seconds(800));
    assert!(imported.key(&key("first")).outcome().replayed, "what is there already is skipped");
    assert_eq!(world.shop.order(held.id).unwrap().status, OrderStatus::Pending);
    world.shop.place_order(order, &key("second")).unwrap();
    assert_eq!(
        world.shop.claim_coupon(CouponId::new(1), kim, &key("early")).unwrap_err().code(),
        Code::CouponAlreadyClaimed
    );
    world.shop.pay_order(held.id, &key("pay")).unwrap();
    world.shop.cancel_order(first.id, &key("cancel")).unwrap();
    assert_eq!(world.shop.product(rare).unwrap().stock, 0);
    assert!(world.shop.expire_orders().unwrap().is_empty());
    world.assert_clean();
}
