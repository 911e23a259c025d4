//! Lists of the back office with their filters: the same on each store.

use crate::common::{NOW, On, World, key};
use commerce_core::limits::MAX_EXAMINED;
use commerce_core::{
    AddCustomer, AddProduct, CancelOrder, ChargeFilter, ChargeStatus, ClaimCoupon, Code, CouponId,
    CustomerId, Error, Money, Order, OrderFilter, OrderId, OrderStatus, OwnedCouponStatus, Page,
    PageRequest, Patch, PayWhen, PlaceOrder, Product, ProductFilter, ProductId, ProductSelection,
    ProductStatus, Shop, UpdateProduct,
};
use rstest::rstest;

/// Returns the ids of all pages of two items each.
fn ids<T>(
    read: impl Fn(&PageRequest) -> Result<Page<T>, Error>,
    id: impl Fn(&T) -> i64,
) -> Vec<i64> {
    let mut request = PageRequest::first(2);
    let mut found = Vec::new();
    loop {
        let page = read(&request).unwrap();
        assert!(page.items.len() <= 2);
        found.extend(page.items.iter().map(&id));
        request.cursor = page.next_cursor;
        if request.cursor.is_none() {
            return found;
        }
    }
}

fn orders(shop: &Shop, filter: &OrderFilter) -> Vec<i64> {
    ids(|page| shop.list_orders(filter, page), |order: &Order| order.id.get())
}

fn products(shop: &Shop, search: &str, status: ProductSelection) -> Vec<i64> {
    let search = Some(search.to_owned()).filter(|text| !text.is_empty());
    let filter = ProductFilter { search, status, low_stock: false };
    ids(|page| shop.list_products(&filter, page), |product: &Product| product.id.get())
}

fn code<T>(result: Result<T, Error>) -> Option<Code> {
    result.err().map(|error| error.code())
}

/// Two customers, two products, a coupon, and seven orders, ten seconds apart: 1 and 4 are cancelled, 2 waits to be paid, 3
/// has expired, 5 uses the coupon and 6 a reference.
fn shop_with_orders(on: On) -> World {
    let world = World::new(on);
    let (kim, lee) = (world.customer(10_000).id, world.customer(10_000).id);
    let (tea, cup) = (world.product(100, 100).id, world.product(100, 100).id);
    let coupon = world.coupon(5, 10).id;
    let claim = ClaimCoupon { coupon_id: coupon, customer_id: kim };
    let owned = world.shop.call(claim).run().unwrap();
    let later = |order: PlaceOrder| PlaceOrder { pay: PayWhen::Later, ..order };
    let of_both = PlaceOrder::new(lee, [(tea, 1), (cup, 2)]);
    let place = |number: i64, order: PlaceOrder| {
        world.clock.set(NOW.plus_seconds(number * 10));
        let order = world.shop.call(order).run().unwrap();
        assert_eq!(order.id, OrderId::new(number));
    };
    place(1, PlaceOrder::new(kim, [(tea, 1)]));
    place(2, later(PlaceOrder::new(lee, [(tea, 1)])));
    place(3, later(PlaceOrder::new(kim, [(tea, 1)])));
    place(4, of_both);
    place(5, PlaceOrder { owned_coupon_id: Some(owned.id), ..PlaceOrder::new(kim, [(tea, 1)]) });
    place(6, PlaceOrder { reference: Some("PO-6".into()), ..PlaceOrder::new(lee, [(cup, 1)]) });
    place(7, PlaceOrder::new(kim, [(cup, 3)]));
    for id in [1, 4] {
        world.shop.call(CancelOrder::new(OrderId::new(id))).run().unwrap();
    }
    // Order 2 is paid before order 3 expires, and a new one waits.
    world.shop.pay_order(OrderId::new(2), &key("pay")).unwrap();
    world.clock.set(NOW.plus_seconds(2_000));
    let waiting = world.shop.call(later(PlaceOrder::new(lee, [(cup, 1)]))).run().unwrap();
    assert_eq!(waiting.id, OrderId::new(8));
    world
}

