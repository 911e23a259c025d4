//! Coupon campaigns, and the coupons claimed from them.

use crate::context::{Call, HandlerResult, RequestContext, Submission, Success};
use commerce_core::{
    AddCoupon, BelowMinimum, ClaimCoupon, Discount, Money, Patch, Timestamp, UpdateCoupon,
};
use serde::Deserialize;

#[derive(Deserialize)]
struct NewCoupon {
    name: String,
    discount: Discount,
    min_order_amount: Option<Money>,
    #[serde(default)]
    below_minimum: BelowMinimum,
    quantity: i64,
    valid_from: Option<Timestamp>,
    valid_until: Option<Timestamp>,
}

#[derive(Deserialize)]
struct CouponChange {
    name: Option<String>,
    quantity: Option<i64>,
    #[serde(default)]
    valid_until: Patch<Timestamp>,
    stopped: Option<bool>,
}

pub(crate) fn list(call: &RequestContext<'_>) -> HandlerResult {
    Ok(call.priced_page(call.shop().coupons(&call.page()?)?))
}

pub(crate) fn show(call: &RequestContext<'_>) -> HandlerResult {
    Ok(Success::ok(&call.priced(call.shop().coupon(call.id("coupon_id"))?)))
}

pub(crate) fn claims(call: &RequestContext<'_>) -> HandlerResult {
    Ok(Success::ok(&call.shop().claims(call.id("coupon_id"), &call.page()?)?))
}

pub(crate) fn owned(call: &RequestContext<'_>) -> HandlerResult {
    Ok(Success::ok(&call.shop().owned_coupons(call.customer, &call.page()?)?))
}

pub(crate) fn show_owned(call: &RequestContext<'_>) -> HandlerResult {
    Ok(Success::ok(&call.shop().owned_coupon_of(call.customer, call.id("owned_coupon_id"))?))
}

pub(crate) fn add(call: Call<'_>) -> Submission<'_> {
    let new: NewCoupon = call.read()?;
    let request = AddCoupon {
        name: new.name,
        discount: new.discount,
        min_order_amount: new.min_order_amount,
        below_minimum: new.below_minimum,
        quantity: new.quantity,
        valid_from: new.valid_from,
        valid_until: new.valid_until,
    };
    call.submit(request, |coupon| {
        Success::created(&call.priced(coupon), format!("/v1/coupons/{}", coupon.id))
    })
}

pub(crate) fn change(call: Call<'_>) -> Submission<'_> {
    let CouponChange { name, quantity, valid_until, stopped } = call.read()?;
    let coupon_id = call.id("coupon_id");
    let request = UpdateCoupon { coupon_id, name, quantity, valid_until, stopped };
    call.submit(request, |coupon| Success::ok(&call.priced(coupon)))
}

pub(crate) fn claim(call: Call<'_>) -> Submission<'_> {
    let (coupon_id, customer_id) = (call.id("coupon_id"), call.customer);
    call.submit(ClaimCoupon { coupon_id, customer_id }, move |owned| {
        Success::created(owned, format!("/v1/customers/{customer_id}/coupons/{}", owned.id))
    })
}
