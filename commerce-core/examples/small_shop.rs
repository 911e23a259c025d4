//! A small shop on one SQLite file. Run it with `cargo run -p commerce-core --example small_shop`, and run it again:
//! the second run gets the stored results of the first, because every call that moves something has an idempotency
//! key.

use commerce_core::{
    AddCoupon, AddCustomer, AddProduct, BestSellersRequest, CouponId, Currency, CustomerId,
    Discount, Error, Key, Money, PlaceOrder, ProductId, Refusal, Shop, SqliteStore,
};
use std::io::{Write, stdout};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let file = std::env::temp_dir().join("small_shop.db");
    let shop = Shop::open(SqliteStore::create(&file, Currency::KRW)?);
    let (kim, tea, spring) = (CustomerId::new(1), ProductId::new(1), CouponId::new(1));
    stock_up(&shop, kim, tea)?;
    let key = |text: &str| Key::new(text).ok_or("a key is visible ASCII");

    shop.charge(kim, Money::from_minor(50_000), &key("first-charge")?)?;
    let owned = shop.claim_coupon(spring, kim, &key("spring")?)?;
    let order = PlaceOrder { owned_coupon_id: Some(owned.id), ..PlaceOrder::new(kim, [(tea, 3)]) };
    let order = shop.place_order(order, &key("first-order")?)?;

    // Threads may order simultaneously: calls that overlap are committed together (group commit).
    let sold = std::thread::scope(|scope| {
        let buyers: Vec<_> = (0..20)
            .map(|buyer| {
                let shop = &shop;
                scope.spawn(move || {
                    let key = Key::new(&format!("buyer-{buyer}"))?;
                    shop.place_order(PlaceOrder::new(kim, [(tea, 1)]), &key).ok()
                })
            })
            .collect();
        buyers.into_iter().filter_map(|buyer| buyer.join().ok().flatten()).count()
    });

    let mut out = stdout().lock();
    let money = |amount| shop.currency().show(amount);
    writeln!(
        out,
        "order {}: {} less {} is {}",
        order.id,
        money(order.subtotal),
        money(order.discount),
        money(order.total)
    )?;
    writeln!(out, "{sold} of 20 buyers got one of the 7 units that were left")?;
    writeln!(out, "balance: {}", money(shop.balance(kim)?.balance))?;
    for best in shop.best_sellers(&BestSellersRequest::default())?.items {
        writeln!(out, "{}. {}: {} sold", best.rank, best.name, best.units_sold)?;
    }
    let report = shop.audit()?;
    writeln!(out, "audit: {}", if report.ok { "all is well" } else { "something is wrong" })?;
    Ok(())
}

/// Adds a customer, a product and a coupon, unless an earlier run has.
fn stock_up(shop: &Shop, kim: CustomerId, tea: ProductId) -> Result<(), Error> {
    match shop.call(AddCustomer { id: Some(kim), ..AddCustomer::new("Kim") }).run() {
        Err(Error::Refused(Refusal::CustomerExists { .. })) => return Ok(()),
        added => added?,
    };
    let price = Money::from_minor(2_500);
    shop.call(AddProduct { id: Some(tea), ..AddProduct::new("Green tea", price, 10) }).run()?;
    let discount = Discount::Percent { percent: 10, max_amount: None };
    let coupon = AddCoupon::new("Spring", discount, 100);
    shop.call(coupon).run().map(drop)
}
