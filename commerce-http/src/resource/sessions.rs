//! Sessions: logging in and out.

use crate::call::{Answered, Call, Reply};
use serde::Deserialize;

#[derive(Deserialize)]
struct NewSession {
    login: String,
    password: String,
}

pub(crate) fn log_in(call: &Call<'_>) -> Answered {
    let new: NewSession = call.read()?;
    let session = call.shop().log_in(&new.login, &new.password)?;
    Ok(Reply::created(&session, "/v1/sessions/current".to_owned()))
}

pub(crate) fn show(call: &Call<'_>) -> Answered {
    Ok(Reply::ok(&call.shop().session(call.token.unwrap_or_default())?))
}

pub(crate) fn log_out(call: &Call<'_>) -> Answered {
    call.shop().log_out(call.token.unwrap_or_default())?;
    Ok(Reply::nothing())
}
