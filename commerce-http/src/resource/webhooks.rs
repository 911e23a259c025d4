//! What a payment gateway sends by itself. What proves it is its signature, not a token.

use crate::api::Stop;
use crate::call::{Answered, Call, Reply};
use crate::problem::Fault;
use commerce_core::{NoticeError, Noticed};

/// Takes what Stripe tells of a charge. Stripe sends it again until it is answered 2xx, so what can never be
/// used is answered so too, and logged.
pub(crate) fn stripe(call: &Call<'_>) -> Answered {
    let signature = call.request.header("Stripe-Signature");
    match call.shop().take_notice(signature, &call.request.body) {
        Ok(Noticed::Charge(_) | Noticed::Nothing) => Ok(Reply::nothing()),
        Ok(Noticed::UnknownCharge { reference }) => {
            Ok(Reply::nothing().logged(format!("there is no charge of reference {reference:?}")))
        }
        Err(NoticeError::Bad(bad)) => Err(Stop::fault(Fault::Malformed, bad.to_string())),
        Err(NoticeError::NotSettled(error)) => Err(error.into()),
    }
}
