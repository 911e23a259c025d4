//! Webhook events of Stripe. They may come late, twice, and in any order.

use super::amount::from_stripe;
use super::intent::Intent;
use commerce_core::{ChargeResult, Currency, InvalidWebhook, Money, WebhookEvent, WebhookNotice};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct StripeEvent {
    #[serde(rename = "type")]
    kind: String,
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    object: Value,
}

/// Parses an event whose signature was verified. Returns `None` for payments that this service did not create.
pub(super) fn read(body: &[u8]) -> Result<Option<WebhookEvent>, InvalidWebhook> {
    let invalid = |reason: &str| InvalidWebhook(reason.to_owned());
    let event: StripeEvent =
        serde_json::from_slice(body).map_err(|_| invalid("it is no event of Stripe"))?;
    if !matches!(event.kind.as_str(), "payment_intent.succeeded" | "payment_intent.payment_failed")
    {
        return Ok(None);
    }
    let intent: Intent = serde_json::from_value(event.data.object)
        .map_err(|_| invalid("it contains no payment intent"))?;
    let Some(reference) = intent.reference().map(str::to_owned) else { return Ok(None) };
    let currency = Currency::from_code(&intent.currency.to_ascii_uppercase())
        .ok_or_else(|| invalid("its currency is unknown"))?;
    if event.kind == "payment_intent.payment_failed" {
        // An intent is confirmed only once, so this failure is final.
        let result = ChargeResult::Declined { reason: intent.decline_reason() };
        return Ok(Some(WebhookEvent {
            reference,
            amount: Money::ZERO,
            currency,
            notice: WebhookNotice::Charge(result),
        }));
    }
    let amount = from_stripe(intent.received(), currency);
    let amount = amount.ok_or_else(|| invalid("its amount is not valid in its currency"))?;
    Ok(Some(WebhookEvent {
        reference,
        amount,
        currency,
        notice: WebhookNotice::Charge(ChargeResult::Paid),
    }))
}
