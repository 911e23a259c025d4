//! What a payment gateway sends by itself. What proves it is its signature, not a token.

use crate::api::HandlerError;
use crate::context::{HandlerResult, RequestContext, Success};
use crate::problem::HttpError;
use commerce_core::{WebhookError, WebhookOutcome};

/// Takes what Stripe tells of a charge. Stripe sends it again until it is answered 2xx, so what can never be
/// used is answered so too, and logged.
pub(crate) fn stripe(call: &RequestContext<'_>) -> HandlerResult {
    let signature = call.request.header("Stripe-Signature");
    match call.shop().handle_webhook(signature, &call.request.body) {
        Ok(WebhookOutcome::Charge(_) | WebhookOutcome::Nothing) => Ok(Success::nothing()),
        Ok(WebhookOutcome::UnknownCharge { reference }) => {
            Ok(Success::nothing().logged(format!("there is no charge of reference {reference:?}")))
        }
        Err(WebhookError::Bad(bad)) => {
            Err(HandlerError::fault(HttpError::Malformed, bad.to_string()))
        }
        Err(WebhookError::NotSettled(error)) => Err(error.into()),
    }
}
