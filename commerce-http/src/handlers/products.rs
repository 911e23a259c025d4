//! Products and their stock.

use crate::context::{HandlerResult, RequestContext, Success};
use commerce_core::{AddProduct, AdjustStock, Money, ProductStatus, UpdateProduct};
use serde::Deserialize;

#[derive(Deserialize)]
struct NewProduct {
    name: String,
    price: Money,
    stock: i64,
}

#[derive(Deserialize)]
struct ProductChange {
    name: Option<String>,
    price: Option<Money>,
    status: Option<ProductStatus>,
}

#[derive(Deserialize)]
struct StockChange {
    delta: i64,
    reason: String,
}

pub(crate) fn list(call: &RequestContext<'_>) -> HandlerResult {
    Ok(call.priced_page(call.shop().products(&call.page()?)?))
}

pub(crate) fn show(call: &RequestContext<'_>) -> HandlerResult {
    Ok(Success::ok(&call.priced(call.shop().product(call.id("product_id"))?)))
}

pub(crate) fn add(call: &RequestContext<'_>) -> HandlerResult {
    let NewProduct { name, price, stock } = call.read()?;
    call.run(AddProduct::new(name, price, stock), |product| {
        Success::created(&call.priced(product), format!("/v1/products/{}", product.id))
    })
}

pub(crate) fn change(call: &RequestContext<'_>) -> HandlerResult {
    let ProductChange { name, price, status } = call.read()?;
    let product_id = call.id("product_id");
    call.run(UpdateProduct { product_id, name, price, status }, |product| {
        Success::ok(&call.priced(product))
    })
}

pub(crate) fn adjust_stock(call: &RequestContext<'_>) -> HandlerResult {
    let StockChange { delta, reason } = call.read()?;
    let product_id = call.id("product_id");
    call.run(AdjustStock { product_id, delta, reason }, |product| {
        Success::ok(&call.priced(product))
    })
}
