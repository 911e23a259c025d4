//! Orders.

use crate::call::{Answered, Call, Reply};
use commerce_core::{
    CancelOrder, OrderItems, OwnedCouponId, PayOrder, PayWhen, PlaceOrder, ProductId, Refusal,
};
use serde::Deserialize;

#[derive(Deserialize)]
struct NewOrder {
    /// Absent when it is the cart that is ordered.
    items: Option<Vec<Item>>,
    owned_coupon_id: Option<OwnedCouponId>,
    payment: Option<Payment>,
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

pub(crate) fn place(call: &Call<'_>) -> Answered {
    let NewOrder { items, owned_coupon_id, payment } = call.read()?;
    let pairs =
        |items: Vec<Item>| items.iter().map(|item| (item.product_id, item.quantity)).collect();
    let items = items.map_or(OrderItems::Cart, |items| OrderItems::Listed(pairs(items)));
    let pay = match payment {
        Some(Payment::Later) => PayWhen::Later,
        Some(Payment::Now) | None => PayWhen::Now,
    };
    let request =
        PlaceOrder { items, owned_coupon_id, pay, ..PlaceOrder::from_cart(call.customer) };
    call.run(request, |order| {
        Reply::created(&call.priced(order), format!("/v1/orders/{}", order.id))
    })
}

pub(crate) fn list(call: &Call<'_>) -> Answered {
    Ok(call.priced_page(call.shop().orders(call.customer, &call.page()?)?))
}

pub(crate) fn show(call: &Call<'_>) -> Answered {
    let order_id = call.id("order_id");
    let order = call.order.as_ref().ok_or(Refusal::OrderNotFound { order_id })?;
    Ok(Reply::ok(&call.priced(order)))
}

pub(crate) fn pay(call: &Call<'_>) -> Answered {
    call.run(PayOrder { order_id: call.id("order_id") }, |order| Reply::ok(&call.priced(order)))
}

pub(crate) fn cancel(call: &Call<'_>) -> Answered {
    call.run(CancelOrder { order_id: call.id("order_id") }, |order| Reply::ok(&call.priced(order)))
}
