//! Destinations for the events of the order service, and Stripe as its payment gateway.
//!
//! [`destination`] returns the [`Destination`](commerce_core::Destination) that a URL, a file or `-` names. Events are
//! sent as CloudEvents 1.0 JSON, signed after Standard Webhooks if there is a secret. [`Stripe`] is a
//! [`PaymentGateway`](commerce_core::PaymentGateway). The servers behind both may fail, hang and repeat themselves:
//! a call always returns within [`MAX_DELIVERY`](commerce_core::limits::MAX_DELIVERY), and reports a result only if it
//! is certain.
//!
//! ```
//! use commerce_outbound::{DestinationOptions, OutboundError, destination};
//!
//! let archive = destination("file:/var/lib/commerce/events.ndjson", DestinationOptions::default())?;
//! assert_eq!(archive.max_concurrency(), 1);
//!
//! // Private addresses have to be allowed.
//! let private = destination("http://10.0.0.7/orders", DestinationOptions::default());
//! assert!(matches!(private, Err(OutboundError::PrivateAddress)));
//! # Ok::<(), OutboundError>(())
//! ```

#![cfg_attr(
    test,
    allow(
        clippy::arithmetic_side_effects,
        clippy::wildcard_enum_match_arm,
        clippy::needless_pass_by_value,
        reason = "tests may panic, and are easier to read so"
    )
)]

mod address;
mod cloud_event;
mod destination;
mod error;
mod file;
mod http;
mod limits;
#[cfg(test)]
mod outside;
#[cfg(test)]
mod receiver;
mod secrets;
mod signature;
mod stdout;
mod stripe;
mod webhook;

pub use destination::{DestinationOptions, destination};
pub use error::OutboundError;
pub use limits::{MAX_EVENT_BYTES, MAX_EVENTS_PER_REQUEST};
pub use secrets::SecretSource;
pub use stripe::{Stripe, StripeOptions};
