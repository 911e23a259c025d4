//! What Stripe says of a payment.

use crate::http::plain;
use commerce_core::{ChargeResult, CollectRequest};
use serde::Deserialize;
use std::collections::HashMap;

/// A payment at Stripe, as far as it matters here.
#[derive(Debug, Deserialize)]
pub(super) struct Intent {
    pub(super) id: String,
    status: String,
    amount: i64,
    amount_received: Option<i64>,
    pub(super) currency: String,
    #[serde(default)]
    metadata: HashMap<String, String>,
    last_payment_error: Option<Problem>,
}

impl Intent {
    /// The charge that it was made for.
    pub(super) fn reference(&self) -> Option<&str> {
        self.metadata.get("charge").map(String::as_str)
    }

    pub(super) fn is_of(&self, reference: &str) -> bool {
        self.reference() == Some(reference)
    }

    /// Whether the bank has not yet said.
    pub(super) fn is_under_way(&self) -> bool {
        self.status == "processing"
    }

    /// How much was collected, in Stripe's units.
    pub(super) fn received(&self) -> i64 {
        self.amount_received.unwrap_or(self.amount)
    }

    /// What became of the charge. It was confirmed when it was made, and nobody confirms it again: without
    /// money now, there never will be any.
    pub(super) fn judge(&self, request: &CollectRequest, amount: i64) -> ChargeResult {
        let status = plain(self.status.as_bytes());
        match status.as_str() {
            "succeeded" if self.is_exactly(request, amount) => ChargeResult::Paid,
            "succeeded" => ChargeResult::Unknown { detail: self.differs() },
            "requires_payment_method" | "requires_action" | "canceled" => {
                ChargeResult::Declined { reason: self.why_not() }
            }
            status => ChargeResult::Unknown {
                detail: format!("{} is {status}", plain(self.id.as_bytes())),
            },
        }
    }

    /// Why there is no money, for the payer.
    pub(super) fn why_not(&self) -> String {
        match (&self.last_payment_error, self.status.as_str()) {
            (Some(problem), _) => problem.for_payer(),
            (None, "requires_action") => "the bank asks for the payer to confirm".to_owned(),
            (None, _) => "the payment was not approved".to_owned(),
        }
    }

    fn is_exactly(&self, request: &CollectRequest, amount: i64) -> bool {
        self.amount == amount
            && self.received() == amount
            && self.currency.eq_ignore_ascii_case(request.currency.code())
    }

    fn differs(&self) -> String {
        let (id, currency) = (plain(self.id.as_bytes()), plain(self.currency.as_bytes()));
        format!("{id} collected {} {currency}, which was not asked for", self.received())
    }
}

/// Stripe's own account of an error.
#[derive(Debug, Deserialize)]
pub(super) struct Problem {
    #[serde(rename = "type", default)]
    kind: String,
    code: Option<String>,
    decline_code: Option<String>,
    message: Option<String>,
}

impl Problem {
    /// The error of an answer, if it comes from Stripe.
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Body {
            error: Problem,
        }
        let Body { error } = serde_json::from_slice(body).ok()?;
        (!error.kind.is_empty()).then_some(error)
    }

    pub(super) fn is_invalid_request(&self) -> bool {
        self.kind == "invalid_request_error"
    }

    /// What the payer may know. Stripe writes the message of a declined card for them. Of a card that is
    /// reported stolen they learn no more than that it was declined: the message says no more either.
    pub(super) fn for_payer(&self) -> String {
        match self.message.as_deref().map(|message| plain(message.as_bytes())) {
            Some(message) if !message.is_empty() => message,
            _ => "the payment was declined".to_owned(),
        }
    }

    /// What the operator should know. Stripe repeats of a key no more than its end.
    pub(super) fn for_operator(&self) -> String {
        let codes = [Some(&self.kind), self.code.as_ref(), self.decline_code.as_ref()];
        let codes: Vec<&str> = codes.into_iter().flatten().map(String::as_str).collect();
        let message = self.message.as_deref().unwrap_or_default();
        plain(format!("{}: {message}", codes.join(", ")).as_bytes())
    }
}
