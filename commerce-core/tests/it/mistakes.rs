//! Failures that users of other shop systems have reported, and those of this project's
//! predecessors: each is reproduced here and must not occur. Races are in `contention.rs`.

use crate::common::{NOW, On, PausableStore, World, assert_clean, key};
use commerce_core::limits::EXPIRY_BATCH;
use commerce_core::testing::ExpireOrders;
use commerce_core::{
    AddCoupon, AddCustomer, AddProduct, BestSellersRequest, CartEdit, Code, Currency, Discount,
    EditCart, EventKind, ManualClock, MemoryStore, Money, OrderId, OrderStatus, PageRequest,
    PayWhen, PlaceOrder, Shop, UpdateProduct,
};
use rstest::rstest;
use std::sync::Arc;

fn code<T: std::fmt::Debug>(result: Result<T, commerce_core::Error>) -> Code {
    result.unwrap_err().code()
}

#[rstest]
fn repeated_product_in_one_order_does_not_oversell(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let world = World::new(on);
    let (customer, product) = (world.customer(1_000).id, world.product(10, 5).id);
    let order = PlaceOrder::new(customer, [(product, 3), (product, 3)]);
    assert_eq!(code(world.shop.place_order(order, &key("a"))), Code::InsufficientStock);
    assert_eq!(world.shop.product(product).unwrap().stock, 5);
    world.assert_clean();
}

#[rstest]
fn payment_exists_only_with_its_order(#[values(On::Memory, On::Sqlite, On::Postgres)] on: On) {
    let world = World::new(on);
    let (customer, product) = (world.customer(25).id, world.product(10, 5).id);
    world.shop.place_order(PlaceOrder::new(customer, [(product, 2)]), &key("a")).unwrap();
    let refused = world.shop.place_order(PlaceOrder::new(customer, [(product, 2)]), &key("b"));
    assert_eq!(code(refused), Code::InsufficientBalance);
    let page = PageRequest::default();
    assert_eq!(world.shop.orders(customer, &page).unwrap().items.len(), 1);
    assert_eq!(world.shop.payments(customer, &page).unwrap().items.len(), 1);
    world.assert_clean();
}

#[rstest]
fn retry_with_the_key_moves_money_once(#[values(On::Memory, On::Sqlite, On::Postgres)] on: On) {
    let world = World::new(on);
    let (customer, product) = (world.customer(0).id, world.product(10, 5).id);
    let mut balances = Vec::new();
    for _ in 0..2 {
        world.shop.charge(customer, Money::from_minor(100), &key("charge")).unwrap();
    }
    balances.push(world.shop.balance(customer).unwrap().balance.minor());
    let order = PlaceOrder { pay: PayWhen::Later, ..PlaceOrder::new(customer, [(product, 2)]) };
    let order = world.shop.place_order(order, &key("order")).unwrap();
    for _ in 0..2 {
        world.shop.pay_order(order.id, &key("pay")).unwrap();
    }
    balances.push(world.shop.balance(customer).unwrap().balance.minor());
    for _ in 0..2 {
        world.shop.cancel_order(order.id, &key("cancel")).unwrap();
    }
    balances.push(world.shop.balance(customer).unwrap().balance.minor());
    assert_eq!(balances, [100, 80, 100]);
    world.assert_clean();
}

#[rstest]
fn replay_returns_the_first_result_after_later_changes(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let world = World::new(on);
    let (customer, product) = (world.customer(100).id, world.product(10, 5).id);
    let order = PlaceOrder { pay: PayWhen::Later, ..PlaceOrder::new(customer, [(product, 2)]) };
    let placed = world.shop.place_order(order.clone(), &key("order")).unwrap();
    let paid = world.shop.pay_order(placed.id, &key("pay")).unwrap();
    world.clock.set(NOW.plus_seconds(5));
    world.shop.cancel_order(placed.id, &key("cancel")).unwrap();
    assert_eq!(world.shop.place_order(order, &key("order")).unwrap(), placed);
    assert_eq!(world.shop.pay_order(placed.id, &key("pay")).unwrap(), paid);
    assert_eq!(world.shop.order(placed.id).unwrap().status, OrderStatus::Cancelled);
    world.assert_clean();
}

