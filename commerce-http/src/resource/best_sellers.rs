//! Best sellers.

use crate::call::{Answered, Call, Reply};

pub(crate) fn rank(call: &Call<'_>) -> Answered {
    Ok(Reply::ok(&call.priced(call.shop().best_sellers(&call.best_sellers()?)?)))
}
