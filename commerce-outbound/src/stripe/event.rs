//! Webhook events of Stripe. They may come late, twice, and in any order.

use super::amount::from_stripe;
use super::intent::Intent;
use crate::http::plain;
use commerce_core::{
    ChargeResult, Currency, InvalidWebhook, Money, ReportedRefund, WebhookEvent, WebhookNotice,
};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::HashMap;

/// The party that has what an event lacks. Its errors are for the operator; Stripe sends the event again.
pub(super) trait Source {
    /// Returns all refunds of a charge that have not failed.
    fn refunds(&self, charge: &str, currency: Currency) -> Result<Vec<ReportedRefund>, String>;

    /// Returns the reference of an intent; `None` if this service did not create it.
    fn reference(&self, intent: &str) -> Result<Option<String>, String>;
}

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

/// A `Charge`, which has a copy of the metadata of its intent.
#[derive(Deserialize)]
struct Charge {
    id: String,
    currency: String,
    #[serde(default)]
    metadata: HashMap<String, String>,
}

/// A `Dispute`.
#[derive(Deserialize)]
struct Dispute {
    id: String,
    amount: i64,
    currency: String,
    status: String,
    payment_intent: Option<String>,
}

fn invalid(reason: &str) -> InvalidWebhook {
    InvalidWebhook(reason.to_owned())
}

fn not_fetched(detail: &str) -> InvalidWebhook {
    InvalidWebhook(format!("what it lacks cannot be fetched: {}", plain(detail.as_bytes())))
}

fn currency(code: &str) -> Result<Currency, InvalidWebhook> {
    let currency = Currency::from_code(&code.to_ascii_uppercase());
    currency.ok_or_else(|| invalid("its currency is unknown"))
}

fn amount(units: i64, currency: Currency) -> Result<Money, InvalidWebhook> {
    let amount = from_stripe(units, currency);
    amount.ok_or_else(|| invalid("its amount is not valid in its currency"))
}

fn object<T: DeserializeOwned>(value: Value, missing: &str) -> Result<T, InvalidWebhook> {
    serde_json::from_value(value).map_err(|_| invalid(missing))
}

/// Parses an event whose signature was verified. Returns `None` for payments that this service did not create.
pub(super) fn read(
    body: &[u8],
    source: &dyn Source,
) -> Result<Option<WebhookEvent>, InvalidWebhook> {
    let event: StripeEvent =
        serde_json::from_slice(body).map_err(|_| invalid("it is no event of Stripe"))?;
    let about = event.data.object;
    match event.kind.as_str() {
        "payment_intent.succeeded" => collected(&object(about, "it contains no payment intent")?),
        "payment_intent.payment_failed" => {
            declined(&object(about, "it contains no payment intent")?)
        }
        "charge.refunded" => refunded(&object(about, "it contains no charge")?, source),
        // The second is sent when an inquiry becomes a dispute.
        "charge.dispute.created" | "charge.dispute.funds_withdrawn" => {
            disputed(&object(about, "it contains no dispute")?, None, source)
        }
        "charge.dispute.closed" => {
            let dispute: Dispute = object(about, "it contains no dispute")?;
            let is_won = match dispute.status.as_str() {
                "won" => true,
                "lost" => false,
                // An inquiry, for which no money was taken.
                "warning_closed" => return Ok(None),
                _ => return Err(invalid("its dispute has no known end")),
            };
            disputed(&dispute, Some(is_won), source)
        }
        _ => Ok(None),
    }
}

fn collected(intent: &Intent) -> Result<Option<WebhookEvent>, InvalidWebhook> {
    let Some(reference) = intent.reference().map(str::to_owned) else { return Ok(None) };
    let currency = currency(&intent.currency)?;
    let amount = amount(intent.received(), currency)?;
    let notice = WebhookNotice::Charge(ChargeResult::Paid);
    Ok(Some(WebhookEvent { reference, amount, currency, notice }))
}

fn declined(intent: &Intent) -> Result<Option<WebhookEvent>, InvalidWebhook> {
    let Some(reference) = intent.reference().map(str::to_owned) else { return Ok(None) };
    let currency = currency(&intent.currency)?;
    // An intent is confirmed only once, so this failure is final.
    let result = ChargeResult::Declined { reason: intent.decline_reason() };
    let notice = WebhookNotice::Charge(result);
    Ok(Some(WebhookEvent { reference, amount: Money::ZERO, currency, notice }))
}

/// The event has the sum of all refunds, also of those that this service has requested: the list has the difference.
fn refunded(charge: &Charge, source: &dyn Source) -> Result<Option<WebhookEvent>, InvalidWebhook> {
    let Some(reference) = charge.metadata.get("charge").cloned() else { return Ok(None) };
    let currency = currency(&charge.currency)?;
    let refunds = source.refunds(&charge.id, currency).map_err(|detail| not_fetched(&detail))?;
    let amount = refunds.iter().try_fold(Money::ZERO, |sum, refund| sum.checked_add(refund.amount));
    let amount = amount.ok_or_else(|| invalid("its amount is not valid in its currency"))?;
    let notice = WebhookNotice::Refunded { refunds };
    Ok(Some(WebhookEvent { reference, amount, currency, notice }))
}

/// Reads an event of a dispute, which names no charge of this service: its intent does. `is_won` is its end.
fn disputed(
    dispute: &Dispute,
    is_won: Option<bool>,
    source: &dyn Source,
) -> Result<Option<WebhookEvent>, InvalidWebhook> {
    // An inquiry takes no money.
    if dispute.status.starts_with("warning_") {
        return Ok(None);
    }
    let Some(intent) = &dispute.payment_intent else { return Ok(None) };
    let reference = source.reference(intent).map_err(|detail| not_fetched(&detail))?;
    let Some(reference) = reference else { return Ok(None) };
    let currency = currency(&dispute.currency)?;
    let amount = amount(dispute.amount, currency)?;
    let dispute = dispute.id.clone();
    let notice = match is_won {
        None => WebhookNotice::DisputeOpened { dispute },
        Some(is_won) => WebhookNotice::DisputeClosed { dispute, is_won },
    };
    Ok(Some(WebhookEvent { reference, amount, currency, notice }))
}