#[rstest]
fn refusal_is_replayed_and_key_reuse_is_refused(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let world = World::new(on);
    let customer = world.customer(0).id;
    let debit = |amount| world.shop.debit(customer, Money::from_minor(amount), &key("debit"));
    assert_eq!(code(debit(50)), Code::InsufficientBalance);
    world.shop.charge(customer, Money::from_minor(100), &key("charge")).unwrap();
    assert_eq!(code(debit(50)), Code::InsufficientBalance, "the answer it was given");
    assert_eq!(code(debit(51)), Code::IdempotencyKeyReused);
    assert_eq!(world.shop.balance(customer).unwrap().balance, Money::from_minor(100));
    world.assert_clean();
}

#[rstest]
fn idempotency_keys_are_scoped_by_customer(#[values(On::Memory, On::Sqlite, On::Postgres)] on: On) {
    let world = World::new(on);
    for customer in [world.customer(0).id, world.customer(0).id] {
        let charge = world.shop.charge(customer, Money::from_minor(7), &key("k")).unwrap();
        assert_eq!((charge.customer_id, charge.balance.minor()), (customer, 7));
    }
    world.assert_clean();
}

#[rstest]
fn cancelled_order_restocks_once_and_returns_its_coupon(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let world = World::new(on);
    let (customer, product) = (world.customer(100).id, world.product(10, 5).id);
    let coupon = world.coupon(1, 3);
    let owned = world.shop.claim_coupon(coupon.id, customer, &key("claim")).unwrap();
    let with_coupon =
        PlaceOrder { owned_coupon_id: Some(owned.id), ..PlaceOrder::new(customer, [(product, 5)]) };
    let order = world.shop.place_order(with_coupon.clone(), &key("a")).unwrap();
    assert_eq!(order.total, Money::from_minor(47));
    world.shop.cancel_order(order.id, &key("b")).unwrap();
    assert_eq!(code(world.shop.cancel_order(order.id, &key("c"))), Code::OrderNotCancellable);
    assert_eq!(world.shop.product(product).unwrap().stock, 5);
    assert_eq!(
        world.shop.place_order(with_coupon, &key("d")).unwrap().discount,
        Money::from_minor(3)
    );
    world.assert_clean();
}

#[rstest]
fn expired_coupon_is_not_returned_by_a_cancellation(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let world = World::new(on);
    let (customer, product) = (world.customer(100).id, world.product(10, 5).id);
    let owned = world.shop.claim_coupon(world.coupon(1, 3).id, customer, &key("claim")).unwrap();
    let order =
        PlaceOrder { owned_coupon_id: Some(owned.id), ..PlaceOrder::new(customer, [(product, 1)]) };
    let order = world.shop.place_order(order, &key("a")).unwrap();
    world.clock.set(NOW.plus_seconds(1_000));
    world.shop.cancel_order(order.id, &key("b")).unwrap();
    let owned = world.shop.owned_coupons(customer, &PageRequest::default()).unwrap();
    assert_eq!(owned.items[0].status, commerce_core::OwnedCouponStatus::Expired);
    world.assert_clean();
}

#[rstest]
fn expired_order_restocks_once_and_returns_its_coupon(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let world = World::new(on);
    let (customer, product) = (world.customer(100).id, world.product(10, 5).id);
    let owned = world.shop.claim_coupon(world.coupon(1, 3).id, customer, &key("claim")).unwrap();
    let order = PlaceOrder {
        owned_coupon_id: Some(owned.id),
        pay: PayWhen::Later,
        ..PlaceOrder::new(customer, [(product, 5)])
    };
    let held = world.shop.place_order(order.clone(), &key("a")).unwrap();
    assert_eq!(code(world.shop.place_order(order.clone(), &key("b"))), Code::CouponAlreadyUsed);
    world.clock.set(NOW.plus_seconds(900));
    assert_eq!(world.shop.expire_orders().unwrap(), [held.id]);
    assert!(world.shop.expire_orders().unwrap().is_empty());
    assert_eq!(code(world.shop.pay_order(held.id, &key("c"))), Code::OrderNotPayable);
    assert_eq!(code(world.shop.cancel_order(held.id, &key("d"))), Code::OrderNotCancellable);
    assert_eq!(world.shop.product(product).unwrap().stock, 5);
    world.shop.place_order(order, &key("e")).unwrap();
    world.assert_clean();
}

