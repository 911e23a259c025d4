//! Webhooks of payment gateways. They are authenticated by a signature, not by a token.

use crate::context::{HandlerResult, RequestContext, Success};
use crate::error::HandlerError;
use crate::problem::HttpError;
use commerce_core::{WebhookError, WebhookOutcome};

/// Handles a Stripe webhook. Stripe repeats a webhook until it receives 2xx, so events that can never apply are
/// acknowledged too, and logged.
pub(crate) fn stripe(call: &RequestContext<'_>) -> HandlerResult {
    let signature = call.request.header("Stripe-Signature");
    match call.shop().handle_webhook(signature, &call.request.body) {
        Ok(WebhookOutcome::Charge(_) | WebhookOutcome::Ignored) => Ok(Success::no_content()),
        Ok(WebhookOutcome::UnknownCharge { reference }) => {
            Ok(Success::no_content()
                .logged(format!("there is no charge of reference {reference:?}")))
        }
        Err(WebhookError::Invalid(bad)) => {
            Err(HandlerError::http(HttpError::Malformed, bad.to_string()))
        }
        Err(WebhookError::NotSettled(error)) => Err(error.into()),
    }
}
