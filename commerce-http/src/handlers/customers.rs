//! Customers.

use crate::context::{HandlerResult, RequestContext, Success};
use commerce_core::Role;
use serde::Deserialize;

#[derive(Deserialize)]
struct NewCustomer {
    login: String,
    password: String,
    name: String,
}

pub(crate) fn register(call: &RequestContext<'_>) -> HandlerResult {
    let NewCustomer { login, password, name } = call.read()?;
    let customer =
        call.shop().register_from(call.client(), &name, &login, &password, Role::Customer)?;
    Ok(Success::created(&customer, format!("/v1/customers/{}", customer.id)))
}

pub(crate) fn list(call: &RequestContext<'_>) -> HandlerResult {
    let search: Option<String> = call.parameter("search")?;
    Ok(Success::ok(&call.shop().search_customers(search.as_deref(), &call.page()?)?))
}

pub(crate) fn show(call: &RequestContext<'_>) -> HandlerResult {
    Ok(Success::ok(&call.shop().customer(call.customer)?))
}