#[rstest]
fn coupon_is_claimed_once_a_customer_within_its_dates(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let world = World::new(on);
    let coupon = world.coupon(2, 3).id;
    let (first, second, third) = (world.customer(0).id, world.customer(0).id, world.customer(0).id);
    let claim_at = |seconds: i64, customer| {
        world.clock.set(NOW.plus_seconds(seconds));
        world.shop.claim_coupon(coupon, customer, &key(&format!("claim-at-{seconds}")))
    };
    assert_eq!(code(claim_at(-1, first)), Code::CouponNotStarted);
    assert_eq!(claim_at(0, first).unwrap().rank, 1);
    assert_eq!(code(claim_at(1, first)), Code::CouponAlreadyClaimed);
    assert_eq!(claim_at(999, second).unwrap().rank, 2);
    assert_eq!(code(claim_at(998, third)), Code::CouponSoldOut);
    assert_eq!(code(claim_at(1_000, third)), Code::CouponExpired);
    assert_eq!(world.shop.coupon(coupon).unwrap().issued, 2);
    world.assert_clean();
}

#[rstest]
#[case::rounded_down(Discount::Percent { percent: 33, max_amount: None }, 9)]
#[case::capped(
    Discount::Percent { percent: 33, max_amount: Some(Money::from_minor(5)) },
    5
)]
#[case::all_of_it(Discount::Percent { percent: 100, max_amount: None }, 29)]
#[case::more_than_the_order(Discount::Fixed { amount: Money::from_minor(1_000) }, 29)]
fn discount_payment_and_refund_add_up(
    #[case] discount: Discount,
    #[case] off: i64,
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let world = World::new(on);
    let customer = world.customer(100).id;
    let items: Vec<_> = [3, 7, 19].map(|price| (world.product(price, 5).id, 1)).to_vec();
    let coupon = AddCoupon {
        below_minimum: commerce_core::BelowMinimum::Keep,
        name: "Spring".to_owned(),
        discount,
        min_order_amount: None,
        quantity: 1,
        valid_from: None,
        valid_until: None,
    };
    let coupon = world.shop.call(coupon).run().unwrap().id;
    let owned = world.shop.claim_coupon(coupon, customer, &key("claim")).unwrap();
    let order = PlaceOrder { owned_coupon_id: Some(owned.id), ..PlaceOrder::new(customer, items) };
    let order = world.shop.place_order(order, &key("a")).unwrap();
    let lines = order.lines.iter().map(|line| line.unit_price.minor() * line.quantity);
    assert_eq!(order.subtotal.minor(), lines.sum::<i64>());
    assert_eq!([order.discount.minor(), order.total.minor()], [off, 29 - off]);
    assert_eq!(world.shop.balance(customer).unwrap().balance.minor(), 100 - (29 - off));
    world.shop.cancel_order(order.id, &key("b")).unwrap();
    assert_eq!(world.shop.balance(customer).unwrap().balance.minor(), 100, "no more than was paid");
    world.assert_clean();
}

#[rstest]
fn failed_order_leaks_no_stock_and_counts_no_sale(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let world = World::new(on);
    let customer = world.customer(1_000).id;
    let (plenty, short) = (world.product(10, 50).id, world.product(10, 1).id);
    let order = PlaceOrder::new(customer, [(plenty, 5), (short, 2)]);
    assert_eq!(code(world.shop.place_order(order, &key("a"))), Code::InsufficientStock);
    assert_eq!(world.shop.product(plenty).unwrap().stock, 50);
    assert!(world.shop.best_sellers(&BestSellersRequest::default()).unwrap().items.is_empty());
    assert!(world.shop.events(&PageRequest::default()).unwrap().items.is_empty());
    world.assert_clean();
}

#[rstest]
fn cart_lines_survive_refused_and_unrelated_orders(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let world = World::new(on);
    let customer = world.customer(25).id;
    let (cheap, dear) = (world.product(10, 50).id, world.product(100, 50).id);
    let edit = |edit| world.shop.call(EditCart { customer_id: customer, edit }).run().unwrap();
    edit(CartEdit::Set(cheap, 2));
    edit(CartEdit::Set(dear, 1));
    let refused = world.shop.place_order(PlaceOrder::from_cart(customer), &key("a"));
    assert_eq!(code(refused), Code::InsufficientBalance);
    world.shop.place_order(PlaceOrder::new(customer, [(cheap, 1)]), &key("b")).unwrap();
    assert_eq!(world.shop.cart(customer).unwrap().items.len(), 2);
    world.assert_clean();
}

