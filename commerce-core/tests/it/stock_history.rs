//! The history of a product: every change of its stock in one list.

use crate::common::{NOW, On, World, key};
use commerce_core::limits::MAX_EXAMINED;
use commerce_core::{
    Actor, AddProduct, AdjustStock, CancelOrder, Code, Error, Money, OrderId, PageRequest, PayWhen,
    PlaceOrder, ProductId, StockChange,
};
use rstest::rstest;

impl World {
    /// Returns the history of a product, read in pages of `limit` items.
    fn history(&self, product: ProductId, limit: usize) -> Vec<StockChange> {
        let mut request = PageRequest::first(limit);
        let mut changes = Vec::new();
        loop {
            let page = self.shop.product_history(product, &request).unwrap();
            assert!(page.items.len() <= limit);
            changes.extend(page.items);
            request.cursor = page.next_cursor;
            if request.cursor.is_none() {
                return changes;
            }
        }
    }

    fn at(&self, seconds: i64) {
        self.clock.set(NOW.plus_seconds(seconds));
    }
}

/// A change in short: seconds, delta, stock after it, reason and order.
type Short = (i64, i64, i64, &'static str, Option<i64>);

fn short(change: &StockChange) -> (i64, i64, i64, &str, Option<i64>) {
    let StockChange { created_at, delta, stock_after, reason, order_id, .. } = change;
    let seconds = created_at.unix() - NOW.unix();
    (seconds, *delta, *stock_after, reason.as_str(), order_id.map(OrderId::get))
}

fn assert_history(world: &World, product: ProductId, expected: &[Short]) {
    for limit in [1, 2, 3, 100] {
        let history = world.history(product, limit);
        assert_eq!(history.iter().map(short).collect::<Vec<_>>(), expected, "limit {limit}");
    }
}

/// Orders and cancellations by others than the customer have the actor that the audit trail names.
#[rstest]
fn history_names_the_actors_of_orders(#[values(On::Memory, On::Sqlite, On::Postgres)] on: On) {
    let world = World::new(on);
    let (kim, lee) = (world.customer(100_000).id, world.customer(0).id);
    let (tea, staff) = (world.product(100, 10).id, Some(Actor::Customer(lee)));
    let order = || world.shop.call(PlaceOrder::new(kim, [(tea, 1)]));
    order().actor(Some(Actor::Customer(kim))).run().unwrap();
    order().actor(staff).run().unwrap();
    world.at(10);
    for (id, actor) in [(2, Actor::Cli), (1, Actor::Customer(kim))] {
        let cancel = CancelOrder::new(OrderId::new(id));
        world.shop.call(cancel).actor(Some(actor)).run().unwrap();
    }
    let history = world.history(tea, 2);
    let mut actors: Vec<_> =
        history.iter().map(|row| (row.order_id.map(OrderId::get), row.delta, row.actor)).collect();
    actors.sort_by_key(|(order, delta, _)| (*order, *delta));
    let expected = [
        (Some(1), -1, None),
        (Some(1), 1, None),
        (Some(2), -1, staff),
        (Some(2), 1, Some(Actor::Cli)),
    ];
    assert_eq!(actors[1..], expected);
}

#[rstest]
fn history_has_adjustments_and_orders_with_the_stock_after_each(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let world = World::new(on);
    let kim = world.customer(100_000).id;
    let (tea, cup) = (world.product(100, 10).id, world.product(100, 10).id);
    let later = |order: PlaceOrder| PlaceOrder { pay: PayWhen::Later, ..order };
    world.at(10);
    world.shop.call(PlaceOrder::new(kim, [(tea, 4), (cup, 1)])).run().unwrap();
    world.at(20);
    world.shop.adjust_stock(tea, 5, "delivery", &key("add")).unwrap();
    world.at(30);
    world.shop.call(later(PlaceOrder::new(kim, [(tea, 6)]))).run().unwrap();
    world.at(40);
    world.shop.call(PlaceOrder::new(kim, [(cup, 2)])).run().unwrap();
    world.at(50);
    world.shop.cancel_order(OrderId::new(1), &key("cancel")).unwrap();
    world.at(60);
    world.shop.adjust_stock(tea, -2, "broken", &key("broken")).unwrap();
    world.at(2_000);
    let expected: [Short; 7] = [
        (930, 6, 13, "order expired", Some(2)),
        (60, -2, 7, "broken", None),
        (50, 4, 9, "order cancelled", Some(1)),
        (30, -6, 5, "ordered", Some(2)),
        (20, 5, 11, "delivery", None),
        (10, -4, 6, "ordered", Some(1)),
        (0, 10, 10, "first stock", None),
    ];
    assert_history(&world, tea, &expected);
    assert_eq!(world.shop.product(tea).unwrap().stock, 13);
    let refused = world.shop.product_history(ProductId::new(9), &PageRequest::default());
    let code = refused.err().map(|error: Error| error.code());
    assert_eq!(code, Some(Code::ProductNotFound));
}

/// Cancels units of an order.
fn cancel_part(world: &World, order: i64, items: &[(ProductId, i64)], keep_stock: bool) {
    let (order_id, items) = (OrderId::new(order), Some(items.to_vec()));
    world.shop.call(CancelOrder { order_id, items, keep_stock }).run().unwrap();
}

/// Units that a cancellation of a part returned have its instant; units that it lost never come back.
#[rstest]
fn history_has_the_parts_of_orders_that_were_cancelled(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let world = World::new(on);
    let kim = world.customer(100_000).id;
    let (tea, cup) = (world.product(100, 20).id, world.product(100, 10).id);
    world.at(10);
    world.shop.call(PlaceOrder::new(kim, [(tea, 9), (cup, 2)])).run().unwrap();
    let later = PlaceOrder { pay: PayWhen::Later, ..PlaceOrder::new(kim, [(tea, 5), (cup, 1)]) };
    world.at(20);
    world.shop.call(later).run().unwrap();
    world.at(30);
    cancel_part(&world, 1, &[(tea, 2), (cup, 2)], false);
    world.at(40);
    cancel_part(&world, 1, &[(tea, 1)], true);
    cancel_part(&world, 2, &[(tea, 3)], false);
    world.at(50);
    cancel_part(&world, 1, &[(tea, 1)], false);
    world.at(60);
    world.shop.cancel_order(OrderId::new(1), &key("rest")).unwrap();
    world.at(2_000);
    let part = "part of order cancelled";
    let expected: [Short; 8] = [
        (920, 2, 19, "order expired", Some(2)),
        (60, 5, 17, "order cancelled", Some(1)),
        (50, 1, 12, part, Some(1)),
        (40, 3, 11, part, Some(2)),
        (30, 2, 8, part, Some(1)),
        (20, -5, 6, "ordered", Some(2)),
        (10, -9, 11, "ordered", Some(1)),
        (0, 20, 20, "first stock", None),
    ];
    assert_history(&world, tea, &expected);
    assert_eq!(world.shop.product(tea).unwrap().stock, 19);
    let expected: [Short; 5] = [
        (920, 1, 10, "order expired", Some(2)),
        (30, 2, 9, part, Some(1)),
        (20, -1, 7, "ordered", Some(2)),
        (10, -2, 8, "ordered", Some(1)),
        (0, 10, 10, "first stock", None),
    ];
    assert_history(&world, cup, &expected);
    world.assert_clean();
}

/// More parts than one read of the stream, all in one second.
#[rstest]
fn history_of_many_parts_is_whole(#[values(On::Memory, On::Sqlite, On::Postgres)] on: On) {
    let world = World::new(on);
    let kim = world.customer(100_000).id;
    let tea = world.product(1, 200).id;
    world.shop.call(PlaceOrder::new(kim, [(tea, 120)])).run().unwrap();
    world.shop.call(PlaceOrder::new(kim, [(tea, 60)])).run().unwrap();
    for number in 0..110 {
        cancel_part(&world, 1 + i64::from(number % 3 == 0), &[(tea, 1)], false);
    }
    let history = world.history(tea, 7);
    assert_eq!(history.len(), 113);
    let stock = history.iter().rev().fold(0, |stock, change| {
        assert_eq!(change.stock_after, stock + change.delta, "{change:?}");
        change.stock_after
    });
    assert_eq!(stock, 200 - 180 + 110);
}

/// Parts have the actor of their second, if it is one.
#[rstest]
fn history_names_the_actors_of_parts(#[values(On::Memory, On::Sqlite, On::Postgres)] on: On) {
    let world = World::new(on);
    let (kim, lee) = (world.customer(100_000).id, world.customer(0).id);
    let tea = world.product(100, 10).id;
    world.shop.call(PlaceOrder::new(kim, [(tea, 9)])).run().unwrap();
    let cancel = |actor: Actor| {
        let (order_id, items) = (OrderId::new(1), Some(vec![(tea, 1)]));
        let request = CancelOrder { order_id, items, keep_stock: false };
        world.shop.call(request).actor(Some(actor)).run().unwrap();
    };
    for (seconds, actor) in [
        (10, Actor::Cli),
        (20, Actor::Customer(lee)),
        (20, Actor::Customer(lee)),
        (30, Actor::Customer(kim)),
        (40, Actor::Customer(lee)),
        (40, Actor::Cli),
    ] {
        world.at(seconds);
        cancel(actor);
    }
    let actors: Vec<_> = world.history(tea, 3).iter().map(|row| row.actor).collect();
    let staff = Some(Actor::Customer(lee));
    assert_eq!(actors[..6], [None, None, None, staff, staff, Some(Actor::Cli)]);
}

/// All in one second: the stock was never negative.
#[rstest]
fn history_of_one_second_is_in_an_order_that_stock_allows(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let world = World::new(on);
    let kim = world.customer(100_000).id;
    let tea = world.product(100, 5).id;
    world.shop.call(PlaceOrder::new(kim, [(tea, 5)])).run().unwrap();
    world.shop.cancel_order(OrderId::new(1), &key("cancel")).unwrap();
    world.shop.call(PlaceOrder::new(kim, [(tea, 5)])).run().unwrap();
    world.shop.adjust_stock(tea, 3, "delivery", &key("add")).unwrap();
    world.shop.call(PlaceOrder::new(kim, [(tea, 3)])).run().unwrap();
    let history = world.history(tea, 2);
    let mut stock = 0;
    for change in history.iter().rev() {
        stock += change.delta;
        assert_eq!(change.stock_after, stock, "{change:?}");
        assert!(stock >= 0, "{history:?}");
    }
    assert_eq!((history.len(), stock), (6, 0));
}

/// An import of orders from before the product was added.
#[rstest]
fn history_of_imported_orders_is_in_an_order_that_stock_allows(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let world = World::new(on);
    let kim = world.customer(100_000).id;
    world.at(5_000);
    let tea = world.product(100, 10).id;
    for number in 1..=3 {
        let order = PlaceOrder::new(kim, [(tea, 3)]);
        world.shop.call_at(order, NOW.plus_seconds(number)).run().unwrap();
    }
    let expected: [Short; 4] = [
        (3, -3, 1, "ordered", Some(3)),
        (2, -3, 4, "ordered", Some(2)),
        (1, -3, 7, "ordered", Some(1)),
        (5_000, 10, 10, "first stock", None),
    ];
    assert_history(&world, tea, &expected);
}

#[rstest]
fn pages_of_a_history_stay_right_while_stock_changes(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let world = World::new(on);
    let kim = world.customer(100_000).id;
    let (tea, cup) = (world.product(100, 100).id, world.product(100, 100).id);
    for number in 1..=5 {
        world.at(number);
        world.shop.call(PlaceOrder::new(kim, [(tea, number)])).run().unwrap();
    }
    let whole = world.history(tea, 100);
    let first = world.shop.product_history(tea, &PageRequest::first(2)).unwrap();
    world.at(10);
    world.shop.call(PlaceOrder::new(kim, [(tea, 7)])).run().unwrap();
    world.shop.cancel_order(OrderId::new(1), &key("cancel")).unwrap();
    world.shop.adjust_stock(tea, 9, "delivery", &key("add")).unwrap();
    let rest = PageRequest { limit: 100, cursor: first.next_cursor.clone() };
    let rest = world.shop.product_history(tea, &rest).unwrap();
    assert_eq!([first.items, rest.items].concat(), whole);
    let of_tea = PageRequest { limit: 2, cursor: first.next_cursor };
    let refused = world.shop.product_history(cup, &of_tea);
    assert_eq!(refused.err().map(|error| error.code()), Some(Code::InvalidRequest));
}

/// A product that was last sold before many other orders: its page is empty and leads to the rest.
#[test]
fn page_of_a_history_examines_a_bounded_number_of_orders() {
    let world = World::new(On::Sqlite);
    let kim = world.customer(1_000_000_000).id;
    let (tea, cup) = (world.product(1, 100).id, world.product(1, 1_000_000).id);
    world.at(1);
    world.shop.call(PlaceOrder::new(kim, [(tea, 1)])).run().unwrap();
    for _ in 0..MAX_EXAMINED / 1_000 {
        let order = || PlaceOrder::new(kim, [(cup, 1)]);
        let calls: Vec<_> = (0..1_000).map(|_| world.shop.call(order()).submit()).collect();
        for call in calls {
            assert!(call.outcome().result.is_ok());
        }
    }
    let first = world.shop.product_history(tea, &PageRequest::default()).unwrap();
    assert_eq!(first.items.len(), 0);
    assert!(first.next_cursor.is_some());
    let expected: [Short; 2] =
        [(1, -1, 99, "ordered", Some(1)), (0, 100, 100, "first stock", None)];
    assert_history(&world, tea, &expected);
    // A product without orders of its own is examined in the same way.
    let pot = world.shop.call(AddProduct::new("Pot", Money::from_minor(1), 3)).run().unwrap();
    world
        .shop
        .call(AdjustStock { product_id: pot.id, delta: 1, reason: "found".into() })
        .run()
        .unwrap();
    assert_history(&world, pot.id, &[(1, 1, 4, "found", None), (1, 3, 3, "first stock", None)]);
}
