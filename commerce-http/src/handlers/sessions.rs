//! Sessions: log in and out, list and revoke.

use crate::auth;
use crate::context::{HandlerResult, RequestContext, Success};
use serde::Deserialize;

#[derive(Deserialize)]
struct NewSession {
    login: String,
    password: String,
}

pub(crate) fn log_in(call: &RequestContext<'_>) -> HandlerResult {
    let new: NewSession = call.read()?;
    let session = call.shop().log_in_from(call.client(), &new.login, &new.password)?;
    Ok(Success::created(&session, "/v1/sessions/current".to_owned()))
}

pub(crate) fn list(call: &RequestContext<'_>) -> HandlerResult {
    let page = call.shop().sessions(Some(call.customer), call.token, &call.page()?)?;
    Ok(Success::ok(&page))
}

pub(crate) fn revoke(call: &RequestContext<'_>) -> HandlerResult {
    let id = auth::session_id(call.id("session_id"));
    call.shop().revoke_session(call.actor, Some(call.customer), &id)?;
    Ok(Success::no_content())
}

pub(crate) fn show(call: &RequestContext<'_>) -> HandlerResult {
    Ok(Success::ok(&call.shop().session(call.token.unwrap_or_default())?))
}

pub(crate) fn log_out(call: &RequestContext<'_>) -> HandlerResult {
    call.shop().log_out(call.token.unwrap_or_default())?;
    Ok(Success::no_content())
}
