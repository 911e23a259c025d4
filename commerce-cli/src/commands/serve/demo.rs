//! `serve --demo`: sample products, a customer, and calls to try.

use super::base_url::BaseUrl;
use crate::error::CliError;
use crate::unique;
use commerce_core::limits::SESSION_SECONDS;
use commerce_core::{
    AddCoupon, AddCustomer, AddProduct, CustomerId, Discount, Key, Money, ProductId, Shop,
};
use serde::Serialize;

/// The product of the sample order: name, price and stock.
const TEA: (&str, i64, i64) = ("Green tea, 100 g", 4_500, 100);
const OTHERS: [(&str, i64, i64); 4] = [
    ("Bowl, small", 900, 200),
    ("Honey from the hill", 12_000, 30),
    ("Linen towel", 7_800, 50),
    ("Rice cake", 1_500, 500),
];

/// The sample customer and calls.
#[derive(Serialize)]
pub(super) struct Demo {
    customer_id: CustomerId,
    token: String,
    /// The same as text, with calls to paste into a shell.
    #[serde(skip)]
    pub(super) text: String,
}

/// Adds the sample data, unless an earlier start has added it, and returns the calls to try.
pub(super) fn prepare(shop: &Shop, base: &BaseUrl) -> Result<Demo, CliError> {
    let tea = add(shop, TEA)?;
    for other in OTHERS {
        add(shop, other)?;
    }
    let coupon = AddCoupon {
        below_minimum: commerce_core::BelowMinimum::Keep,
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
    // Each start generates new keys, so that the pasted calls are not replayed from an earlier start.
    let suffix = unique::time_ordered()?.simple().to_string();
    let post = |path: &str, key: &str, body: &str| {
        format!(
            "curl -X POST {} -H 'Authorization: Bearer {token}' -H 'Idempotency-Key: {key}-{suffix}' \
             -H 'Content-Type: application/json' -d '{body}'",
            base.url(path)
        )
    };
    let order = format!(r#"{{"items":[{{"product_id":{tea},"quantity":2}}]}}"#);
    let text = format!(
        "the token of customer {}: {token}\n\n{}\n\n{}\n\n{}\n",
        customer.id,
        post("/v1/customers/me/charges", "charge", r#"{"amount":20000}"#),
        post("/v1/customers/me/orders", "order", &order),
        format_args!("curl {}", base.url("/v1/bestsellers")),
    );
    Ok(Demo { customer_id: customer.id, token, text })
}

fn add(shop: &Shop, (name, price, stock): (&str, i64, i64)) -> Result<ProductId, CliError> {
    let product = AddProduct::new(name, Money::from_minor(price), stock);
    Ok(shop.call(product).key(&key(&format!("demo:product:{name}"))?).run()?.id)
}

fn key(text: &str) -> Result<Key, CliError> {
    let plain: String = text.chars().filter(char::is_ascii_graphic).collect();
    Key::new(&plain).ok_or_else(|| CliError::storage("cannot generate a key"))
}