#[rstest]
fn negative_quantity_raises_no_stock(#[values(On::Memory, On::Sqlite, On::Postgres)] on: On) {
    let world = World::new(on);
    let (customer, product) = (world.customer(100).id, world.product(10, 5).id);
    let order = PlaceOrder::new(customer, [(product, -5)]);
    assert_eq!(code(world.shop.place_order(order, &key("a"))), Code::InvalidRequest);
    for edit in [CartEdit::Set(product, -5), CartEdit::Add(product, -5)] {
        let edit = world.shop.call(EditCart { customer_id: customer, edit }).run();
        assert_eq!(code(edit), Code::InvalidRequest);
    }
    assert_eq!(world.shop.product(product).unwrap().stock, 5);
    assert_eq!(world.shop.balance(customer).unwrap().balance, Money::from_minor(100));
    world.assert_clean();
}

#[rstest]
fn order_uses_the_current_price_and_debits_the_balance(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let world = World::new(on);
    let (customer, product) = (world.customer(100).id, world.product(10, 5).id);
    let edit = CartEdit::Set(product, 2);
    world.shop.call(EditCart { customer_id: customer, edit }).run().unwrap();
    let price = Some(Money::from_minor(12));
    let dearer = UpdateProduct { price, ..UpdateProduct::new(product) };
    world.shop.call(dearer).run().unwrap();
    let order = world.shop.place_order(PlaceOrder::from_cart(customer), &key("a")).unwrap();
    assert_eq!(order.total, Money::from_minor(24));
    assert_eq!(world.shop.balance(customer).unwrap().balance, Money::from_minor(76));
    world.assert_clean();
}

#[rstest]
fn best_sellers_include_today_and_break_ties_by_id(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let world = World::new(on);
    let customer = world.customer(10_000).id;
    let ids: Vec<_> = (0..4).map(|_| world.product(10, 50).id).collect();
    let order = PlaceOrder::new(customer, [(ids[3], 2), (ids[0], 1), (ids[2], 7), (ids[1], 2)]);
    world.shop.place_order(order, &key("a")).unwrap();
    let best = world.shop.best_sellers(&BestSellersRequest::default()).unwrap();
    let ranking: Vec<_> = best.items.iter().map(|item| item.product_id).collect();
    assert_eq!(ranking, [ids[2], ids[1], ids[3], ids[0]]);
    world.assert_clean();
}

#[rstest]
fn best_sellers_window_is_exact_to_the_second(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let world = World::new(on);
    let (customer, product) = (world.customer(10_000).id, world.product(10, 50).id);
    world.shop.place_order(PlaceOrder::new(customer, [(product, 1)]), &key("a")).unwrap();
    let sold = |seconds| {
        let at = Some(NOW.plus_seconds(seconds));
        let best =
            world.shop.best_sellers(&BestSellersRequest { at, ..Default::default() }).unwrap();
        best.items.len()
    };
    let days = 3 * 24 * 60 * 60;
    assert_eq!([sold(-1), sold(0), sold(days - 1), sold(days)], [0, 1, 1, 0]);
    world.assert_clean();
}

#[rstest]
fn late_cancellation_leaves_the_ranking_of_the_paid_day(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let world = World::new(on);
    let (customer, product) = (world.customer(10_000).id, world.product(10, 50).id);
    let order =
        world.shop.place_order(PlaceOrder::new(customer, [(product, 4)]), &key("a")).unwrap();
    world.clock.set(NOW.plus_seconds(30 * 24 * 60 * 60));
    world.shop.place_order(PlaceOrder::new(customer, [(product, 1)]), &key("b")).unwrap();
    world.shop.cancel_order(order.id, &key("c")).unwrap();
    let then = BestSellersRequest { at: Some(NOW), ..Default::default() };
    assert!(world.shop.best_sellers(&then).unwrap().items.is_empty());
    world.assert_clean();
}

