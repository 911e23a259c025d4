//! What Stripe sends by itself. It may come late, twice, and in any order.

use super::amount::from_stripe;
use super::intent::Intent;
use commerce_core::{ChargeResult, Currency, InvalidWebhook, Money, WebhookEvent};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct Told {
    #[serde(rename = "type")]
    kind: String,
    data: About,
}

#[derive(Deserialize)]
struct About {
    object: Value,
}

/// Reads a notice whose signature is right. Payments that this service did not ask for do not matter.
pub(super) fn read(body: &[u8]) -> Result<Option<WebhookEvent>, InvalidWebhook> {
    let bad = |why: &str| InvalidWebhook(why.to_owned());
    let told: Told = serde_json::from_slice(body).map_err(|_| bad("it is no event of Stripe"))?;
    if !matches!(told.kind.as_str(), "payment_intent.succeeded" | "payment_intent.payment_failed") {
        return Ok(None);
    }
    let intent: Intent =
        serde_json::from_value(told.data.object).map_err(|_| bad("it tells of no intent"))?;
    let Some(reference) = intent.reference().map(str::to_owned) else { return Ok(None) };
    let currency = Currency::from_code(&intent.currency.to_ascii_uppercase())
        .ok_or_else(|| bad("its currency is none that is known"))?;
    if told.kind == "payment_intent.payment_failed" {
        // It was confirmed once and will not be again, so this is the end of it.
        let result = ChargeResult::Declined { reason: intent.why_not() };
        return Ok(Some(WebhookEvent { reference, amount: Money::ZERO, currency, result }));
    }
    let amount = from_stripe(intent.received(), currency);
    let amount = amount.ok_or_else(|| bad("its amount is none of its currency"))?;
    Ok(Some(WebhookEvent { reference, amount, currency, result: ChargeResult::Paid }))
}
