//! Carts.

use crate::context::{Call, HandlerResult, RequestContext, Submission, Success};
use commerce_core::{CartEdit, EditCart};
use serde::Deserialize;

#[derive(Deserialize)]
struct Quantity {
    quantity: i64,
}

pub(crate) fn show(call: &RequestContext<'_>) -> HandlerResult {
    Ok(Success::ok(&call.priced(call.shop().cart(call.customer)?)))
}

pub(crate) fn set(call: Call<'_>) -> Submission<'_> {
    let Quantity { quantity } = call.read()?;
    edit(call, CartEdit::Set(call.id("product_id"), quantity))
}

pub(crate) fn remove(call: Call<'_>) -> Submission<'_> {
    edit(call, CartEdit::Remove(call.id("product_id")))
}

pub(crate) fn clear(call: Call<'_>) -> Submission<'_> {
    edit(call, CartEdit::Clear)
}

fn edit(call: Call<'_>, edit: CartEdit) -> Submission<'_> {
    call.submit(EditCart { customer_id: call.customer, edit }, |cart| {
        Success::ok(&call.priced(cart))
    })
}
