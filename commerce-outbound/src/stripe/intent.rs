//! The `PaymentIntent` and the error objects of Stripe.

use crate::http::plain;
use commerce_core::{ChargeResult, CollectRequest};
use serde::Deserialize;
use std::collections::HashMap;

/// A `PaymentIntent`, with the fields that are used here.
#[derive(Debug, Deserialize)]
pub(super) struct Intent {
    pub(super) id: String,
    status: String,
    amount: i64,
    amount_received: Option<i64>,
    pub(super) currency: String,
    #[serde(default)]
    metadata: HashMap<String, String>,
    last_payment_error: Option<StripeError>,
}

impl Intent {
    /// Returns the reference of the charge that it was created for.
    pub(super) fn reference(&self) -> Option<&str> {
        self.metadata.get("charge").map(String::as_str)
    }

    pub(super) fn is_of(&self, reference: &str) -> bool {
        self.reference() == Some(reference)
    }

    /// Returns true if the bank has not responded yet.
    pub(super) fn is_processing(&self) -> bool {
        self.status == "processing"
    }

    /// Returns the collected amount, in Stripe's units.
    pub(super) fn received(&self) -> i64 {
        self.amount_received.unwrap_or(self.amount)
    }

    /// Returns the result of the charge. The intent was confirmed when it was created, and only then: without money
    /// now, there never will be any.
    pub(super) fn charge_result(&self, request: &CollectRequest, amount: i64) -> ChargeResult {
        let status = plain(self.status.as_bytes());
        match status.as_str() {
            "succeeded" if self.is_exactly(request, amount) => ChargeResult::Paid,
            "succeeded" => ChargeResult::Unknown { detail: self.difference() },
            "requires_payment_method" | "requires_action" | "canceled" => {
                ChargeResult::Declined { reason: self.decline_reason() }
            }
            status => ChargeResult::Unknown {
                detail: format!("{} is {status}", plain(self.id.as_bytes())),
            },
        }
    }

    /// Returns the reason of a declined payment, for the payer.
    pub(super) fn decline_reason(&self) -> String {
        match (&self.last_payment_error, self.status.as_str()) {
            (Some(error), _) => error.for_payer(),
            (None, "requires_action") => "the bank asks for the payer to confirm".to_owned(),
            (None, _) => "the payment was not approved".to_owned(),
        }
    }

    fn is_exactly(&self, request: &CollectRequest, amount: i64) -> bool {
        self.amount == amount
            && self.received() == amount
            && self.currency.eq_ignore_ascii_case(request.currency.code())
    }

    fn difference(&self) -> String {
        let (id, currency) = (plain(self.id.as_bytes()), plain(self.currency.as_bytes()));
        format!("{id} collected {} {currency}, which was not requested", self.received())
    }
}

/// The error object of a response.
#[derive(Debug, Deserialize)]
pub(super) struct StripeError {
    #[serde(rename = "type", default)]
    kind: String,
    code: Option<String>,
    decline_code: Option<String>,
    message: Option<String>,
}

impl StripeError {
    /// Parses the error of a response, if it comes from Stripe.
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Body {
            error: StripeError,
        }
        let Body { error } = serde_json::from_slice(body).ok()?;
        (!error.kind.is_empty()).then_some(error)
    }

    pub(super) fn is_invalid_request(&self) -> bool {
        self.kind == "invalid_request_error"
    }

    /// Returns the text for the payer, for whom Stripe writes the message of a declined card. For a card that is
    /// reported stolen, it states only that the card was declined, as the message does.
    pub(super) fn for_payer(&self) -> String {
        match self.message.as_deref().map(|message| plain(message.as_bytes())) {
            Some(message) if !message.is_empty() => message,
            _ => "the payment was declined".to_owned(),
        }
    }

    /// Returns the text for the operator. Stripe includes no more than the end of a key.
    pub(super) fn for_operator(&self) -> String {
        let codes = [Some(&self.kind), self.code.as_ref(), self.decline_code.as_ref()];
        let codes: Vec<&str> = codes.into_iter().flatten().map(String::as_str).collect();
        let message = self.message.as_deref().unwrap_or_default();
        plain(format!("{}: {message}", codes.join(", ")).as_bytes())
    }
}
