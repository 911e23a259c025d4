//! Which payment gateway collects the money of charges, from flags, the environment and the file of `serve`.

use crate::error::CliError;
use crate::secret;
use commerce_core::{PaymentGateway, SimulatedGateway};
use commerce_outbound::{Stripe, StripeOptions};
use serde::Deserialize;
use std::path::PathBuf;
use std::sync::Arc;

const HEADING: &str = "Payment gateway";

/// Stripe's secret key, for those who would rather not have it in a file.
const KEY: &str = "COMMERCE_STRIPE_KEY";
/// What Stripe's notices are signed with, likewise.
const WEBHOOK_SECRET: &str = "COMMERCE_STRIPE_WEBHOOK_SECRET";

/// How the gateway is reached, as far as it was said.
#[derive(clap::Args, Clone, Debug, Default)]
pub(crate) struct GatewayArgs {
    /// Who collects the money of charges.
    #[arg(long, value_name = "GATEWAY", env = "COMMERCE_GATEWAY", help_heading = HEADING)]
    pub(crate) gateway: Option<Gateway>,
    /// Where Stripe is, when it is not at <https://api.stripe.com>.
    #[arg(long, value_name = "URL", env = "COMMERCE_STRIPE_URL", help_heading = HEADING)]
    #[arg(hide_env_values = true)]
    pub(crate) stripe_url: Option<String>,
    /// A file whose first line is Stripe's secret key, read again when it changes; or `COMMERCE_STRIPE_KEY` in the
    /// environment.
    #[arg(long, value_name = "FILE", env = "COMMERCE_STRIPE_KEY_FILE", help_heading = HEADING)]
    #[arg(hide_env_values = true)]
    pub(crate) stripe_key_file: Option<PathBuf>,
    /// A file with what Stripe signs notices with, or with several secrets while it is rotated, one a line; it is
    /// read again when it changes. Or `COMMERCE_STRIPE_WEBHOOK_SECRET` in the environment. Without it no notice
    /// is believed.
    #[arg(long, value_name = "FILE", help_heading = HEADING)]
    #[arg(env = "COMMERCE_STRIPE_WEBHOOK_SECRET_FILE", hide_env_values = true)]
    pub(crate) stripe_webhook_secret_file: Option<PathBuf>,
}

/// Who collects money.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Gateway {
    /// Nobody: an admin puts money onto a balance, and has it from elsewhere.
    None,
    /// One that only pretends and takes no real money. In minor units, 402402 is declined; 408408 is not
    /// answered at first, and was paid when asked again a second later; 500500 is not answered at first,
    /// and declined when asked again a second later; all else is paid.
    Simulated,
    /// Stripe: a payment method is the id of a card there, `pm_...`.
    Stripe,
}

impl GatewayArgs {
    /// With what others say where these say nothing.
    pub(crate) fn or(self, other: Self) -> Self {
        Self {
            gateway: self.gateway.or(other.gateway),
            stripe_url: self.stripe_url.or(other.stripe_url),
            stripe_key_file: self.stripe_key_file.or(other.stripe_key_file),
            stripe_webhook_secret_file: self
                .stripe_webhook_secret_file
                .or(other.stripe_webhook_secret_file),
        }
    }

    /// The gateway; `usual` when none was named.
    pub(crate) fn open(&self, usual: Gateway) -> Result<Option<Arc<dyn PaymentGateway>>, CliError> {
        Ok(match self.gateway.unwrap_or(usual) {
            Gateway::None => None,
            Gateway::Simulated => Some(Arc::new(SimulatedGateway)),
            Gateway::Stripe => Some(Arc::new(self.stripe()?)),
        })
    }

    /// Whether there is something to check notices with.
    pub(crate) fn has_webhook_secret(&self) -> bool {
        let in_environment = || matches!(secret::from(None, WEBHOOK_SECRET), Ok(Some(_)));
        self.stripe_webhook_secret_file.is_some() || in_environment()
    }

    fn stripe(&self) -> Result<Stripe, CliError> {
        let key = secret::from(self.stripe_key_file.as_deref(), KEY)?;
        let key = key.ok_or_else(|| {
            CliError::usage(format!(
                "Stripe asks for a secret key: name its file with --stripe-key-file, or set {KEY}"
            ))
        })?;
        let webhook_secret =
            secret::from(self.stripe_webhook_secret_file.as_deref(), WEBHOOK_SECRET)?;
        let options = StripeOptions { url: self.stripe_url.clone(), key, webhook_secret };
        Stripe::new(options)
            .map_err(|error| CliError::usage(format!("Stripe cannot be asked: {error}")))
    }
}