#[rstest]
fn order_keeps_its_prices_when_the_product_changes(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let world = World::new(on);
    let (customer, product) = (world.customer(100).id, world.product(10, 5).id);
    let order =
        world.shop.place_order(PlaceOrder::new(customer, [(product, 2)]), &key("a")).unwrap();
    let change = UpdateProduct {
        name: Some("Coffee".to_owned()),
        price: Some(Money::from_minor(99)),
        ..UpdateProduct::new(product)
    };
    world.shop.call(change).run().unwrap();
    assert_eq!(world.shop.order(order.id).unwrap(), order);
    world.shop.cancel_order(order.id, &key("b")).unwrap();
    assert_eq!(world.shop.balance(customer).unwrap().balance, Money::from_minor(100));
    world.assert_clean();
}

#[rstest]
fn events_have_no_gaps_and_keep_the_order_of_their_time(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let world = World::new(on);
    let (customer, product) = (world.customer(100).id, world.product(10, 5).id);
    let order =
        world.shop.place_order(PlaceOrder::new(customer, [(product, 2)]), &key("a")).unwrap();
    world.shop.cancel_order(order.id, &key("b")).unwrap();
    world.shop.place_order(PlaceOrder::new(customer, [(product, 1)]), &key("c")).unwrap();
    let events = world.shop.events(&PageRequest::default()).unwrap().items;
    let kinds: Vec<_> =
        events.iter().map(|event| (event.id.get(), event.kind, event.data.status)).collect();
    assert_eq!(
        kinds,
        [
            (1, EventKind::OrderPaid, OrderStatus::Paid),
            (2, EventKind::OrderCancelled, OrderStatus::Cancelled),
            (3, EventKind::OrderPaid, OrderStatus::Paid),
        ]
    );
    assert_eq!(events[0].data, order);
    world.assert_clean();
}

#[rstest]
fn stock_of_any_number_of_overdue_orders_is_free(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let world = World::new(on);
    let (customer, product) = (world.customer(1_000_000).id, world.product(10, 2_500).id);
    let later = PlaceOrder { pay: PayWhen::Later, ..PlaceOrder::new(customer, [(product, 1)]) };
    let hold =
        |number: i32| world.shop.call(later.clone()).key(&key(&format!("hold-{number}"))).submit();
    let tickets: Vec<_> = (0..2_500).map(hold).collect();
    for ticket in tickets {
        ticket.wait().unwrap();
    }
    assert_eq!(world.shop.product(product).unwrap().stock, 0);
    world.clock.set(NOW.plus_seconds(900));
    world.shop.place_order(PlaceOrder::new(customer, [(product, 2_400)]), &key("all")).unwrap();
    assert_eq!(world.shop.product(product).unwrap().stock, 100);
    world.assert_clean();

    let order = world.shop.place_order(later, &key("one-more")).unwrap();
    world.clock.set(NOW.plus_seconds(1_800));
    assert_eq!(world.shop.product(product).unwrap().stock, 100, "read without any other call");
    assert_eq!(world.shop.order(order.id).unwrap().status, OrderStatus::Expired);
    world.assert_clean();
}

/// Returns a shop with 2,500 units of a product, all held by orders that are overdue 900 seconds
/// after the start, and its paused store, whose next batch takes all submitted calls.
fn overdue_backlog() -> (Shop, Arc<PausableStore<MemoryStore>>, PlaceOrder, Arc<ManualClock>) {
    let pausable = PausableStore::new(MemoryStore::new(Currency::KRW));
    let clock = Arc::new(ManualClock::new(NOW));
    let shop = Shop::builder().clock(Arc::clone(&clock)).open(Arc::clone(&pausable));
    let kim = AddCustomer { balance: Money::from_minor(1_000_000), ..AddCustomer::new("Kim") };
    let kim = shop.call(kim).run().unwrap().id;
    let tea = shop.call(AddProduct::new("Tea", Money::from_minor(10), 2_500)).run().unwrap().id;
    let later = PlaceOrder { pay: PayWhen::Later, ..PlaceOrder::new(kim, [(tea, 1)]) };
    let held: Vec<_> = (0..2_500).map(|_| shop.call(later.clone()).submit()).collect();
    assert!(held.into_iter().all(|ticket| ticket.wait().is_ok()));
    pausable.pause();
    (shop, pausable, PlaceOrder::new(kim, [(tea, 2_400)]), clock)
}

#[test]
fn overdue_backlog_is_released_after_a_past_call() {
    let (shop, pausable, order, clock) = overdue_backlog();
    let before = shop.call(AddCustomer::new("Lee")).submit();
    clock.set(NOW.plus_seconds(900));
    let placed = shop.call(order).submit();
    pausable.resume();
    before.wait().unwrap();
    placed.wait().unwrap();
    assert_clean(&shop);
}

