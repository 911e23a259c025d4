//! Products and their stock.

use crate::context::{Call, HandlerResult, RequestContext, Submission, Success};
use commerce_core::{
    AddProduct, AdjustStock, Money, Patch, Product, ProductFilter, ProductStatus, Timestamp,
    UpdateProduct,
};
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
    #[serde(default)]
    sale_price: Patch<Money>,
    sale_from: Option<Timestamp>,
    #[serde(default)]
    sale_until: Patch<Timestamp>,
    #[serde(default)]
    low_stock_threshold: Patch<i64>,
    #[serde(default)]
    limit_per_customer: Patch<i64>,
}

#[derive(Deserialize)]
struct StockChange {
    delta: i64,
    reason: String,
}

pub(crate) fn list(call: &RequestContext<'_>) -> HandlerResult {
    let filter = ProductFilter {
        search: call.parameter("search")?,
        status: call.word("status")?.unwrap_or_default(),
        low_stock: call.parameter("low_stock")?.unwrap_or_default(),
    };
    let (shop, page) = (call.shop(), call.page()?);
    // Without a filter, the store leaves out archived products by itself.
    let products = if filter == ProductFilter::default() {
        shop.products(&page)
    } else {
        shop.list_products(&filter, &page)
    };
    Ok(call.priced_page(products?.map(|product| visible(call, product))))
}

/// Returns a product as its caller sees it: the threshold is for staff, who order the stock.
fn visible(call: &RequestContext<'_>, product: Product) -> Product {
    let low_stock_threshold = product.low_stock_threshold.filter(|_| call.is_staff);
    Product { low_stock_threshold, ..product }
}

pub(crate) fn movements(call: &RequestContext<'_>) -> HandlerResult {
    Ok(Success::ok(&call.shop().product_history(call.id("product_id"), &call.page()?)?))
}

pub(crate) fn show(call: &RequestContext<'_>) -> HandlerResult {
    let product = call.shop().product(call.id("product_id"))?;
    Ok(Success::ok(&call.priced(visible(call, product))))
}

pub(crate) fn add(call: Call<'_>) -> Submission<'_> {
    let NewProduct { name, price, stock } = call.read()?;
    call.submit(AddProduct::new(name, price, stock), |product| {
        Success::created(&call.priced(product), format!("/v1/products/{}", product.id))
    })
}

pub(crate) fn change(call: Call<'_>) -> Submission<'_> {
    let change: ProductChange = call.read()?;
    let request = UpdateProduct {
        product_id: call.id("product_id"),
        name: change.name,
        price: change.price,
        status: change.status,
        sale_price: change.sale_price,
        sale_from: change.sale_from,
        sale_until: change.sale_until,
        low_stock_threshold: change.low_stock_threshold,
        limit_per_customer: change.limit_per_customer,
    };
    call.submit(request, |product| Success::ok(&call.priced(product)))
}

pub(crate) fn adjust_stock(call: Call<'_>) -> Submission<'_> {
    let StockChange { delta, reason } = call.read()?;
    let product_id = call.id("product_id");
    call.submit(AdjustStock { product_id, delta, reason }, |product| {
        Success::ok(&call.priced(product))
    })
}
