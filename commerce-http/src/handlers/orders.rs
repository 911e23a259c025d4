//! Orders.

use crate::context::{Call, HandlerResult, RequestContext, Submission, Success};
use commerce_core::{
    CancelOrder, OrderFilter, OrderItems, OwnedCouponId, PayOrder, PayWhen, PlaceOrder, ProductId,
    Refusal,
};
use serde::Deserialize;

#[derive(Deserialize)]
struct NewOrder {
    /// Absent if the cart is ordered.
    items: Option<Vec<Item>>,
    owned_coupon_id: Option<OwnedCouponId>,
    payment: Option<Payment>,
    reference: Option<String>,
}

#[derive(Deserialize)]
struct Item {
    product_id: ProductId,
    quantity: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Payment {
    Now,
    Later,
}

#[derive(Deserialize)]
struct Cancellation {
    /// Absent if all that is left is cancelled.
    items: Option<Vec<Item>>,
    #[serde(default)]
    keep_stock: bool,
}

fn pairs(items: &[Item]) -> Vec<(ProductId, i64)> {
    items.iter().map(|item| (item.product_id, item.quantity)).collect()
}

pub(crate) fn place(call: Call<'_>) -> Submission<'_> {
    let NewOrder { items, owned_coupon_id, payment, reference } = call.read()?;
    let items = items.map_or(OrderItems::Cart, |items| OrderItems::Listed(pairs(&items)));
    let pay = match payment {
        Some(Payment::Later) => PayWhen::Later,
        Some(Payment::Now) | None => PayWhen::Now,
    };
    let order = PlaceOrder::from_cart(call.customer);
    let request = PlaceOrder { items, owned_coupon_id, pay, reference, ..order };
    call.submit(request, |order| {
        Success::created(&call.priced(order), format!("/v1/orders/{}", order.id))
    })
}

pub(crate) fn list(call: &RequestContext<'_>) -> HandlerResult {
    Ok(call.priced_page(call.shop().orders(call.customer, &call.page()?)?))
}

pub(crate) fn list_all(call: &RequestContext<'_>) -> HandlerResult {
    let filter = OrderFilter {
        customer_id: call.parameter("customer_id")?,
        status: call.word("status")?,
        from: call.parameter("from")?,
        to: call.parameter("to")?,
        product_id: call.parameter("product_id")?,
        reference: call.parameter("reference")?,
        coupon_id: call.parameter("coupon_id")?,
    };
    Ok(call.priced_page(call.shop().list_orders(&filter, &call.page()?)?))
}

pub(crate) fn show(call: &RequestContext<'_>) -> HandlerResult {
    let order_id = call.id("order_id");
    let order = call.order.as_ref().ok_or(Refusal::OrderNotFound { order_id })?;
    Ok(Success::ok(&call.priced(order)))
}

pub(crate) fn pay(call: Call<'_>) -> Submission<'_> {
    call.submit(PayOrder { order_id: call.id("order_id") }, |order| {
        Success::ok(&call.priced(order))
    })
}

pub(crate) fn cancel(call: Call<'_>) -> Submission<'_> {
    let Cancellation { items, keep_stock } = call.read()?;
    let items = items.as_deref().map(pairs);
    call.submit(CancelOrder { order_id: call.id("order_id"), items, keep_stock }, |order| {
        Success::ok(&call.priced(order))
    })
}
