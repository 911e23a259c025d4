//! The [`PaymentGateway`] trait: implement it to collect the money of charges from another party.

use crate::clock::Timestamp;
use crate::id::{ChargeId, CustomerId};
use crate::money::{Currency, Money};
use serde::Serialize;

pub(crate) mod simulated;

/// The party that collects the money of charges. It is called outside of any transaction.
pub trait PaymentGateway: Send + Sync {
    /// The gateway's name, which is stored with each of its charges.
    fn name(&self) -> &'static str;

    /// Collects the money of a charge, or finds out its result.
    ///
    /// The reference is an idempotency key: the gateway collects at most once for it, however often it is called,
    /// whatever it returned before and whatever was lost in between.
    fn collect(&self, request: &CollectRequest) -> ChargeResult;

    /// Pays money of a charge back, or finds out the result.
    ///
    /// The reference is an idempotency key as that of [`PaymentGateway::collect`]: the gateway pays back at most once for it.
    /// [`ChargeResult::Paid`] means that the payer gets the money, [`ChargeResult::Declined`] that the payer never will under
    /// this reference. By default every refund is declined.
    fn refund(&self, _request: &RefundRequest) -> ChargeResult {
        ChargeResult::Declined { reason: "this gateway pays no money back".to_owned() }
    }

    /// Verifies and reads a webhook request of the gateway. `signature` is the header that proves its origin.
    /// Returns `None` for events that concern no charge.
    ///
    /// # Errors
    ///
    /// [`InvalidWebhook`] when the request does not come from the gateway or cannot be read.
    fn parse_webhook(
        &self,
        _signature: Option<&str>,
        _body: &[u8],
        _now: Timestamp,
    ) -> Result<Option<WebhookEvent>, InvalidWebhook> {
        Err(InvalidWebhook("this gateway sends no webhooks".to_owned()))
    }

    /// Returns, once, a warning for the operator that no failed charge shows.
    fn warning(&self) -> Option<String> {
        None
    }
}

/// A charge to be collected, as a gateway gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CollectRequest {
    /// The gateway's idempotency key for the charge, unique across stores.
    pub reference: String,
    /// The charge.
    pub charge_id: ChargeId,
    /// The customer whose balance is charged.
    pub customer_id: CustomerId,
    /// The amount, in minor units.
    pub amount: Money,
    /// The currency of the amount.
    pub currency: Currency,
    /// The payment method to collect from, by the gateway's name for it.
    pub payment_method: Option<String>,
    /// The instant at which the charge was opened. A gateway that forgets references after a while must not collect
    /// again for an old one.
    pub created_at: Timestamp,
    /// The instant of this request.
    pub now: Timestamp,
}

/// A refund to be made, as a gateway gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefundRequest {
    /// The gateway's idempotency key for the refund, unique across stores.
    pub reference: String,
    /// The reference of the charge, as it was collected under.
    pub charge_reference: String,
    /// The charge.
    pub charge_id: ChargeId,
    /// The amount to pay back, in minor units.
    pub amount: Money,
    /// The currency of the amount.
    pub currency: Currency,
    /// The instant at which the charge was opened.
    pub charged_at: Timestamp,
    /// The instant at which the refund was opened. A gateway that forgets references after a while must not pay back again
    /// for an old one.
    pub created_at: Timestamp,
    /// The instant of this request.
    pub now: Timestamp,
}

/// The result of a charge or a refund at its gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChargeResult {
    /// The money was collected.
    Paid,
    /// The money was not collected, and never will be under this reference.
    Declined {
        /// The reason, in words for the payer.
        reason: String,
    },
    /// The result is not known yet: the call is to be repeated.
    Unknown {
        /// The cause, for the operator.
        detail: String,
    },
}

/// An event about a charge that a gateway sent by webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookEvent {
    /// The reference of the charge.
    pub reference: String,
    /// The amount that was collected, refunded in total, or disputed; zero if none was. The sum of the reported refunds.
    pub amount: Money,
    /// The currency of the amount.
    pub currency: Currency,
    /// The subject of the event.
    pub notice: WebhookNotice,
}

/// The subject of a webhook event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WebhookNotice {
    /// The result of the charge.
    Charge(ChargeResult),
    /// Money of the charge was refunded.
    Refunded {
        /// All refunds of the charge that the gateway has made or may still make, requested ones and others.
        refunds: Vec<ReportedRefund>,
    },
    /// The payer disputes the charge, and the money was taken back.
    DisputeOpened {
        /// The gateway's id of the dispute.
        dispute: String,
    },
    /// A dispute has ended.
    DisputeClosed {
        /// The gateway's id of the dispute.
        dispute: String,
        /// True if the money came back.
        is_won: bool,
    },
}

/// A refund of a charge, as its gateway reports it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReportedRefund {
    /// The reference of the [`RefundRequest`]; `None` for a refund without one, as of a dashboard.
    pub reference: Option<String>,
    /// The amount.
    pub amount: Money,
}

/// A webhook request that is not authentic or cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the webhook is invalid: {0}")]
pub struct InvalidWebhook(pub String);
