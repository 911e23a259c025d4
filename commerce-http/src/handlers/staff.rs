//! Staff: roles, tokens of programs, and the audit trail.

use crate::context::{Call, HandlerResult, RequestContext, Submission, Success, respond};
use commerce_core::{LogFilter, NewToken, RevokeToken, Role, SetRole};
use serde::Deserialize;

#[derive(Deserialize)]
struct NewRole {
    role: Role,
}

#[derive(Deserialize)]
struct TokenRequest {
    name: String,
    role: Role,
    days: Option<i64>,
}

pub(crate) fn set_role(call: Call<'_>) -> Submission<'_> {
    let NewRole { role } = call.read()?;
    call.submit(SetRole { customer_id: call.customer, role }, Success::ok)
}

pub(crate) fn tokens(call: &RequestContext<'_>) -> HandlerResult {
    Ok(Success::ok(&call.shop().tokens(&call.page()?)?))
}

pub(crate) fn token(call: &RequestContext<'_>) -> HandlerResult {
    Ok(Success::ok(&call.shop().token(call.id("token_id"))?))
}

pub(crate) fn create_token(call: &RequestContext<'_>) -> HandlerResult {
    let TokenRequest { name, role, days } = call.read()?;
    let new = NewToken { name, role, days };
    let outcome = call.shop().create_token(call.actor, &new, call.key.as_ref());
    respond(outcome, |created| Success::created(created, format!("/v1/tokens/{}", created.row.id)))
}

pub(crate) fn revoke_token(call: Call<'_>) -> Submission<'_> {
    call.submit(RevokeToken { token_id: call.id("token_id") }, |_| Success::no_content())
}

pub(crate) fn log(call: &RequestContext<'_>) -> HandlerResult {
    let filter = LogFilter { actor: call.parameter("actor")?, from: call.parameter("from")? };
    Ok(Success::ok(&call.shop().audit_log(&filter, &call.page()?)?))
}
