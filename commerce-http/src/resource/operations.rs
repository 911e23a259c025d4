//! Whether the process is alive and can do its work, how it has done so far, and what it can be asked.

use crate::call::{Answered, Call, Reply};
use serde_json::json;

#[expect(clippy::unnecessary_wraps, reason = "handlers are of one type")]
pub(crate) fn alive(_call: &Call<'_>) -> Answered {
    Ok(Reply::ok(&json!({ "status": "ok" })))
}

pub(crate) fn ready(call: &Call<'_>) -> Answered {
    call.shop().ready()?;
    Ok(Reply::ok(&json!({ "status": "ok" })))
}

pub(crate) fn metrics(call: &Call<'_>) -> Answered {
    Ok(Reply::text("text/plain; version=0.0.4; charset=utf-8", call.api.metrics.show(call.shop())?))
}

#[expect(clippy::unnecessary_wraps, reason = "handlers are of one type")]
pub(crate) fn document(call: &Call<'_>) -> Answered {
    Ok(Reply::text("application/json", call.api.document.clone()))
}