#[rstest]
fn order_filters_select_alone_and_together(#[values(On::Memory, On::Sqlite, On::Postgres)] on: On) {
    let world = shop_with_orders(on);
    let all = OrderFilter::default;
    let kim = Some(CustomerId::new(1));
    let cup = Some(ProductId::new(2));
    let at = |number: i64| Some(NOW.plus_seconds(number * 10));
    let coupon = Some(CouponId::new(1));
    let expected: [(OrderFilter, &[i64]); 20] = [
        (all(), &[8, 7, 6, 5, 4, 3, 2, 1]),
        (OrderFilter { status: Some(OrderStatus::Paid), ..all() }, &[7, 6, 5, 2]),
        (OrderFilter { status: Some(OrderStatus::Cancelled), ..all() }, &[4, 1]),
        (OrderFilter { status: Some(OrderStatus::Expired), ..all() }, &[3]),
        (OrderFilter { status: Some(OrderStatus::Pending), ..all() }, &[8]),
        (OrderFilter { customer_id: kim, ..all() }, &[7, 5, 3, 1]),
        (OrderFilter { from: at(5), ..all() }, &[8, 7, 6]),
        (OrderFilter { to: at(2), ..all() }, &[2, 1]),
        (OrderFilter { from: at(2), to: at(4), ..all() }, &[4, 3]),
        (OrderFilter { product_id: cup, ..all() }, &[8, 7, 6, 4]),
        (OrderFilter { reference: Some("PO-6".into()), ..all() }, &[6]),
        (OrderFilter { reference: Some("po-6".into()), ..all() }, &[]),
        (OrderFilter { reference: Some("a\0b".into()), ..all() }, &[]),
        (OrderFilter { coupon_id: coupon, ..all() }, &[5]),
        (OrderFilter { customer_id: kim, coupon_id: coupon, ..all() }, &[5]),
        (OrderFilter { customer_id: kim, product_id: cup, ..all() }, &[7]),
        (OrderFilter { customer_id: kim, status: Some(OrderStatus::Expired), ..all() }, &[3]),
        (OrderFilter { status: Some(OrderStatus::Cancelled), product_id: cup, ..all() }, &[4]),
        (OrderFilter { status: Some(OrderStatus::Cancelled), to: at(1), ..all() }, &[1]),
        (OrderFilter { reference: Some("PO-6".into()), customer_id: kim, ..all() }, &[]),
    ];
    for (filter, expected) in expected {
        assert_eq!(orders(&world.shop, &filter), expected, "{filter:?}");
    }
    let page = PageRequest::default();
    let unknown = OrderFilter { customer_id: Some(CustomerId::new(9)), ..all() };
    assert_eq!(code(world.shop.list_orders(&unknown, &page)), Some(Code::CustomerNotFound));
    let empty = OrderFilter { from: at(2), to: at(2), ..all() };
    assert_eq!(code(world.shop.list_orders(&empty, &page)), Some(Code::InvalidRequest));
    // A cancelled order keeps its coupon, and its customer may have used it again.
    world.shop.cancel_order(OrderId::new(5), &key("cancel")).unwrap();
    let cancelled =
        OrderFilter { status: Some(OrderStatus::Cancelled), coupon_id: coupon, ..all() };
    assert_eq!(orders(&world.shop, &cancelled), [5]);
    world.assert_clean();
}

