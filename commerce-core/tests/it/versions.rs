//! Versions, pages and single reads, which clients rely on: the same on each store.

use crate::common::{On, World, key};
use commerce_core::limits::MAX_PAGE_BYTES;
use commerce_core::{
    AddProduct, AdjustStock, CancelOrder, CartEdit, ChargeBalance, ClaimCoupon, Code, CustomerId,
    DebitBalance, EditCart, Error, LedgerEntryId, Money, Operation, OwnedCouponId, PageRequest,
    PayOrder, PayWhen, PlaceOrder, UpdateProduct, Version,
};
use rstest::rstest;
use serde::Serialize;
use std::collections::BTreeSet;
use std::sync::Barrier;

fn code<T>(result: Result<T, Error>) -> Option<Code> {
    result.err().map(|error| error.code())
}

impl World {
    fn version(&self, body: impl Serialize) -> Version {
        Version::of(&self.shop.in_currency(body))
    }

    /// Asserts that the change is refused for another version, made for the current one, and
    /// refused for the outdated one.
    fn assert_honours<R: Operation + Clone>(&self, read: &dyn Fn() -> Version, request: &R) {
        let change = |version| self.shop.call(request.clone()).only_if(vec![version]).run();
        let (stale, current) = (Version::of(&"another"), read());
        assert_eq!(code(change(stale)), Some(Code::PreconditionFailed));
        assert_eq!(read(), current, "a refusal has changed nothing");
        assert_eq!(code(change(current)), None);
        assert_ne!(read(), current);
        assert_eq!(code(change(current)), Some(Code::PreconditionFailed));
    }
}

#[rstest]
fn change_applies_only_to_the_version_read(#[values(On::Memory, On::Sqlite, On::Postgres)] on: On) {
    let world = World::new(on);
    let (kim, tea) = (world.customer(10_000).id, world.product(450, 100).id);
    let product = || world.version(world.shop.product(tea).unwrap());
    let price = Some(Money::from_minor(480));
    world.assert_honours(&product, &UpdateProduct { price, ..UpdateProduct::new(tea) });
    let reason = "count".to_owned();
    world.assert_honours(&product, &AdjustStock { product_id: tea, delta: 1, reason });
    let cart = || world.version(world.shop.cart(kim).unwrap());
    world.assert_honours(&cart, &EditCart { customer_id: kim, edit: CartEdit::Add(tea, 2) });
    world.assert_honours(&cart, &EditCart { customer_id: kim, edit: CartEdit::Clear });
    let later = PlaceOrder { pay: PayWhen::Later, ..PlaceOrder::new(kim, [(tea, 2)]) };
    let order = world.shop.place_order(later, &key("order")).unwrap().id;
    let read = || world.version(world.shop.order(order).unwrap());
    world.assert_honours(&read, &PayOrder { order_id: order });
    world.assert_honours(&read, &CancelOrder::new(order));
    // A balance has no version, so no change of it is conditional.
    let amount = Money::from_minor(5);
    let charge = world.shop.call(ChargeBalance { customer_id: kim, amount });
    assert_eq!(code(charge.only_if(vec![cart()]).run()), Some(Code::PreconditionFailed));
    world.assert_clean();
}

#[rstest]
fn one_of_many_changes_to_a_version_wins(#[values(On::Memory, On::Sqlite, On::Postgres)] on: On) {
    let world = World::new(on);
    let tea = world.product(450, 100).id;
    let read = world.version(world.shop.product(tea).unwrap());
    let ready = Barrier::new(8);
    let change = |price: i64| {
        let price = Some(Money::from_minor(price));
        let request = UpdateProduct { price, ..UpdateProduct::new(tea) };
        let call = world.shop.call(request).only_if(vec![read]);
        ready.wait();
        call.run().is_ok()
    };
    let won = std::thread::scope(|scope| {
        let change = &change;
        let all: Vec<_> = (1..=8).map(|price| scope.spawn(move || change(price))).collect();
        all.into_iter().map(|one| one.join().unwrap()).filter(|won| *won).count()
    });
    assert_eq!(won, 1);
    world.assert_clean();
}

