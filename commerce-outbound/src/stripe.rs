//! Stripe as a gateway.

use crate::OutboundError;
use commerce_core::{BadNotice, CollectRequest, Collected, Notice, PaymentGateway, Timestamp};
use std::fmt;

/// How Stripe is reached.
#[derive(Clone)]
pub struct StripeOptions {
    /// Where Stripe is, when it is not at `https://api.stripe.com`. A place that is named so may be private.
    pub url: Option<String>,
    /// The secret key, `sk_...` or `rk_...`.
    pub key: String,
    /// The secret that notices are signed with, `whsec_...`. Without it no notice is believed.
    pub webhook_secret: Option<String>,
}

impl fmt::Debug for StripeOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StripeOptions").finish_non_exhaustive()
    }
}

/// Stripe: `PaymentIntents`, confirmed off session.
#[derive(Debug)]
pub struct Stripe {
    _options: StripeOptions,
}

impl Stripe {
    /// Stripe, as those options reach it. Nobody is connected to yet.
    ///
    /// # Errors
    ///
    /// [`OutboundError`] when the URL, the key or the secret cannot be used.
    pub fn new(options: StripeOptions) -> Result<Self, OutboundError> {
        Ok(Self { _options: options })
    }
}

impl PaymentGateway for Stripe {
    fn name(&self) -> &'static str {
        "stripe"
    }

    fn collect(&self, _request: &CollectRequest) -> Collected {
        Collected::Unknown { why: "not there yet".to_owned() }
    }

    fn notice(
        &self,
        _signature: Option<&str>,
        _body: &[u8],
        _now: Timestamp,
    ) -> Result<Option<Notice>, BadNotice> {
        Err(BadNotice("not there yet".to_owned()))
    }
}