#[rstest]
fn pages_of_orders_stay_right_while_orders_are_added_and_cancelled(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let world = shop_with_orders(on);
    let paid = OrderFilter { status: Some(OrderStatus::Paid), ..OrderFilter::default() };
    let first = world.shop.list_orders(&paid, &PageRequest::first(2)).unwrap();
    assert_eq!(first.items.iter().map(|order| order.id.get()).collect::<Vec<_>>(), [7, 6]);
    let customer = CustomerId::new(1);
    world.shop.call(PlaceOrder::new(customer, [(ProductId::new(1), 1)])).run().unwrap();
    world.shop.cancel_order(OrderId::new(5), &key("cancel")).unwrap();
    let rest = PageRequest { limit: 2, cursor: first.next_cursor.clone() };
    let rest = world.shop.list_orders(&paid, &rest).unwrap();
    assert_eq!(rest.items.iter().map(|order| order.id.get()).collect::<Vec<_>>(), [2]);
    // The cursor belongs to its filter.
    let with_cursor = PageRequest { limit: 2, cursor: first.next_cursor };
    let others = [
        OrderFilter::default(),
        OrderFilter { status: Some(OrderStatus::Cancelled), ..OrderFilter::default() },
        OrderFilter { customer_id: Some(customer), ..paid },
    ];
    for filter in others {
        let refused = world.shop.list_orders(&filter, &with_cursor);
        assert_eq!(code(refused), Some(Code::InvalidRequest), "{filter:?}");
    }
}

#[rstest]
fn overdue_order_is_expired_in_lists_before_it_is_paid(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let world = shop_with_orders(on);
    let of = |status| OrderFilter { status: Some(status), ..OrderFilter::default() };
    world.clock.set(NOW.plus_seconds(3_000));
    assert_eq!(orders(&world.shop, &of(OrderStatus::Pending)), Vec::<i64>::new());
    assert_eq!(orders(&world.shop, &of(OrderStatus::Expired)), [8, 3]);
}

#[rstest]
fn products_and_customers_are_found_by_a_part_of_their_names(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let world = World::new(on);
    let names = ["Green TEA", "Teapot", "Über-Tasse", "녹차", "cup"];
    for name in names {
        world.shop.call(AddProduct::new(name, Money::from_minor(1), 1)).run().unwrap();
    }
    world.shop.call(UpdateProduct::archive(ProductId::new(2))).run().unwrap();
    let shop = &world.shop;
    assert_eq!(products(shop, "", ProductSelection::Active), [1, 3, 4, 5]);
    assert_eq!(products(shop, "", ProductSelection::Archived), [2]);
    assert_eq!(products(shop, "", ProductSelection::All), [1, 2, 3, 4, 5]);
    assert_eq!(products(shop, "tea", ProductSelection::All), [1, 2]);
    assert_eq!(products(shop, "tea", ProductSelection::Active), [1]);
    assert_eq!(products(shop, "ÜBER", ProductSelection::Active), [3]);
    assert_eq!(products(shop, "차", ProductSelection::Active), [4]);
    assert_eq!(products(shop, "%", ProductSelection::All), Vec::<i64>::new());
    for (id, threshold) in [(1, 1), (2, 1), (3, 0)] {
        let id = ProductId::new(id);
        let threshold = Patch::Set(threshold);
        let set = UpdateProduct { low_stock_threshold: threshold, ..UpdateProduct::new(id) };
        // An archived product must be reactivated before other changes.
        let set = UpdateProduct { status: Some(ProductStatus::Active), ..set };
        shop.call(set).run().unwrap();
    }
    let low = ProductFilter { low_stock: true, ..ProductFilter::default() };
    assert_eq!(ids(|page| shop.list_products(&low, page), |row| row.id.get()), [1, 2]);
    let low = ProductFilter { search: Some("pot".into()), ..low };
    assert_eq!(ids(|page| shop.list_products(&low, page), |row| row.id.get()), [2]);
    for name in ["Kim Min", "kimiko", "Lee"] {
        shop.call(AddCustomer::new(name)).run().unwrap();
    }
    shop.set_credentials(
        CustomerId::new(3),
        "lee@KIM.example",
        "a long password",
        commerce_core::Role::Admin,
    )
    .unwrap();
    let customers = |text| ids(|page| shop.search_customers(text, page), |row| row.id.get());
    assert_eq!(customers(None), [1, 2, 3]);
    assert_eq!(customers(Some("KIM")), [1, 2, 3]);
    assert_eq!(customers(Some("min")), [1]);
    assert_eq!(customers(Some("lee@")), [3]);
    assert_eq!(customers(Some("park")), Vec::<i64>::new());
}

