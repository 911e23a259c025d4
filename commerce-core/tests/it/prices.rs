//! Sale prices on each store: products, carts, rankings, versions and orders follow the clock, and what was ordered stays.

use crate::common::{NOW, On, World, key};
use commerce_core::{
    BestSellersRequest, CancelOrder, CartEdit, EditCart, Money, Order, Patch, PlaceOrder,
    ProductId, StockReportRequest, UpdateProduct, Version,
};
use rstest::rstest;

/// 70 instead of 100, from 100 to 200 seconds after [`NOW`].
fn sale(product: ProductId) -> UpdateProduct {
    UpdateProduct {
        sale_price: Patch::Set(Money::from_minor(70)),
        sale_from: Some(NOW.plus_seconds(100)),
        sale_until: Patch::Set(NOW.plus_seconds(200)),
        ..UpdateProduct::new(product)
    }
}

fn prices(order: &Order) -> Vec<(i64, i64)> {
    let lines = order.lines.iter();
    lines.map(|line| (line.unit_price.minor(), line.regular_price.minor())).collect()
}

#[rstest]
fn sale_price_is_shown_and_paid_in_its_period_only(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let world = World::new(on);
    let (kim, tea) = (world.customer(10_000).id, world.product(100, 100).id);
    let plain = world.product(5, 100).id;
    let edit = CartEdit::Set(tea, 2);
    world.shop.call(EditCart { customer_id: kim, edit }).run().unwrap();
    world.shop.call(sale(tea)).run().unwrap();
    let version = || Version::of(&world.shop.in_currency(world.shop.product(tea).unwrap()));
    let before = version();
    for (seconds, price) in [(99, 100), (100, 70), (199, 70), (200, 100)] {
        world.clock.set(NOW.plus_seconds(seconds));
        let product = world.shop.product(tea).unwrap();
        assert_eq!((product.price.minor(), product.regular_price.minor()), (price, 100));
        let cart = world.shop.cart(kim).unwrap();
        let item = &cart.items[0];
        let shown = (item.unit_price.minor(), item.regular_price.minor(), cart.total.minor());
        assert_eq!(shown, (price, 100, 2 * price));
        let order = PlaceOrder::new(kim, [(tea, 1), (plain, 1)]);
        let order = world.shop.place_order(order, &key(&format!("at-{seconds}"))).unwrap();
        assert_eq!(prices(&order), [(price, 100), (5, 5)]);
        assert_eq!(world.shop.order(order.id).unwrap(), order, "as it is stored");
        let best = world.shop.best_sellers(&BestSellersRequest::default()).unwrap();
        assert_eq!(best.items[0].price.minor(), price);
        // The version is that of what is shown: a sale that begins or ends makes it another one.
        let change = || UpdateProduct { name: Some("Tea".to_owned()), ..UpdateProduct::new(tea) };
        world.shop.call(change()).only_if(vec![before]).run().unwrap_err();
        world.shop.call(change()).only_if(vec![version()]).run().unwrap();
    }
    world.assert_clean();
}

#[rstest]
fn orders_and_used_keys_keep_the_prices_of_their_instant(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let world = World::new(on);
    let (kim, tea) = (world.customer(10_000).id, world.product(100, 100).id);
    let (set, edited) = (key("sale"), key("edit"));
    let updated = world.shop.call(sale(tea)).key(&set).run().unwrap();
    let edit = || EditCart { customer_id: kim, edit: CartEdit::Set(tea, 1) };
    world.clock.set(NOW.plus_seconds(150));
    let cart = world.shop.call(edit()).key(&edited).run().unwrap();
    assert_eq!(cart.total.minor(), 70);
    let order = PlaceOrder::new(kim, [(tea, 2)]);
    let placed = world.shop.place_order(order.clone(), &key("order")).unwrap();
    world.clock.set(NOW.plus_seconds(250));
    let cheaper = UpdateProduct {
        price: Some(Money::from_minor(50)),
        sale_price: Patch::Remove,
        ..UpdateProduct::new(tea)
    };
    world.shop.call(cheaper).run().unwrap();
    assert_eq!(world.shop.call(sale(tea)).key(&set).run().unwrap(), updated);
    assert_eq!(world.shop.call(edit()).key(&edited).run().unwrap(), cart);
    assert_eq!(world.shop.place_order(order, &key("order")).unwrap(), placed);
    assert_eq!(prices(&placed), [(70, 100)]);
    // History is ordered at the prices of its instant, by the sale of now.
    world.shop.call(sale(tea)).run().unwrap_err();
    let sale = UpdateProduct { price: Some(Money::from_minor(100)), ..sale(tea) };
    world.shop.call(sale).run().unwrap();
    let at = |seconds| {
        let order = PlaceOrder::new(kim, [(tea, 1)]);
        prices(&world.shop.call_at(order, NOW.plus_seconds(seconds)).run().unwrap())
    };
    assert_eq!([at(50), at(150), at(240)], [[(100, 100)], [(70, 100)], [(100, 100)]]);
    world.shop.call(CancelOrder::new(placed.id)).run().unwrap();
    world.assert_clean();
}

#[rstest]
fn stock_report_begins_with_the_products_low_on_stock(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let world = World::new(on);
    let [plenty, empty, low, lower] = [80, 0, 9, 5].map(|stock| world.product(10, stock).id);
    for (product, threshold) in [(plenty, 79), (low, 9), (lower, 7)] {
        let low_stock_threshold = Patch::Set(threshold);
        let update = UpdateProduct { low_stock_threshold, ..UpdateProduct::new(product) };
        world.shop.call(update).run().unwrap();
    }
    let report = world.shop.report(&StockReportRequest::default()).unwrap();
    let ids: Vec<ProductId> = report.items.iter().map(|item| item.product_id).collect();
    assert_eq!(ids, [lower, low, empty, plenty]);
    assert_eq!(report.items[0].low_stock_threshold, Some(7));
}
