//! Carts.

use crate::context::{HandlerResult, RequestContext, Success};
use commerce_core::{CartEdit, EditCart};
use serde::Deserialize;

#[derive(Deserialize)]
struct Quantity {
    quantity: i64,
}

pub(crate) fn show(call: &RequestContext<'_>) -> HandlerResult {
    Ok(Success::ok(&call.priced(call.shop().cart(call.customer)?)))
}

pub(crate) fn set(call: &RequestContext<'_>) -> HandlerResult {
    let Quantity { quantity } = call.read()?;
    edit(call, CartEdit::Set(call.id("product_id"), quantity))
}

pub(crate) fn remove(call: &RequestContext<'_>) -> HandlerResult {
    edit(call, CartEdit::Remove(call.id("product_id")))
}

pub(crate) fn clear(call: &RequestContext<'_>) -> HandlerResult {
    edit(call, CartEdit::Clear)
}

fn edit(call: &RequestContext<'_>, edit: CartEdit) -> HandlerResult {
    call.run(EditCart { customer_id: call.customer, edit }, |cart| Success::ok(&call.priced(cart)))
}