#[rstest]
fn claims_are_listed_by_rank_with_their_status(
    #[values(On::Memory, On::Sqlite, On::Postgres)] on: On,
) {
    let world = World::new(on);
    let product = world.product(100, 9).id;
    let (coupon, other) = (world.coupon(5, 10).id, world.coupon(5, 10).id);
    let customers = [3, 1, 2].map(|number| {
        let customer = world.customer(1_000 * number).id;
        world.shop.claim_coupon(other, customer, &key("other")).unwrap();
        customer
    });
    let claims: Vec<_> = [2, 0, 1]
        .map(|index: usize| {
            world.shop.claim_coupon(coupon, customers[index], &key("claim")).unwrap()
        })
        .into();
    let order = PlaceOrder {
        owned_coupon_id: Some(claims[1].id),
        ..PlaceOrder::new(customers[0], [(product, 1)])
    };
    world.shop.call(order).run().unwrap();
    let read = |page: &PageRequest| world.shop.claims(coupon, page);
    assert_eq!(ids(read, |claim| claim.rank), [1, 2, 3]);
    assert_eq!(ids(read, |claim| claim.customer_id.get()), [3, 1, 2]);
    world.clock.set(NOW.plus_seconds(1_000));
    let page = world.shop.claims(coupon, &PageRequest::default()).unwrap();
    let statuses: Vec<_> = page.items.iter().map(|claim| claim.status).collect();
    let (used, expired) = (OwnedCouponStatus::Used, OwnedCouponStatus::Expired);
    assert_eq!(statuses, [expired, used, expired]);
    let unknown = world.shop.claims(CouponId::new(9), &PageRequest::default());
    assert_eq!(code(unknown), Some(Code::CouponNotFound));
}

#[rstest]
fn charges_are_listed_newest_first(#[values(On::Memory, On::Sqlite, On::Postgres)] on: On) {
    let world = World::new(on);
    let (kim, lee) = (world.customer(500).id, world.customer(0).id);
    for (number, customer) in [kim, lee, kim].into_iter().enumerate() {
        let amount = Money::from_minor(100);
        world.shop.charge(customer, amount, &key(&number.to_string())).unwrap();
    }
    let list = |filter: ChargeFilter| {
        ids(|page| world.shop.list_charges(&filter, page), |charge| charge.id.get())
    };
    // The opening balance of the first customer is a charge, too.
    assert_eq!(list(ChargeFilter::default()), [4, 3, 2, 1]);
    let kims = ChargeFilter { customer_id: Some(kim), ..ChargeFilter::default() };
    assert_eq!(list(kims), [4, 2, 1]);
    let succeeded = Some(ChargeStatus::Succeeded);
    assert_eq!(list(ChargeFilter { customer_id: Some(lee), status: succeeded }), [3]);
    for status in [ChargeStatus::Pending, ChargeStatus::Failed] {
        let filter = ChargeFilter { status: Some(status), ..kims };
        assert_eq!(list(filter), Vec::<i64>::new());
    }
    let unknown = ChargeFilter { customer_id: Some(CustomerId::new(9)), status: None };
    let refused = world.shop.list_charges(&unknown, &PageRequest::default());
    assert_eq!(code(refused), Some(Code::CustomerNotFound));
}

/// The last of many products is found on the second page: the first has examined as many rows as it may.
#[test]
fn page_of_a_rare_match_is_empty_and_leads_to_it() {
    let world = World::new(On::Memory);
    let name = |number| if number == MAX_EXAMINED { "rare" } else { "tea" };
    for number in 0..=MAX_EXAMINED {
        world.shop.call(AddProduct::new(name(number), Money::from_minor(1), 1)).run().unwrap();
    }
    let filter = ProductFilter { search: Some("RARE".into()), ..ProductFilter::default() };
    let first = world.shop.list_products(&filter, &PageRequest::default()).unwrap();
    assert_eq!(first.items.len(), 0);
    let cursor = Some(first.next_cursor.expect("a cursor to the rest"));
    let second = world.shop.list_products(&filter, &PageRequest { limit: 1, cursor }).unwrap();
    assert_eq!(second.items[0].name, "rare");
    assert_eq!(second.next_cursor, None);
}