#[test]
fn overdue_backlog_is_released_after_the_sweep() {
    let (shop, pausable, order, clock) = overdue_backlog();
    clock.set(NOW.plus_seconds(900));
    let swept = shop.call(ExpireOrders).submit();
    let placed = shop.call(order).submit();
    pausable.resume();
    assert_eq!(swept.wait().unwrap().len(), EXPIRY_BATCH);
    placed.wait().unwrap();
    assert_clean(&shop);
}

#[rstest]
fn sweep_releases_the_longest_overdue_first(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let world = World::new(on);
    let (customer, product) = (world.customer(0).id, world.product(10, 1_500).id);
    let later = PlaceOrder { pay: PayWhen::Later, ..PlaceOrder::new(customer, [(product, 1)]) };
    let back = (0..1_500).rev();
    // The clock goes back from order to order, so that the last one expires first.
    let held = back.map(|at| {
        world.clock.set(NOW.plus_seconds(at));
        world.shop.call(later.clone()).submit()
    });
    assert!(held.collect::<Vec<_>>().into_iter().all(|ticket| ticket.wait().is_ok()));
    world.clock.set(NOW.plus_seconds(10_000));
    let swept = world.shop.call(ExpireOrders).run().unwrap();
    let swept: Vec<_> = swept.into_iter().map(OrderId::get).collect();
    assert_eq!((swept.len(), swept[0], swept[999]), (1_000, 1_500, 501));
    assert!(swept.is_sorted_by(|before, after| before > after));
    assert_eq!(world.shop.call(ExpireOrders).run().unwrap().len(), 500);
    assert_eq!(world.shop.product(product).unwrap().stock, 1_500);
    world.assert_clean();
}

#[rstest]
fn cursor_pages_stay_within_one_customer(#[values(On::Memory, On::Sqlite, On::Postgres)] on: On) {
    let world = World::new(on);
    let (mine, other, product) =
        (world.customer(1_000).id, world.customer(1_000).id, world.product(1, 500).id);
    for turn in 0..50 {
        let customer = if turn % 2 == 0 { mine } else { other };
        world
            .shop
            .place_order(PlaceOrder::new(customer, [(product, 1)]), &key(&format!("{turn}")))
            .unwrap();
    }
    let mut page = PageRequest::first(7);
    let mut seen = Vec::new();
    loop {
        let orders = world.shop.orders(mine, &page).unwrap();
        seen.extend(orders.items.iter().map(|order| order.id.get()));
        page.cursor = orders.next_cursor;
        if page.cursor.is_none() {
            break;
        }
        let theirs = world.shop.orders(other, &page);
        assert_eq!(code(theirs.map(drop)), Code::InvalidRequest);
    }
    assert_eq!(seen, (0..25).map(|index| 49 - 2 * index).collect::<Vec<i64>>());
    world.assert_clean();
}

/// Every kind of addition happens once, however often its key is repeated.
#[rstest]
fn additions_with_a_key_happen_once(#[values(On::Memory, On::Sqlite, On::Postgres)] on: On) {
    let world = World::new(on);
    let balance = Money::from_minor(1_000);
    let add = || AddCustomer { balance, ..AddCustomer::new("Kim") };
    let kim = world.shop.call(add()).key(&key("a")).run().unwrap();
    let again = world.shop.call(add()).key(&key("a")).outcome();
    assert_eq!((again.result.unwrap(), again.replayed), (kim.clone(), true));

    let tea = || AddProduct::new("Tea", Money::from_minor(10), 5);
    let product = world.shop.call(tea()).key(&key("b")).run().unwrap();
    assert_eq!(world.shop.call(tea()).key(&key("b")).run().unwrap(), product);

    let edit = CartEdit::Add(product.id, 2);
    let edit = || EditCart { customer_id: kim.id, edit };
    world.shop.call(edit()).key(&key("c")).run().unwrap();
    let cart = world.shop.call(edit()).key(&key("c")).run().unwrap();
    assert_eq!(cart.items[0].quantity, 2);

    let page = PageRequest::default();
    assert_eq!(world.shop.customers(&page).unwrap().items.len(), 1);
    assert_eq!(world.shop.products(&page).unwrap().items.len(), 1);
    world.assert_clean();
}
