//! Options of the payment gateway, from flags, the environment and the config file of `serve`.

use crate::error::CliError;
use crate::secret;
use commerce_core::{PaymentGateway, SimulatedGateway};
use commerce_outbound::{Stripe, StripeOptions};
use serde::Deserialize;
use std::path::PathBuf;
use std::sync::Arc;

const HEADING: &str = "Payment gateway";

/// The variable with Stripe's secret key, an alternative to a file.
const KEY: &str = "COMMERCE_STRIPE_KEY";
/// The variable with the secrets that Stripe signs webhook events with.
const WEBHOOK_SECRET: &str = "COMMERCE_STRIPE_WEBHOOK_SECRET";

// The gateway options; each may be absent.
#[derive(clap::Args, Clone, Debug, Default)]
pub(crate) struct GatewayArgs {
    /// Payment gateway that collects charges (default: `simulated` for `serve`, otherwise `none`).
    #[arg(long, value_name = "GATEWAY", env = "COMMERCE_GATEWAY", help_heading = HEADING)]
    pub(crate) gateway: Option<Gateway>,
    /// Address of Stripe (default: `https://api.stripe.com`).
    #[arg(long, value_name = "URL", env = "COMMERCE_STRIPE_URL", help_heading = HEADING)]
    #[arg(hide_env_values = true)]
    pub(crate) stripe_url: Option<String>,
    /// File whose first line is Stripe's secret key, reloaded when it changes. Alternative: the variable
    /// `COMMERCE_STRIPE_KEY`.
    #[arg(long, value_name = "FILE", env = "COMMERCE_STRIPE_KEY_FILE", help_heading = HEADING)]
    #[arg(hide_env_values = true)]
    pub(crate) stripe_key_file: Option<PathBuf>,
    /// File with the signing secret of Stripe's webhook events, or several during rotation, one per line.
    /// It is reloaded when it changes. Alternative: the variable `COMMERCE_STRIPE_WEBHOOK_SECRET`. Without a
    /// secret every webhook event is rejected.
    #[arg(long, value_name = "FILE", help_heading = HEADING)]
    #[arg(env = "COMMERCE_STRIPE_WEBHOOK_SECRET_FILE", hide_env_values = true)]
    pub(crate) stripe_webhook_secret_file: Option<PathBuf>,
}

/// The payment gateways.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Gateway {
    /// No gateway: an admin charges a balance after receiving the money elsewhere.
    None,
    /// A simulation that takes no real money. Amounts in minor units select the outcome: 402402 is
    /// declined; 408408 times out, and is paid at a retry a second later; 500500 times out, and is
    /// declined at a retry a second later; all others are paid.
    Simulated,
    /// Stripe. A payment method is the id of a card there, `pm_...`.
    Stripe,
}

impl GatewayArgs {
    /// Fills absent options from `other`.
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

    /// Connects to the selected gateway; `default` if none was selected.
    pub(crate) fn open(
        &self,
        default: Gateway,
    ) -> Result<Option<Arc<dyn PaymentGateway>>, CliError> {
        Ok(match self.gateway.unwrap_or(default) {
            Gateway::None => None,
            Gateway::Simulated => Some(Arc::new(SimulatedGateway)),
            Gateway::Stripe => Some(Arc::new(self.stripe()?)),
        })
    }

    /// Returns true if a secret to verify webhook events is configured.
    pub(crate) fn has_webhook_secret(&self) -> bool {
        let in_environment = || matches!(secret::source(None, WEBHOOK_SECRET), Ok(Some(_)));
        self.stripe_webhook_secret_file.is_some() || in_environment()
    }

    fn stripe(&self) -> Result<Stripe, CliError> {
        let key = secret::source(self.stripe_key_file.as_deref(), KEY)?;
        let key = key.ok_or_else(|| {
            CliError::usage(format!(
                "Stripe requires a secret key: name its file with --stripe-key-file, or set {KEY}"
            ))
        })?;
        let webhook_secret =
            secret::source(self.stripe_webhook_secret_file.as_deref(), WEBHOOK_SECRET)?;
        let options = StripeOptions { url: self.stripe_url.clone(), key, webhook_secret };
        Stripe::new(options).map_err(|error| CliError::usage(format!("cannot use Stripe: {error}")))
    }
}
