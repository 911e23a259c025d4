//! Customers and their passwords.

use crate::context::{Call, HandlerResult, RequestContext, Submission, Success};
use commerce_core::{CustomerStatus, Role, UpdateCustomer};
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

#[derive(Deserialize)]
struct CustomerChange {
    name: Option<String>,
    status: Option<CustomerStatus>,
}

pub(crate) fn change(call: Call<'_>) -> Submission<'_> {
    let CustomerChange { name, status } = call.read()?;
    let request = UpdateCustomer { customer_id: call.customer, name, status };
    call.submit(request, Success::ok)
}

#[derive(Deserialize)]
struct PasswordChange {
    current_password: String,
    new_password: String,
}

pub(crate) fn change_password(call: &RequestContext<'_>) -> HandlerResult {
    let PasswordChange { current_password, new_password } = call.read()?;
    let token = call.token.unwrap_or_default();
    let client = call.client();
    call.shop().change_password_from(client, token, &current_password, &new_password)?;
    Ok(Success::no_content())
}

pub(crate) fn show(call: &RequestContext<'_>) -> HandlerResult {
    Ok(Success::ok(&call.shop().customer(call.customer)?))
}
