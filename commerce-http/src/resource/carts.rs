//! Carts.

use crate::call::{Answered, Call, Reply};
use commerce_core::{CartEdit, EditCart};
use serde::Deserialize;

#[derive(Deserialize)]
struct Quantity {
    quantity: i64,
}

pub(crate) fn show(call: &Call<'_>) -> Answered {
    Ok(Reply::ok(&call.priced(call.shop().cart(call.customer)?)))
}

pub(crate) fn set(call: &Call<'_>) -> Answered {
    let Quantity { quantity } = call.read()?;
    edit(call, CartEdit::Set(call.id("product_id"), quantity))
}

pub(crate) fn remove(call: &Call<'_>) -> Answered {
    edit(call, CartEdit::Remove(call.id("product_id")))
}

pub(crate) fn clear(call: &Call<'_>) -> Answered {
    edit(call, CartEdit::Clear)
}

fn edit(call: &Call<'_>, edit: CartEdit) -> Answered {
    call.run(EditCart { customer_id: call.customer, edit }, |cart| Reply::ok(&call.priced(cart)))
}
