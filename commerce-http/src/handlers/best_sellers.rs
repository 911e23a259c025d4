//! Best sellers.

use crate::context::{HandlerResult, RequestContext, Success};

pub(crate) fn rank(call: &RequestContext<'_>) -> HandlerResult {
    Ok(Success::ok(&call.priced(call.shop().best_sellers(&call.best_sellers()?)?)))
}
