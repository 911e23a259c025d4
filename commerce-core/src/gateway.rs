//! What a payment gateway has to do: money that a balance is charged with comes from there.

use crate::clock::Timestamp;
use crate::id::{ChargeId, CustomerId};
use crate::money::{Currency, Money};

pub(crate) mod simulated;

/// Where the money of charges comes from. Called outside of any transaction.
pub trait PaymentGateway: Send + Sync {
    /// Its name, which is kept with every charge it was asked for.
    fn name(&self) -> &'static str;

    /// Collects the money, or finds out what became of it. However often it is asked with one reference,
    /// whatever was answered and whatever got lost in between, it collects at most once.
    fn collect(&self, request: &CollectRequest) -> ChargeResult;

    /// Reads what the gateway sent by itself, once it is proven to come from there. `None` when it is
    /// about nothing that matters here. `signature` is the header that proves it.
    ///
    /// # Errors
    ///
    /// [`InvalidWebhook`] when it does not come from the gateway, or makes no sense.
    fn parse_webhook(
        &self,
        _signature: Option<&str>,
        _body: &[u8],
        _now: Timestamp,
    ) -> Result<Option<WebhookEvent>, InvalidWebhook> {
        Err(InvalidWebhook("this gateway sends no notices".to_owned()))
    }

    /// Something that the operator should know although no charge has failed of it. It is returned once.
    fn warning(&self) -> Option<String> {
        None
    }
}

/// A charge as a gateway is asked for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CollectRequest {
    /// What the gateway knows the charge by, unlike any other of any store.
    pub reference: String,
    /// The charge.
    pub charge_id: ChargeId,
    /// Whose balance it is for.
    pub customer_id: CustomerId,
    /// How much, in minor units.
    pub amount: Money,
    /// Of which currency.
    pub currency: Currency,
    /// What the gateway is to take it from, as it names it.
    pub payment_method: Option<String>,
    /// When the charge was opened. A gateway that forgets references after a while must not collect anew
    /// for an old one.
    pub created_at: Timestamp,
    /// When this is asked.
    pub now: Timestamp,
}

/// What a gateway says of a charge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChargeResult {
    /// The money was collected.
    Paid,
    /// It was not, and never will be under this reference.
    Declined {
        /// Why, as the payer may be told.
        reason: String,
    },
    /// Nobody knows yet: it is to be asked again.
    Unknown {
        /// Why, for the operator.
        why: String,
    },
}

/// A gateway's own word on a charge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookEvent {
    /// Which charge.
    pub reference: String,
    /// How much was collected, when it was.
    pub amount: Money,
    /// Of which currency.
    pub currency: Currency,
    /// What became of it.
    pub collected: ChargeResult,
}

/// A notice that is not to be believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the notice is not to be believed: {0}")]
pub struct InvalidWebhook(pub String);
