//! `serve --demo`: a small shop to try calls on.

use super::BaseUrl;
use crate::error::CliError;
use crate::unique;
use commerce_core::limits::SESSION_SECONDS;
use commerce_core::{
    AddCoupon, AddCustomer, AddProduct, CustomerId, Discount, Key, Money, ProductId, Shop,
};
use serde::Serialize;

/// What is ordered: a name, a price and a stock.
const TEA: (&str, i64, i64) = ("Green tea, 100 g", 4_500, 100);
const OTHERS: [(&str, i64, i64); 4] = [
    ("Bowl, small", 900, 200),
    ("Honey from the hill", 12_000, 30),
    ("Linen towel", 7_800, 50),
    ("Rice cake", 1_500, 500),
];

/// What can be tried.
#[derive(Serialize)]
pub(super) struct Demo {
    customer_id: CustomerId,
    token: String,
    /// The same for a person, with calls to paste.
    #[serde(skip)]
    pub(super) lines: String,
}

/// Puts the products in, unless they are there from an earlier time, and tells what can be tried.
pub(super) fn open(shop: &Shop, base: &BaseUrl) -> Result<Demo, CliError> {
    let tea = add(shop, TEA)?;
    for other in OTHERS {
        add(shop, other)?;
    }
    let coupon = AddCoupon {
        name: "Welcome".to_owned(),
        discount: Discount::Percent { percent: 10, max_amount: None },
        min_order_amount: None,
        quantity: 100,
        valid_from: None,
        valid_until: None,
    };
    shop.call(coupon).key(&key("demo:coupon")?).run()?;
    let customer = shop.call(AddCustomer::new("Demo")).key(&key("demo:customer")?).run()?;
    let token = shop.open_session(customer.id, SESSION_SECONDS)?.token;
    // Keys of their own for each start, so that the lines do something each time they are pasted anew.
    let once = unique::in_order()?.simple().to_string();
    let post = |path: &str, key: &str, body: &str| {
        format!(
            "curl -X POST {} -H 'Authorization: Bearer {token}' -H 'Idempotency-Key: {key}-{once}' \
             -H 'Content-Type: application/json' -d '{body}'",
            base.url(path)
        )
    };
    let order = format!(r#"{{"items":[{{"product_id":{tea},"quantity":2}}]}}"#);
    let lines = format!(
        "the token of customer {}: {token}\n\n{}\n\n{}\n\n{}\n",
        customer.id,
        post("/v1/customers/me/charges", "charge", r#"{"amount":20000}"#),
        post("/v1/customers/me/orders", "order", &order),
        format_args!("curl {}", base.url("/v1/bestsellers")),
    );
    Ok(Demo { customer_id: customer.id, token, lines })
}

fn add(shop: &Shop, (name, price, stock): (&str, i64, i64)) -> Result<ProductId, CliError> {
    let product = AddProduct::new(name, Money::from_minor(price), stock);
    Ok(shop.call(product).key(&key(&format!("demo:product:{name}"))?).run()?.id)
}

fn key(text: &str) -> Result<Key, CliError> {
    let plain: String = text.chars().filter(char::is_ascii_graphic).collect();
    Key::new(&plain).ok_or_else(|| CliError::storage("cannot make up a key"))
}
