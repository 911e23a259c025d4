//! Customers.

use crate::call::{Answered, Call, Reply};
use commerce_core::Role;
use serde::Deserialize;

#[derive(Deserialize)]
struct NewCustomer {
    login: String,
    password: String,
    name: String,
}

pub(crate) fn register(call: &Call<'_>) -> Answered {
    let NewCustomer { login, password, name } = call.read()?;
    let customer = call.shop().register(&name, &login, &password, Role::Customer)?;
    Ok(Reply::created(&customer, format!("/v1/customers/{}", customer.id)))
}

pub(crate) fn show(call: &Call<'_>) -> Answered {
    Ok(Reply::ok(&call.shop().customer(call.customer)?))
}
