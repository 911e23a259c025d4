//! The `Refund` object of Stripe.

use super::amount::from_stripe;
use crate::http::plain;
use commerce_core::{ChargeResult, Currency, RefundRequest, ReportedRefund};
use serde::Deserialize;
use std::collections::HashMap;

/// A refund, with the fields that are used here.
#[derive(Debug, Deserialize)]
pub(super) struct Refund {
    pub(super) id: String,
    status: Option<String>,
    amount: i64,
    currency: String,
    /// Stripe has `null` for none.
    metadata: Option<HashMap<String, String>>,
    failure_reason: Option<String>,
}

impl Refund {
    /// Returns the reference of the request that created it; `None` if another party did.
    pub(super) fn reference(&self) -> Option<&str> {
        self.metadata.as_ref()?.get("refund").map(String::as_str)
    }

    fn status(&self) -> &str {
        self.status.as_deref().unwrap_or("of no status")
    }

    pub(super) fn is_pending(&self) -> bool {
        matches!(self.status(), "pending" | "requires_action")
    }

    /// Returns true if the payer has the money or may still get it.
    pub(super) fn is_alive(&self) -> bool {
        !matches!(self.status(), "failed" | "canceled")
    }

    /// Returns it as the core records it; `None` if the amount is not exact in the currency.
    pub(super) fn reported(&self, currency: Currency) -> Option<ReportedRefund> {
        let is_in_currency = self.currency.eq_ignore_ascii_case(currency.code());
        let amount = from_stripe(self.amount, currency).filter(|_| is_in_currency)?;
        Some(ReportedRefund { reference: self.reference().map(str::to_owned), amount })
    }

    /// Returns the result of the request.
    pub(super) fn result(&self, request: &RefundRequest, amount: i64) -> ChargeResult {
        let (id, currency) = (plain(self.id.as_bytes()), plain(self.currency.as_bytes()));
        let is_exact =
            self.amount == amount && currency.eq_ignore_ascii_case(request.currency.code());
        match self.status() {
            "succeeded" if is_exact => ChargeResult::Paid,
            "succeeded" => ChargeResult::Unknown {
                detail: format!(
                    "{id} paid back {} {currency}, which was not requested",
                    self.amount
                ),
            },
            "failed" | "canceled" => {
                let reason = self.failure_reason.as_deref().unwrap_or(self.status());
                let reason = plain(reason.as_bytes());
                ChargeResult::Declined { reason: format!("the bank did not take it: {reason}") }
            }
            status => {
                ChargeResult::Unknown { detail: format!("{id} is {}", plain(status.as_bytes())) }
            }
        }
    }
}