#[rstest]
fn claimed_coupon_and_debit_are_read_by_id(#[values(On::Memory, On::Sqlite, On::Postgres)] on: On) {
    let world = World::new(on);
    let (kim, lee) = (world.customer(1_000).id, world.customer(1_000).id);
    let coupon_id = world.coupon(5, 100).id;
    let claim = |customer_id| ClaimCoupon { coupon_id, customer_id };
    let owned = world.shop.call(claim(kim)).key(&key("claim")).run().unwrap();
    assert_eq!(world.shop.owned_coupon_of(kim, owned.id).unwrap(), owned);
    let amount = Money::from_minor(30);
    let debit = DebitBalance { customer_id: kim, amount, note: None };
    let debit = world.shop.call(debit).key(&key("debit")).run().unwrap();
    assert_eq!(world.shop.debit_of(kim, debit.id).unwrap(), debit);
    assert_eq!(code(world.shop.owned_coupon_of(lee, owned.id)), Some(Code::CouponNotFound));
    assert_eq!(code(world.shop.debit_of(lee, debit.id)), Some(Code::DebitNotFound));
    assert_eq!(
        code(world.shop.owned_coupon_of(kim, OwnedCouponId::new(99))),
        Some(Code::CouponNotFound)
    );
    // The opening balance is an entry of the same ledger, but no debit.
    for id in [1, 99].map(LedgerEntryId::new) {
        assert_eq!(code(world.shop.debit_of(kim, id)), Some(Code::DebitNotFound));
    }
}

/// Reads a page; returns its ids and its cursor.
type Read<'a> = dyn Fn(&PageRequest) -> (Vec<i64>, Option<String>) + 'a;

/// Pages have a bound for orders of any size, and their cursors show each order and event once.
#[rstest]
fn pages_of_large_orders_are_bounded_and_complete(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
    #[values(1, 300)] lines: usize,
) {
    let world = World::new(on);
    let kim = world.customer(1_000_000).id;
    let name = "\u{10348}".repeat(200);
    let add = |_| world.shop.call(AddProduct::new(&name, Money::from_minor(1), 1_000)).submit();
    let products: Vec<_> = (0..lines).map(add).collect();
    let products: Vec<_> = products.into_iter().map(|added| added.wait().unwrap().id).collect();
    for number in 0..12 {
        let items: Vec<_> = products.iter().map(|id| (*id, 1)).collect();
        let key = key(&format!("order-{number}"));
        world.shop.place_order(PlaceOrder::new(kim, items), &key).unwrap();
    }
    let large = lines > 1;
    let orders = |page: &PageRequest| {
        let page = world.shop.orders(kim, page).unwrap();
        assert!(serde_json::to_vec(&page).unwrap().len() < MAX_PAGE_BYTES + 1_024);
        (page.items.iter().map(|order| order.id.get()).collect::<Vec<_>>(), page.next_cursor)
    };
    let events = |page: &PageRequest| {
        let page = world.shop.tracked_events(page).unwrap();
        assert!(serde_json::to_vec(&page).unwrap().len() < MAX_PAGE_BYTES + 1_024);
        (page.items.iter().map(|row| row.event.id.get()).collect::<Vec<_>>(), page.next_cursor)
    };
    let reads: [&Read<'_>; 2] = [&orders, &events];
    for read in reads {
        for limit in [1, 7, 8, 9, 100] {
            let (mut page, mut seen) = (PageRequest::first(limit), Vec::new());
            loop {
                let (ids, cursor) = read(&page);
                assert!(!ids.is_empty() && ids.len() <= limit);
                assert!(large || cursor.is_none() || ids.len() == limit, "small ones fill a page");
                seen.extend(ids);
                let Some(cursor) = cursor else { break };
                page.cursor = Some(cursor);
            }
            assert_eq!(seen.len(), 12);
            assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), 12);
        }
    }
}

#[rstest]
#[case::of_another_customer("orders-2-1")]
#[case::of_another_list("ledger-1-1")]
#[case::a_number("1")]
#[case::written_in_another_way("orders-1-01")]
#[case::of_no_row("orders-1-0")]
#[case::negative("orders-1--1")]
#[case::nothing("")]
fn cursor_of_another_list_is_refused(#[case] cursor: &str) {
    let world = World::new(On::Memory);
    let kim = world.customer(0).id;
    assert_eq!(kim, CustomerId::new(1));
    let page = PageRequest { cursor: Some(cursor.to_owned()), ..PageRequest::default() };
    assert_eq!(code(world.shop.orders(kim, &page)), Some(Code::InvalidRequest));
}
